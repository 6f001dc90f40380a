"""A ReST run that writes the policy after each Improve step to output/step-1, step-2 and so on, and takes all steps.

    python -m benchmarks.rest_steps FOLDER

The last line of its stdout is a JSON object: `improve_steps`, how many there were; there are fewer than thresholds once no
response has a reward above the next one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from training.configs import ReSTConfig
from training.core.checkpoint_selection import CheckpointSelection
from training.core.data import read_rollout_prompts
from training.core.events import Events
from training.core.job_directory import read_job
from training.core.model_loading import save_policy
from training.core.rollouts import Setup, load_setup
from training.core.train_rest import improve, plan_improve_steps, sample_responses
from training.core.training_loop import TrainingLoop


class StepWriter(CheckpointSelection):
    """Writes the weights after each Improve step, and evaluates nothing."""

    written = 0

    def evaluate_or_stop(self) -> None:
        if self.loop.steps_done:
            self.finish()

    def finish(self) -> None:
        assert isinstance(self.setup, Setup)
        self.written += 1
        folder = self.setup.job.folder / "output" / f"step-{self.written}"
        save_policy(self.setup.policy, self.setup.tokenizer, folder, instruction="")


def main() -> None:
    job = read_job(Path(sys.argv[1]))
    config = job.config
    assert isinstance(config, ReSTConfig)
    events = Events(sys.stdout)
    prompts = read_rollout_prompts(job.data)
    setup = load_setup(job, config, events, prompts, reference=False)
    loop = TrainingLoop(job, config, setup.policy, examples=1, events=events)
    steps, _ = plan_improve_steps(sample_responses(setup, loop)[0], config)
    loop.set_steps(steps[-1].end)
    improve(setup, config, loop, steps, StepWriter(setup, loop, every=0, patience=0, max_kl=0))
    print(json.dumps({"result": {"improve_steps": len(steps)}}))


if __name__ == "__main__":
    main()
