"""Who runs a sweep's jobs: threads of this process, or the workers of a dask scheduler. One job a worker at a time."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from motionkit.results import code_version
from motionkit.running.kernels import WarmKernels
from motionkit.running.sweep_run import Job, RunState, end_kernels, mark, run_job, stop_jobs

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
Outcome = RunState | BaseException | None  # None: stopped


class WorkerLost(RuntimeError):
    """The outcome of a job whose worker is gone."""


@runtime_checkable
class Workers(Protocol):
    """What a sweep asks of those who run it. As text: how many they are, for the first line of the progress."""

    def idle(self) -> list[str]:
        """Names of the workers that wait for a job."""

    def start(self, worker: str, job: Job) -> None:
        """Give an idle worker a job."""

    def ended(self, wait_s: float) -> list[tuple[Job, Outcome]]:
        """The jobs that came to an end since the last call, waited for so long if there is none."""

    def stop(self, driver: str) -> None:
        """End the driver's jobs that run, without records."""

    def close(self) -> None:
        """Let go of the workers."""


# ---- this machine ----------------------------------------------------------------------------------------------------


class LocalWorkers:
    """``count`` threads, each with kernels of its own; cores and GPUs are shared out among them."""

    def __init__(self, count: int, notebook_folder: Path, sweep_folder: Path) -> None:
        self.sweep_folder = sweep_folder
        self.environments = {
            f"worker {number + 1}": mark(sweep_folder) | share
            for number, share in enumerate(shares(count, available_cores(), available_gpus()))
        }
        self._exits = ExitStack()
        self._kernels = {
            name: self._exits.enter_context(WarmKernels(notebook_folder, env))
            for name, env in self.environments.items()
        }
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="sweep")
        self._jobs: dict[Future, tuple[Job, str]] = {}

    def __str__(self) -> str:
        env = next(iter(self.environments.values()))
        count, threads = len(self.environments), int(env["OMP_NUM_THREADS"])
        gpus = len({e["CUDA_VISIBLE_DEVICES"] for e in self.environments.values() if "CUDA_VISIBLE_DEVICES" in e})
        on = "" if not gpus else ", a GPU each" if gpus == count else f", sharing {gpus} GPU{'s' * (gpus > 1)}"
        return f"{count} worker{'s' * (count > 1)} of {threads} thread{'s' * (threads > 1)}{on}"

    def idle(self) -> list[str]:
        busy = {worker for _, worker in self._jobs.values()}
        return [name for name in self.environments if name not in busy]

    def start(self, worker: str, job: Job) -> None:
        future = self._pool.submit(run_job, job, worker, self.environments[worker], self._kernels[worker])
        self._jobs[future] = (job, worker)

    def ended(self, wait_s: float) -> list[tuple[Job, Outcome]]:
        if not self._jobs:
            time.sleep(wait_s)
        done = wait(self._jobs, wait_s, FIRST_COMPLETED).done
        return [(self._jobs.pop(future)[0], future.exception() or future.result()) for future in done]

    def stop(self, driver: str) -> None:
        stop_jobs(driver, str(self.sweep_folder))
        self._exits.close()
        while wait(self._jobs, 0.3).not_done:
            end_kernels(self.sweep_folder, own=True)  # a job that was just beginning has a kernel by now

    def close(self) -> None:
        self._pool.shutdown()
        self._exits.close()


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_gpus() -> list[str]:
    """What names each GPU this process may use in ``CUDA_VISIBLE_DEVICES``."""
    import torch

    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] or [str(number) for number in range(count)]


