"""The other processes of a training run: who started them, and what becomes of a run that loses one."""

from __future__ import annotations

import atexit
import functools
import os
import sys


class ProcessLost(RuntimeError):
    """Another process of the run has died, so this one cannot go on. The message names the checkpoint to go on from."""


def launched_processes() -> tuple[int, int] | None:
    """(machines, processes on each) if a launcher started this process as one of a run's, else ``None``.

    Launchers known: torchrun, whatever its rendezvous (``fabric run`` calls it), and SLURM's srun. A notebook is never
    one of a run's processes, even if its kernel inherits their environment, as that of a sweep's worker may.
    Raises ``ValueError`` if the machines have different numbers of processes.
    """
    env = os.environ
    if hasattr(sys, "ps1"):  # a notebook or another interactive interpreter
        return None
    if "TORCHELASTIC_RUN_ID" in env:
        count, here = int(env["WORLD_SIZE"]), int(env["LOCAL_WORLD_SIZE"])
        if count != here * int(env["GROUP_WORLD_SIZE"]):
            raise ValueError(
                f"{count} processes on {env['GROUP_WORLD_SIZE']} machines, {here} on this one: "
                "give every machine the same --nproc-per-node"
            )
        return count // here, here
    if int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1:  # set within srun alone, not in the batch script around it
        machines = int(env.get("SLURM_STEP_NUM_NODES", "1"))
        return machines, int(env["SLURM_STEP_NUM_TASKS"]) // machines
    return None


def process_rank() -> int:
    """This process's number in the run, 0 where it is alone; known before anything is set up."""
    env = os.environ
    if "RANK" in env or launched_processes() is not None:
        return int(env.get("RANK", env.get("SLURM_PROCID", "0")))
    return int(env.get("LOCAL_RANK", "0"))  # started by Fabric from the run's first process


@functools.cache
def part_at_exit() -> None:
    """Close the connections to the other processes when this one ends.

    gloo's threads may otherwise let go of a tensor while the interpreter takes itself down, which aborts the process
    after all its work is done. Once is enough.
    """

    def part() -> None:
        if torch.distributed.is_initialized() and torch.distributed.get_backend() == "gloo":
            torch.distributed.destroy_process_group()

    import torch

    atexit.register(part)


def is_connection_lost(error: RuntimeError) -> bool:
    """Whether an error of ``torch.distributed`` says that the other side is gone; gloo's are plain ``RuntimeError``."""
    import torch  # late: a rank is asked for long before anything is trained

    if isinstance(error, torch.distributed.DistError):
        return True
    return any(words in str(error) for words in ("gloo/transport", "NCCL", "by peer", "Broken pipe"))
