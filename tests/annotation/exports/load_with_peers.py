"""The loaders of OpenRLHF and axolotl on exports as they are: prints a line for each.

python load_with_peers.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

from axolotl.prompt_strategies.dpo import load as axolotl_dpo
from datasets import Dataset, load_dataset
from openrlhf.datasets import PromptDataset, RewardDataset, SFTDataset
from tiny_model import tiny
from transformers import AutoTokenizer


def main(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny(folder / "model"))

    def rows(name: str) -> Dataset:
        return load_dataset("json", data_files=str(folder / f"{name}.jsonl"), split="train")

    def openrlhf(**data: object) -> SimpleNamespace:
        return SimpleNamespace(args=SimpleNamespace(data=SimpleNamespace(**data)), is_rank_0=lambda: False)

    keys = {"chosen_key": "chosen", "rejected_key": "rejected"}
    for name, options in (
        ("trl", {"prompt_key": "prompt", "apply_chat_template": True}),
        ("trl-implicit", {"apply_chat_template": True}),
        ("ultrafeedback", {"apply_chat_template": True}),
        ("trl-text", {"prompt_key": "prompt"}),
    ):
        for is_dpo in (False, True):
            pairs = RewardDataset(
                rows(name), tokenizer, 512, openrlhf(**keys, **options), is_dpo=is_dpo, num_processors=1
            )
            batch = pairs.collate_fn([pairs[n] for n in range(len(pairs))])
            assert all("Because." in tokenizer.decode(ids).replace(" ", "") for ids in batch[0]), batch[0]
            print("OpenRLHF", name, "DPO" if is_dpo else "reward", len(pairs))
    answers = SFTDataset(
        rows("sft"),
        tokenizer,
        512,
        openrlhf(input_key="prompt", output_key="completion", apply_chat_template=True),
        num_processors=1,
    )
    assert answers.responses[0].startswith("Because."), answers.responses
    print("OpenRLHF sft", len(answers))
    prompts = PromptDataset(
        rows("prompts"), tokenizer, openrlhf(input_key="prompt", apply_chat_template=True)
    )
    print("OpenRLHF prompts", len(prompts))

    for name, strategy, fields in (
        ("trl", "chat_template.default", {"field_messages": "prompt"}),
        ("trl-implicit", "chat_template.argilla_chat", {}),
        ("ultrafeedback", "chat_template.argilla_chat", {}),
    ):
        config = {"chat_template": "tokenizer_default", "datasets": [fields]}
        transform, _ = axolotl_dpo(strategy, config)
        for row in rows(name):
            read = transform(dict(row), tokenizer=tokenizer)
            assert read["prompt"] == "<user>Why?<assistant>", read
            assert read["chosen"].startswith("Because."), read
            assert not read["rejected"].startswith("Because."), read
        print("axolotl", name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
