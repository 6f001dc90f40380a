"""Run by the newest TRL's own Python: the logits of a reward model that TRL's trainer loaded, as JSON.

python score_with_trl.py FOLDER
FOLDER has the model in reward/, and in rows.json lists of ids, of which the first CONTEXT are the prompt.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from trl import RewardConfig, RewardTrainer
from trl.experimental.utils import get_reward

CONTEXT = 2


def main(folder: Path) -> None:
    rows = json.loads((folder / "rows.json").read_text())
    pairs = [{"chosen_ids": row, "rejected_ids": row} for row in rows]
    settings = RewardConfig(
        output_dir=str(folder / "out"),
        use_cpu=True,
        bf16=False,
        report_to="none",
        gradient_checkpointing=False,
    )
    trainer = RewardTrainer(
        model=str(folder / "reward"), args=settings, train_dataset=Dataset.from_list(pairs)
    )
    model, pad = trainer.model.eval(), trainer.model.config.pad_token_id
    batch = trainer.data_collator(pairs)
    width = max(map(len, rows))
    padded = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    with torch.no_grad():
        in_training = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]
        _, of_get_reward, _ = get_reward(model, padded, pad, CONTEXT)
    print(json.dumps({"trainer": in_training[: len(rows)].tolist(), "get_reward": of_get_reward.tolist()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
