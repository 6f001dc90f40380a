"""A Slurm of this machine's own: its real daemons, as two nodes with the partitions and GPUs of docs/cluster/slurm.toml."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.processes import free_port, until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")

CONFIGURATION = """
ClusterName=palate
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.socket
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SchedulerParameters=sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=10
GresTypes=gpu
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={port1} CPUs=16 Gres=gpu:8
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={port2} CPUs=16 Gres=gpu:8
PartitionName=gpu Nodes=node1,node2 Default=YES
PartitionName=debug Nodes=node1,node2
"""


def is_installed() -> bool:
    return all(_program(name) for name in PROGRAMS) and os.geteuid() == 0  # it starts jobs as their owners


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """A running Slurm with its files in a folder, and the environment of its commands."""
    environment = {"SLURM_CONF": str(folder / "slurm.conf")}
    (folder / "state").mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    values = {"folder": folder, "host": socket.gethostname().split(".")[0], "user": getpass.getuser()}
    ports = {name: free_port() for name in ("port", "port1", "port2")}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**values, **ports))
    (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-7]\n")
    for number in range(8):
        (folder / f"gpu{number}").touch()
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "log", "pid", "seed")]
    with ExitStack() as running:
        for command in (
            ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge],
            ["slurmctld", "-D", "-i"],
            ["slurmd", "-D", "-N", "node1"],
            ["slurmd", "-D", "-N", "node2"],
        ):
            running.enter_context(_daemon(command, environment))
        sinfo = ["sinfo", "--noheader", "--format=%T", "--partition=gpu"]
        until(lambda: _answer(sinfo, environment) == "idle", "both nodes are there")
        yield environment


@contextmanager
def _daemon(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    program = _program(command[0])
    assert program is not None
    with subprocess.Popen(
        [program, *command[1:]],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as daemon:
        try:
            yield
        finally:
            daemon.terminate()


def _answer(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout.strip()


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
