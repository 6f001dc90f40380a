"""Rollouts sampled in process and by vLLM: the time that they take, and whether policies learn the same from them.

    python -m benchmarks.rollouts [--parts speed,learning] [--seeds 1,2,3] [--prompts 300]

Speed: the responses of one rollout by the demo's policy, and by a model of 100 million parameters with random weights. Learning:
GRPO and PPO with LoRA, from the first policy and the reward model of `benchmarks.learning`, measured by the hidden preferences.
vLLM runs on this machine, each side with one thread. Jobs are under var/rollouts; finished ones are not run again.
"""

from __future__ import annotations

import argparse
import json
import time
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks import environments, results
from benchmarks.learning import METHODS, World, run_job
from benchmarks.rollouts_results import SAMPLERS
from benchmarks.vllm_server import vllm_server
from benchmarks.workloads import ROOT
from training.configs import from_dict
from training.demo import metrics

PLACE = ROOT / "var" / "rollouts"
LORA = {"lora_rank": 8, "learning_rate": 3e-3}
"""Ten times the learning rate of full fine-tuning."""
SPEED_PROMPTS, SPEED_TOKENS = 128, 64
KEYS = ("seed", "method", "sampler")
LARGE = {"hidden_size": 768, "intermediate_size": 2304, "num_hidden_layers": 12, "num_attention_heads": 12}


def speed(server: str, model: Path, world: World, prompts: int) -> dict[str, dict[str, float]]:
    """Seconds and tokens of a rollout of 4 responses of at most 64 tokens to each of the prompts, by each of the samplers."""
    from training.core.data import read_rollout_prompts
    from training.core.events import Events
    from training.core.job_directory import read_job
    from training.core.rollout_loop import build_loop
    from training.core.rollouts import load_setup, sample_policy, sample_to_learn

    folder = PLACE / "speed"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"id": place, "prompt": exchange.messages} for place, exchange in enumerate(world.prompts[:prompts])
    ]
    config = METHODS["grpo"][1] | LORA | _served(server) | {"max_new_tokens": SPEED_TOKENS}
    models = {"model": str(model), "reward_model": str(world.reward)}
    (folder / "job.json").write_text(json.dumps({"kind": "grpo", "config": config} | models))
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    job, events = read_job(folder), Events(StringIO())
    settings: Any = from_dict("grpo", config)
    with events.resources:
        setup = load_setup(job, settings, events, read_rollout_prompts(job.data), reference=False)
        loop = build_loop(setup, settings, setup.policy)
        measured = {}
        for name, sample in zip(SAMPLERS, (sample_policy, sample_to_learn), strict=True):
            sample(setup, setup.training[:4], "warm up", loop)
            started = time.perf_counter()
            sampled = sample(setup, setup.training, 0, loop)
            seconds = time.perf_counter() - started
            measured[name] = {"seconds": seconds, "tokens": sum(len(one.token_ids) for one in sampled)}
    return measured


def large_model(tokenizer: Path) -> Path:
    """A model of 100 million parameters with random weights, and the demo's tokenizer."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = PLACE / "large"
    if not (folder / "model.safetensors").exists():
        tokens = AutoTokenizer.from_pretrained(tokenizer)
        config = LlamaConfig(
            vocab_size=len(tokens), max_position_embeddings=256, tie_word_embeddings=True, **LARGE
        )
        LlamaForCausalLM(config).save_pretrained(folder)
        tokens.save_pretrained(folder)
    return folder


def learn(world: World, name: str, method: str, prompts: int, config: dict[str, Any]) -> Path:
    """The policy that a method makes."""
    kind, settings = METHODS[method]
    rows = [
        {"id": place, "prompt": exchange.messages} for place, exchange in enumerate(world.prompts[:prompts])
    ]
    settings = settings | LORA | config | {"seed": world.seed}
    return run_job(world.folder / name, kind, settings, rows, model=world.first, reward_model=world.reward)


def outcome(world: World, method: str, sampler: str, policy: Path) -> dict[str, Any]:
    """The policy's win rate over the first one on held-out prompts, by the hidden preferences, its KL divergence from it, and
    the seconds that the run took."""
    name = job_name(method, sampler)
    first = world.judge("first", world.first)["answers"]
    judged = world.judge(name, policy)
    rate = metrics.win_rate(judged["answers"], first)
    done = json.loads((world.folder / name / "done.json").read_text())["result"]
    run = {"seed": world.seed, "method": method, "sampler": sampler, "kl": judged["kl"]}
    return run | {"wins": rate.mean, "low": rate.low, "high": rate.high, "seconds": done["seconds"]}


def job_name(method: str, sampler: str) -> str:
    return f"{method}-{sampler.replace(' ', '-')}"


def _served(server: str) -> dict[str, Any]:
    return {"sampler": "vllm-lora", "sampler_server": server}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default="speed,learning")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--prompts", type=int, default=300)
    options = parser.parse_args()
    python = environments.vllm()
    parts = options.parts.split(",")
    values = (results.load("rollouts") or {"speed": {}, "learning": []}) | {
        "about": results.about({"vLLM": python})
    }
    for seed in map(int, options.seeds.split(",")):
        world = World(seed, PLACE)
        world.prepare()
        with vllm_server(python, world.first, world.folder / "vllm.log") as server:
            if "speed" in parts:
                values["speed"]["the demo's policy"] = speed(server, world.first, world, SPEED_PROMPTS)
            for method in ("grpo", "ppo") if "learning" in parts else ():
                for sampler, config in zip(SAMPLERS, ({}, _served(server)), strict=True):
                    policy = learn(world, job_name(method, sampler), method, options.prompts, config)
                    run = outcome(world, method, sampler, policy)
                    print(run, flush=True)
                    earlier = [one for one in values["learning"] if any(one[key] != run[key] for key in KEYS)]
                    values["learning"] = [*earlier, run]
        if "speed" in parts:
            model = large_model(world.first)
            with vllm_server(python, model, PLACE / "large.log") as server:
                values["speed"]["100 million parameters"] = speed(server, model, world, SPEED_PROMPTS // 8)
            parts.remove("speed")
    results.save("rollouts", values)
    results.write_report()
    print(json.dumps({"speed": values["speed"], "learning": values["learning"]}))


if __name__ == "__main__":
    main()
