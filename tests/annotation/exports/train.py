"""Run by the newest TRL's own Python: one optimizer step on each export, as it is, with a tiny model.

python train.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from datasets import load_dataset
from tiny_model import tiny
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    RewardConfig,
    RewardTrainer,
    SFTConfig,
    SFTTrainer,
)
from trl.experimental.kto import KTOConfig, KTOTrainer


def main(folder: Path) -> None:
    model = tiny(folder / "model")
    plain = {
        "max_steps": 1, "per_device_train_batch_size": 2, "bf16": False, "use_cpu": True, "report_to": "none",
        "gradient_checkpointing": False, "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1,
    }  # fmt: skip

    def score(completions: list[object], **_: object) -> list[float]:
        return [float(len(str(completion)) % 7) for completion in completions]

    short = {"num_generations": 2, "max_completion_length": 4}
    for name, trainer, config, more in (
        ("trl", RewardTrainer, RewardConfig, {}),
        ("trl", DPOTrainer, DPOConfig, {}),
        ("trl-origin", RewardTrainer, RewardConfig, {}),
        ("trl-ai", RewardTrainer, RewardConfig, {}),
        ("trl-ai", DPOTrainer, DPOConfig, {}),
        ("trl-implicit", RewardTrainer, RewardConfig, {}),
        ("trl-text", DPOTrainer, DPOConfig, {}),
        ("ultrafeedback", RewardTrainer, RewardConfig, {}),
        ("ultrafeedback", DPOTrainer, DPOConfig, {}),
        ("kto", KTOTrainer, KTOConfig, {}),
        ("sft", SFTTrainer, SFTConfig, {}),
        ("prompts", GRPOTrainer, GRPOConfig, {"reward_funcs": score}),
    ):
        for file in ("jsonl", "parquet"):
            loader = "json" if file == "jsonl" else "parquet"
            data = load_dataset(
                loader,
                data_files=str(folder / f"{name}.{file}"),
                split="train",
                cache_dir=str(folder / "cache"),
            )
            settings = config(output_dir=str(folder / "out"), **plain, **(short if more else {}))
            ran = trainer(model=model, args=settings, train_dataset=data, **more)
            done = ran.train()
            assert ran.state.global_step == 1, (name, ran.state)
            print(f"{name} {file} {trainer.__name__} {done.training_loss:.4f}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
