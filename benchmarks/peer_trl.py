"""TRL's side: its own trainers, run by their own `train()`, stopped at the gate by a callback at the end of each step.

Runs in an environment that holds TRL and none of ours: `python -m benchmarks.peer_trl SOCKET`. A step is one optimizer
step over all pairs of the case's rankings, collator, data loader, clipping and metrics included.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TRL_EXPERIMENTAL_SILENCE": "1"}

import torch
import trl
import trl.trainer.utils
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
    logging,
)

from benchmarks.gate import Gate, serve
from benchmarks.workloads import END, Case, pairs, rankings, text

FOREVER = 1_000_000


class AtTheGate(TrainerCallback):
    """Stands at the gate before the first step and after each; then does what else belongs to a step."""

    def __init__(self, gate: Gate, more: Any = None) -> None:
        self.gate, self.more = gate, more

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._pass()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._pass()

    def _pass(self) -> None:
        self.gate()
        if self.more is not None:
            self.more()


def arguments(config: Any, spec: dict[str, Any], count: int, **more: Any) -> Any:
    """The trainer's settings: as the case wants them, or with `default` as TRL has them, on the same hardware."""
    values: dict[str, Any] = {
        "output_dir": tempfile.mkdtemp(prefix="palate-bench-"),
        "use_cpu": not torch.cuda.is_available(),
        "max_steps": FOREVER,
        "learning_rate": 1e-5,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.1,
        "adam_beta2": 0.95,
        "report_to": [],
        "disable_tqdm": True,
        "logging_strategy": "no",
        "save_strategy": "no",
        "dataloader_pin_memory": False,
    }
    if not spec.get("default"):
        values |= {"bf16": bool(spec.get("bf16")), "gradient_checkpointing": False}
    batch = 8 if spec.get("default") else int(spec.get("batch", 1))
    batch = min(batch, count)
    values |= {"per_device_train_batch_size": batch, "gradient_accumulation_steps": -(-count // batch)}
    return config(**values | more)


def setup(spec: dict[str, Any]) -> tuple[Path, list[dict[str, Any]], Any]:
    """The models' folder, the case's rankings, and the tokenizer."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    if not spec.get("default"):
        keep_freed_memory()
    models = Path(spec["models"])
    tokenizer = AutoTokenizer.from_pretrained(models / "policy")
    rows = spec.get("rows") or rankings(Case(**spec["case"]), len(tokenizer), spec.get("seed", 0))
    return models, rows, tokenizer


def load(auto: Any, source: Path, **values: Any) -> Any:
    """A model in float32, whatever its files are in: what is trained is in float32 on both sides."""
    return auto.from_pretrained(source, dtype=torch.float32, **values)


def keep_freed_memory() -> None:
    """The same request to glibc that our program makes, so that no side pays for pages the other does not."""
    libc = ctypes.CDLL(None)
    libc.mallopt(-3, 1 << 30)
    libc.mallopt(-1, 1 << 30)


def compact() -> None:
    """Only positions with a label go through the LM head, as TRL has it on GPUs with Triton."""
    trl.trainer.utils._use_triton = lambda device: True


def reward(spec: dict[str, Any], gate: Gate, **more: Any) -> Any:
    """RewardTrainer on the expanded pairs."""
    models, rows, tokenizer = setup(spec)
    found = [
        {"chosen_ids": [*row["prompt"], *chosen, END], "rejected_ids": [*row["prompt"], *rejected, END]}
        | ({"margin": row["margin"]} if "margin" in row else {})
        for row in rows
        for chosen, rejected in pairs(row)
    ]
    trainer = trl.RewardTrainer(
        model=load(AutoModelForSequenceClassification, models / "reward", num_labels=1),
        args=arguments(trl.RewardConfig, spec, len(found), **more),
        train_dataset=Dataset.from_list(found),
        processing_class=tokenizer,
        callbacks=[AtTheGate(gate)],
    )
    trainer.train()
    return trainer


def dpo(spec: dict[str, Any], gate: Gate, **more: Any) -> Any:
    """DPOTrainer on the expanded pairs; a step includes the reference model's pass over them."""
    models, rows, tokenizer = setup(spec)
    if spec.get("compact"):
        compact()
    found = [
        {"prompt": text(row["prompt"]), "chosen": " " + text(chosen), "rejected": " " + text(rejected)}
        for row in rows
        for chosen, rejected in pairs(row)
    ]
    trainer: Any

    def reference_pass() -> None:
        """What `_precompute_ref_logps` does once before training, its cache left out."""
        loader = trainer.accelerator.prepare(
            torch.utils.data.DataLoader(
                trainer.train_dataset,
                batch_size=trainer.args.per_device_train_batch_size,
                collate_fn=trainer.data_collator,
            )
        )
        for batch in loader:
            trainer.compute_ref_log_probs(trainer.model, batch)

    precomputed = bool(spec.get("precomputed"))
    reference = models / spec.get("reference", "policy")
    trainer = trl.DPOTrainer(
        model=load(AutoModelForCausalLM, models / "policy"),
        ref_model=None if precomputed else load(AutoModelForCausalLM, reference),
        args=arguments(
            trl.DPOConfig, spec, len(found), beta=0.1, precompute_ref_log_probs=precomputed, **more
        ),
        train_dataset=Dataset.from_list(found),
        processing_class=tokenizer,
        callbacks=[AtTheGate(gate, reference_pass if precomputed else None)],
    )
    trainer.train()
    return trainer


def grpo_trainer(spec: dict[str, Any], gate: Gate) -> Any:
    """GRPOTrainer with a reward model; one generation of `groups` x `k` completions is one optimizer step."""
    models, rows, tokenizer = setup(spec)
    if spec.get("compact"):
        compact()
    case = Case(**spec["case"])
    return trl.GRPOTrainer(
        model=load(AutoModelForCausalLM, models / "policy"),
        reward_funcs=load(AutoModelForSequenceClassification, models / "reward", num_labels=1),
        reward_processing_classes=tokenizer,
        args=arguments(
            trl.GRPOConfig,
            spec,
            case.groups * case.k,
            num_generations=case.k,
            max_completion_length=case.response,
            beta=0.04,
            loss_type="grpo",
            temperature=1.0,
        ),
        train_dataset=Dataset.from_list([{"prompt": text(row["prompt"])} for row in rows]),
        processing_class=tokenizer,
        callbacks=[AtTheGate(gate)],
    )


def grpo(spec: dict[str, Any], gate: Gate) -> None:
    grpo_trainer(spec, gate).train()


def ppo(spec: dict[str, Any], gate: Gate) -> None:
    """PPOTrainer (TRL 1.12.0): `groups` prompts, each `k` times, are one update of one epoch."""
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    models, rows, tokenizer = setup(spec)
    case = Case(**spec["case"])
    tokenizer.padding_side = "left"
    prompts = [{"input_ids": row["prompt"]} for row in rows for _ in range(case.k)]
    values = arguments(
        PPOConfig,
        spec,
        len(prompts),
        response_length=case.response,
        temperature=1.0,
        num_ppo_epochs=1,
        num_mini_batches=1,
        total_episodes=FOREVER,
        local_rollout_forward_batch_size=int(spec.get("rollout_batch", len(prompts))),
        num_sample_generations=0,
        kl_coef=0.05,
        missing_eos_penalty=1.0,
        stop_token="eos",
    )

    def classifier() -> Any:
        return load(AutoModelForSequenceClassification, models / "reward", num_labels=1)

    trainer = PPOTrainer(
        args=values,
        processing_class=tokenizer,
        model=load(AutoModelForCausalLM, models / "policy"),
        ref_model=load(AutoModelForCausalLM, models / "policy"),
        reward_model=classifier(),
        value_model=classifier(),
        train_dataset=Dataset.from_list(prompts),
        eval_dataset=Dataset.from_list(prompts),
        callbacks=[AtTheGate(gate)],
    )
    trainer.train()


def generate(spec: dict[str, Any], gate: Gate) -> None:
    """A step is `k` samples of every prompt, by the very method of GRPOTrainer that TRL generates with."""
    case = Case(**spec["case"])
    trainer = grpo_trainer(spec | {"batch": case.groups * case.k}, gate)
    _, rows, _ = setup(spec)
    prompts = [row["prompt"] for row in rows for _ in range(case.k)]
    while True:
        gate()
        trainer._generate_single_turn(prompts, None, {}, case.k)


def generate_best(spec: dict[str, Any], gate: Gate) -> None:
    """The same by transformers' best for a processor: a static cache, `batch` rows at once."""
    case = Case(**spec["case"])
    models, rows, tokenizer = setup(spec)
    tokenizer.padding_side = "left"
    model = load(AutoModelForCausalLM, models / "policy").eval()
    prompts = [row["prompt"] for row in rows for _ in range(case.k)]
    batch = int(spec["batch"])
    while True:
        gate()
        for start in range(0, len(prompts), batch):
            padded = tokenizer.pad({"input_ids": prompts[start : start + batch]}, return_tensors="pt")
            model.generate(
                **padded,
                do_sample=True,
                top_k=0,
                temperature=1.0,
                max_new_tokens=case.response,
                cache_implementation="static",
                disable_compile=True,
            )


class Watch(TrainerCallback):
    """Notes the gradients of the first step and every step's loss."""

    def __init__(self) -> None:
        self.gradients: dict[str, torch.Tensor] = {}
        self.losses: list[float] = []

    def on_pre_optimizer_step(self, *_: Any, model: Any, **__: Any) -> None:
        if not self.gradients:
            self.gradients = {
                name: parameter.grad.clone()
                for name, parameter in model.named_parameters()
                if parameter.grad is not None
            }

    def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
        if "loss" in logs:
            self.losses.append(logs["loss"])


def parity(spec: dict[str, Any], gate: Gate) -> None:
    """Some steps of the trainer on all pairs at once; losses, first gradients and last parameters go to a file."""
    count = sum(len(pairs(row)) for row in spec["rows"])
    watch = Watch()
    losses: list[float] = []
    trainer_class = {"reward": trl.RewardTrainer, "dpo": trl.DPOTrainer}[spec["kind"]]
    original = trainer_class.compute_loss

    def compute_loss(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = original(self, *args, **kwargs)
        losses.append(float(loss))
        if len(losses) == 1:
            self.add_callback(watch)
        return loss

    trainer_class.compute_loss = compute_loss
    gate()
    build = {"reward": reward, "dpo": dpo}[spec["kind"]]
    trainer = build(
        spec | {"batch": count},
        lambda: None,
        max_steps=spec["steps"],
        learning_rate=spec["learning_rate"],
        weight_decay=0.0,
        adam_epsilon=spec["epsilon"],
        max_grad_norm=0.0,
        max_length=None,
    )
    torch.save(
        {
            "losses": losses,
            "gradients": watch.gradients,
            "parameters": {name: value.detach() for name, value in trainer.model.named_parameters()},
        },
        spec["result"],
    )


if __name__ == "__main__":
    sys.stdout.flush()
    serve(
        sys.argv[1],
        {
            "reward": reward,
            "dpo": dpo,
            "grpo": grpo,
            "ppo": ppo,
            "generate": generate,
            "generate_best": generate_best,
            "parity": parity,
        },
    )
