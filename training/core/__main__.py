"""Do one job: `python -m training.core JOB_DIR`.

The job directory's contract (job.json, data.jsonl, output/, the events on stdout, checkpoints, signals and exit codes) is
described in docs/job-format.md. Several processes, each with an accelerator of its own, do one job under
`torchrun --nproc-per-node N -m training.core JOB_DIR`.
"""

from __future__ import annotations

import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from training.core import memory
from training.core.environment import set_environment
from training.core.errors import DISK_FULL, BadInput, Stopped, is_disk_full
from training.core.events import Events, stdout_events
from training.core.job_directory import Job, publish_output, read_job, read_result
from training.core.log_lines import time_log_lines
from training.core.process_rank import world_size

DONE, CRASHED, BAD_INPUT, STOPPED = 0, 1, 2, 3
"""Exit codes."""

JOB_HANDLERS = {
    "pretrain": ("train_pretrain", "train"),
    "sft": ("train_sft", "train"),
    "reward": ("train_reward", "train"),
    "dpo": ("train_dpo", "train"),
    "kto": ("train_kto", "train"),
    "rejection": ("train_rejection", "train"),
    "rest": ("train_rest", "train"),
    "hindsight": ("train_hindsight", "train"),
    "ppo": ("train_ppo", "train"),
    "grpo": ("train_grpo", "train"),
    "reinforce": ("train_reinforce", "train"),
    "online": ("train_online", "train"),
    "revise": ("revise", "revise"),
    "judge": ("judge", "judge"),
    "generate": ("generate", "generate"),
    "evaluate": ("evaluate", "evaluate"),
}
"""The module and function for each kind of job."""


def run(job: Job, events: Events) -> dict[str, Any]:
    """Do the job, publish its output and return its result. The modules that need torch are imported here, after job.json
    was validated."""
    import torch

    if job.config.threads:
        torch.set_num_threads(job.config.threads)
    module, function = JOB_HANDLERS[job.kind]
    handler = getattr(import_module(f"training.core.{module}"), function)
    if world_size() > 1:
        if not job.config.distributable:
            raise BadInput(f"A {job.kind} run does not support several processes; start one.", setting="kind")
        from training.core import distributed

        distributed.init_process_group()
    if job.config.precision in ("default", "auto"):
        from training.core.precision import resolve_precision

        job = resolve_precision(job, events)
    with events.resources:
        result: dict[str, Any] = handler(job, job.config, events)
    if world_size() > 1:
        distributed.wait_for_all_processes()
    seconds = round(time.monotonic() - events.started, 1)
    result |= {"output": str(job.output), "seconds": seconds, "processes": world_size()}
    if name := getattr(job.config, "reward_function", ""):
        from training.core.function_reward import load_function

        result["reward_function"] = load_function(name).identity()
    publish_output(job, result)
    return result


def main(arguments: list[str]) -> int:
    """Do the job in the directory named by the one argument, and return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m training.core JOB_DIR\n")
        return BAD_INPUT
    time_log_lines()
    set_environment()
    memory.keep_freed_memory()
    with stdout_events() as events:
        try:
            job = read_job(Path(arguments[0]).resolve())
            result = read_result(job)
            if result is None:
                result = run(job, events)
        except Stopped:
            events.stopped()
            return STOPPED
        except BadInput as error:
            events.error(str(error), setting=error.setting, line=error.line)
            return BAD_INPUT
        except Exception as error:  # noqa: BLE001 - the parent process must hear of every error
            if memory.is_out_of_memory(error):
                message, setting = memory.out_of_memory_message(
                    job.kind, job.config, loaded=events.work_started
                )
                events.error(message, setting=setting)
                return BAD_INPUT
            if is_disk_full(error):
                events.error(DISK_FULL)
                return BAD_INPUT
            if events.stop_requested and world_size() > 1:
                events.stopped()
                return STOPPED  # another process left first, which breaks a collective operation of the two
            traceback.print_exc()
            events.error(f"The run crashed: {type(error).__name__}: {error}")
            return CRASHED
        events.done(result)
        return DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