def shares(count: int, cores: int, gpus: list[str]) -> list[dict[str, str]]:
    """Environment of each worker: an equal share of the cores as threads (a set OMP_NUM_THREADS stands above it), and
    one GPU, in turn if there are fewer.

    >>> [worker["CUDA_VISIBLE_DEVICES"] for worker in shares(3, 8, ["0", "1"])]
    ['0', '1', '0']
    """
    threads = dict.fromkeys(THREAD_VARIABLES, str(max(1, cores // count)))
    if os.environ.get("OMP_NUM_THREADS"):
        threads = {name: os.environ.get(name, os.environ["OMP_NUM_THREADS"]) for name in THREAD_VARIABLES}
    return [threads | ({"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}) for number in range(count)]


# ---- many machines ---------------------------------------------------------------------------------------------------


class DaskWorkers:
    """The workers of a running dask scheduler. A run has as many threads as its worker was started with.

    Workers may come and go. Each must see the sweep's folder under the same path and have the same code; one that does
    not is refused.
    """

    def __init__(self, address: str, sweep_folder: Path) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise ValueError("--scheduler needs dask: pip install motionkit[cluster]") from None
        try:
            self.client = Client(address, timeout=10, set_as_default=False, name="motionkit sweep")
        except (OSError, ValueError) as error:
            raise ValueError(f"--scheduler {address}: no dask scheduler answers there: {error}") from None
        self.address, self.sweep_folder = address, sweep_folder
        self._refused: dict[str, str] = {}
        self._fit: set[str] = set()
        self._jobs: dict[Any, tuple[Job, str]] = {}
        self.idle()
        if self._refused:
            self.client.close()
            raise ValueError(f"--scheduler {address}: " + "; ".join(self._refused.values()))

    def __str__(self) -> str:
        workers = self._workers()
        threads = sorted({worker["nthreads"] for worker in workers.values()})
        each = f" of {'/'.join(map(str, threads))} thread{'s' * (threads[-1] > 1)}" if threads else ""
        return f"{len(workers)} dask worker{'s' * (len(workers) != 1)}{each} at {self.address}"

    def idle(self) -> list[str]:
        workers = self._workers()
        self._check(workers)
        busy = {worker for _, worker in self._jobs.values()}
        return [address for address in workers if address in self._fit and address not in busy]

    def start(self, worker: str, job: Job) -> None:
        key = f"{job.run}-{uuid.uuid4().hex[:8]}"
        # the driver hands out the work itself: what waits is with the driver, and a lost worker loses one run alone
        future = self.client.submit(
            _run_here, job, str(self.sweep_folder), key=key, workers=[worker], allow_other_workers=False, pure=False
        )
        self._jobs[future] = (job, worker)

    def ended(self, wait_s: float) -> list[tuple[Job, Outcome]]:
        until, outcomes = time.monotonic() + wait_s, []
        while not outcomes and time.monotonic() < until:
            time.sleep(min(0.1, wait_s))
            ready = [(future, job) for future, (job, _) in self._jobs.items() if future.status != "pending"]
            outcomes = [(future, self._outcome(future, job)) for future, job in ready]
        if not outcomes:
            workers = self._workers()
            gone = WorkerLost("it left the scheduler")
            outcomes = [(future, gone) for future, (_, worker) in self._jobs.items() if worker not in workers]
        for future, _ in outcomes:
            future.release()
        return [(self._jobs.pop(future)[0], outcome) for future, outcome in outcomes]

    def stop(self, driver: str) -> None:
        until = time.monotonic() + 20
        while self._jobs and time.monotonic() < until:
            with suppress(OSError, ValueError):  # a scheduler that is gone: its workers end with it
                self.client.run(stop_jobs, driver, str(self.sweep_folder), on_error="ignore")
                self.ended(0.5)

    def close(self) -> None:
        self.client.close()

    def _workers(self) -> dict[str, dict]:
        try:
            return self.client.scheduler_info(n_workers=-1)["workers"]
        except OSError as error:
            raise ValueError(
                f"the dask scheduler at {self.address} is gone ({error}); what runs may still end"
            ) from None

    def _outcome(self, future: Any, job: Job) -> Outcome:
        """From the record in the run's folder: to ask the worker would wait forever for one that is killed just now."""
        from distributed import CancelledError, KilledWorker

        if future.status == "finished":
            state = RunState.read(Path(job.folder))
            return state if state and state.started != job.replaces else WorkerLost("it left no record")
        error = future.exception() if future.status == "error" else CancelledError(f"the job is {future.status}")
        return WorkerLost(str(error)) if isinstance(error, KilledWorker | CancelledError) else error

    def _check(self, workers: Mapping[str, dict]) -> None:
        """New workers are asked whether they see the same files and code."""
        new = [address for address in workers if address not in self._fit and address not in self._refused]
        if not new:
            return
        answers = self.client.run(_what_is_here, str(self.sweep_folder), workers=new, on_error="return")
        for address, answer in answers.items():
            why = f"{type(answer).__name__}: {answer}" if isinstance(answer, BaseException) else ""
            if not why and not answer["sees_folder"]:
                why = f"it does not see {self.sweep_folder}: give --out a folder that all machines share"
            elif not why and answer["code"] != code_version():
                why = f"its motionkit is {answer['code']}, here it is {code_version()}"
            if why:
                self._refused[address] = f"worker {address} is of no use: {why}"
                print(self._refused[address], file=sys.stderr)
            else:
                self._fit.add(address)


def _what_is_here(folder: str) -> dict[str, Any]:
    return {"code": code_version(), "sees_folder": Path(folder).is_dir()}


def _run_here(job: Job, sweep_folder: str) -> None:
    """On a dask worker. Its nanny limits it to one thread, its kernels get those it was started with."""
    from distributed import get_worker

    worker = get_worker()
    threads = dict.fromkeys(THREAD_VARIABLES, str(worker.state.nthreads))
    run_job(job, str(worker.name), mark(Path(sweep_folder)) | threads)
