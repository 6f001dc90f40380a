"""Run by the newest TRL's own Python: one optimizer step on each export, as it is, with a tiny model.

python train.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from datasets import load_dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
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

TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def tiny(folder: Path) -> str:
    """A model of bytes, saved."""
    letters = {chr(code): number for number, code in enumerate(range(32, 127))}
    tokenizer = Tokenizer(
        models.WordLevel({**letters, "?": letters["?"], "[E]": 95, "[P]": 96}, unk_token="?")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="[E]", pad_token="[P]", unk_token="?"
    )
    fast.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, pad_token_id=96, eos_token_id=95,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return str(folder)


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
