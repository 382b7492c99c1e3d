"""One run of a sweep, on this machine or another: a folder, a lock, a log, an executed notebook and a record.

``run.json`` is the last file written, in one step. A run without it has not ended, whatever else its folder holds, and
is started again; what its training saved is continued.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from motionkit.data.atomic import written_whole
from motionkit.running.kernels import WarmKernels
from motionkit.running.notebooks import NotebookFailed, run_notebook
from motionkit.running.progress import Progress

RECORD, LOG, LOCK = "run.json", "log.txt", ".lock"
MARK = "MOTIONKIT_SWEEP"  # environment of a sweep's kernels: the process that started them, and the sweep's folder

_stopped: set[str] = set()  # drivers that were interrupted: their runs end without a record


@dataclass(frozen=True)
class Job:
    """What a worker needs to know of a run. ``replaces`` is the start of the failed attempt that it repeats, if any."""

    run: str
    notebook: str
    profile: str
    parameters: Mapping[str, Any]
    varied: Mapping[str, Any]
    folder: str
    driver: str
    timeout_s: float | None = None
    replaces: str = ""

    def ended(self, *, started: str, seconds: float, worker: str, threads: int = 0, **failure: str) -> RunState:
        """How it ended: done, or failed if a ``failure`` (reason, cell, lines) is given."""
        return RunState(
            run=self.run,
            state="failed" if failure else "done",
            notebook=self.notebook,
            profile=self.profile,
            parameters=self.parameters,
            varied=self.varied,
            started=started,
            seconds=seconds,
            worker=worker,
            threads=threads,
            **failure,
        )


@dataclass(frozen=True)
class RunState:
    """How a run ended. ``state`` is "done" or "failed"; ``reason`` "raised", "died", "timed out" or "worker lost".

    cell: where it failed. lines: the last lines of the error.
    seconds: from its start to its end. started: UTC, ISO 8601. host, worker: where it ran; threads: with how many.
    """

    run: str
    state: str
    notebook: str
    profile: str
    parameters: Mapping[str, Any]
    varied: Mapping[str, Any]
    started: str
    seconds: float
    worker: str
    host: str = field(default_factory=socket.gethostname)
    threads: int = 0
    reason: str = ""
    cell: str = ""
    lines: str = ""

    def write(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        with written_whole(folder / RECORD) as aside:
            aside.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> RunState | None:
        """The state in a run's folder, ``None`` if it has not ended; ``ValueError`` for a file that is no state."""
        try:
            return cls(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise ValueError(f"{folder / RECORD}: no record of a run: {error}") from None


def run_job(job: Job, worker: str, env: Mapping[str, str], kernels: WarmKernels | None = None) -> RunState | None:
    """Run it and write its record; ``None`` if its driver was stopped meanwhile.

    A process of an earlier driver may still be at this run: its end is waited for, and its result taken.
    """
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    begun_before = (folder / LOCK).exists()
    with locked(folder / LOCK, wait=True):
        found = RunState.read(folder)
        if found and found.started != job.replaces:
            return found
        if begun_before:
            end_kernels(folder.parent)
            for leftover in (*folder.glob(".*.running.ipynb"), *folder.glob(".*.part")):
                leftover.unlink(missing_ok=True)
        state = _run(job, folder, worker, env, kernels)
        if job.driver in _stopped:
            return None
        state.write(folder)
        return state


def _run(job: Job, folder: Path, worker: str, env: Mapping[str, str], kernels: WarmKernels | None) -> RunState:
    started, clock = now_utc(), time.monotonic()
    failure: dict[str, str] = {}
    with open(folder / LOG, "w", encoding="utf-8") as log:
        progress = Progress(log, every_s=5)
        try:
            run_notebook(
                job.notebook,
                profile=job.profile,
                parameters=job.parameters,
                out_folder=folder,
                timeout_s=job.timeout_s,
                progress=progress,
                kernels=kernels,
                env=None if kernels else env,  # warm kernels have it since they started
            )
        except NotebookFailed as error:
            failure = {"reason": error.reason, "cell": error.cell, "lines": error.lines}
        except Exception as error:  # a disk that is full, a notebook that is gone: the other runs go on
            lines = "".join(traceback.format_exception(error, limit=-4)).rstrip()
            failure = {"reason": "raised", "cell": progress.where, "lines": lines}
        if failure:
            log.write(f"\n{failure['reason']} in {failure['cell']}\n{failure['lines']}\n")
    seconds, threads = round(time.monotonic() - clock, 3), int(env.get("OMP_NUM_THREADS", 0))
    return job.ended(started=started, seconds=seconds, worker=worker, threads=threads, **failure)


def now_utc() -> str:
    """ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


# ---- locks -----------------------------------------------------------------------------------------------------------


class Locked(RuntimeError):
    """Another process holds the lock; the message says which."""


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock file. It falls with the process that holds it, however that ends: no lock is ever stale.

    Raises ``Locked`` if another process holds it, or waits for that process.
    """
    with open(path, "a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            handle.seek(0)
            raise Locked(handle.read().strip() or "another process") from None
        handle.truncate(0)
        now = datetime.now().isoformat(sep=" ", timespec="seconds")
        handle.write(f"process {os.getpid()} on {socket.gethostname()}, since {now}\n")
        handle.flush()
        yield


# ---- kernels of a sweep ----------------------------------------------------------------------------------------------


def mark(sweep_folder: Path) -> dict[str, str]:
    """Environment by which the kernels of this process and sweep are found again."""
    return {MARK: f"{os.getpid()}:{sweep_folder}"}


def end_kernels(sweep_folder: Path, *, own: bool = False) -> int:
    """End this machine's kernels of a sweep that lost the process that started them; returns how many there were.

    Kernels watch their parent and end by themselves within seconds, unless they miss its end while they start.
    own: end those that this process started instead.
    """
    ended = []
    for process in psutil.process_iter():
        try:
            owner, _, folder = process.environ().get(MARK, "").partition(":")
            if folder == str(sweep_folder) and (
                int(owner) == os.getpid() if own else not _started(int(owner), process)
            ):
                process.kill()
                ended.append(process)
        except (psutil.Error, OSError):
            continue  # gone meanwhile, or another user's
    psutil.wait_procs(ended, timeout=10)
    return len(ended)


def _started(owner: int, process: psutil.Process) -> bool:
    """Whether the owner still lives; a process that is younger than the kernel merely has its number."""
    return psutil.pid_exists(owner) and psutil.Process(owner).create_time() <= process.create_time()


def stop_jobs(driver: str, sweep_folder: str) -> None:
    """End the driver's runs in this process without a record: they are missing, not failed."""
    _stopped.add(driver)
    end_kernels(Path(sweep_folder), own=True)
