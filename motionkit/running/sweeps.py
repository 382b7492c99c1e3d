"""Sweeps: a file of settings becomes runs of a notebook, on this machine or on many, resumable at any time.

``<folder>/sweep.json`` holds the plan, ``<folder>/<run id>/`` each run: its executed notebook, ``log.txt``,
``run.json``, and below it what the notebook saved. A run that ended is never repeated, unless it failed and that is
asked for; all others are started by the next call.
"""

from __future__ import annotations

import json
import signal
import statistics
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from motionkit.data.atomic import written_whole
from motionkit.running.configs_check import refused_settings
from motionkit.running.executors import (
    DaskWorkers,
    LocalWorkers,
    Outcome,
    WorkerLost,
    Workers,
    available_cores,
    available_gpus,
)
from motionkit.running.parameters import read_notebook
from motionkit.running.sweep_plan import Run, Sweep, plan_runs, read_sweep
from motionkit.running.sweep_progress import SweepProgress, duration
from motionkit.running.sweep_run import LOCK, Job, Locked, RunState, end_kernels, locked, now_utc

ATTEMPTS = 2  # of a run whose worker is lost: a second time on another worker


@dataclass(frozen=True)
class Planned:
    """A sweep with its runs, its folder, and the states of the runs that have ended."""

    sweep: Sweep
    runs: Sequence[Run]
    folder: Path
    states: dict[str, RunState]

    def folder_of(self, run: Run) -> Path:
        return self.folder / run.id


def prepare_sweep(file: str | Path, folder: Path | None = None, profile: str | None = None) -> Planned:
    """Read, check and plan a sweep without starting anything.

    folder: where its runs are, ``runs/sweeps/<name>`` by default.

    Raises ``ValueError`` for whatever would make a run fail that can be known before: names, types, combinations that
    the notebook's configs refuse, a data set that is not there.
    """
    sweep = read_sweep(file, profile)
    runs = plan_runs(sweep)
    refused = refused_settings(sweep.notebook, [run.settings for run in runs])
    if refused:
        lines = [f"  {runs[number].label}: {reason}" for number, reason in sorted(refused.items())]
        more = [f"  and {len(lines) - 8} more"] * (len(lines) > 8)
        listed = "\n".join(lines[:8] + more)
        raise ValueError(f"{sweep.file.name}: {len(refused)} of {len(runs)} runs are impossible:\n{listed}")
    folder = (folder or Path("runs") / "sweeps" / sweep.name).resolve()
    states = {run.id: state for run in runs if (state := RunState.read(folder / run.id))}
    return Planned(sweep, runs, folder, states)


def run_sweep(
    planned: Planned,
    *,
    workers: int | None = None,
    scheduler: str = "",
    retry_failed: bool = False,
    progress: SweepProgress | None = None,
) -> dict[str, RunState]:
    """Run what is missing of a sweep; returns the state of each run, by id.

    workers: runs at a time on this machine; by default one for each GPU, or for two cores.
    scheduler: address of a dask scheduler; its workers run the notebooks instead.
    retry_failed: run those again that failed.

    A run whose cell raises, whose kernel dies or that takes too long is recorded as failed, and the others go on. One
    whose worker is lost is tried once more. ``KeyboardInterrupt`` and SIGTERM end all runs without recording them.

    Raises ``ValueError`` if another process is at this sweep, or the scheduler cannot be used.
    """
    planned.folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(planned.folder / LOCK):
            end_kernels(planned.folder)  # of a driver that was killed
            # read again: a driver may have ended between planning and now
            planned.states.update({r.id: s for r in planned.runs if (s := RunState.read(planned.folder_of(r)))})
            _write_plan(planned)
            again = [s for s in planned.states.values() if s.state == "failed"] if retry_failed else []
            left = [run for run in planned.runs if run.id not in planned.states or planned.states[run.id] in again]
            if left:
                driver = _Driver(planned, left, progress or SweepProgress())
                driver.drive(_workers(planned, workers, scheduler, len(left)))
    except Locked as error:
        raise ValueError(f"{planned.folder} is being run already, by {error}") from None
    return planned.states


def _workers(planned: Planned, count: int | None, scheduler: str, num_runs: int) -> Workers:
    if scheduler:
        return DaskWorkers(scheduler, planned.folder)
    return LocalWorkers(min(count or default_workers(), num_runs), planned.sweep.notebook.parent, planned.folder)


def default_workers() -> int:
    """One for each GPU, else one for two cores."""
    return len(available_gpus()) or max(1, available_cores() // 2)


def _write_plan(planned: Planned) -> None:
    sweep = planned.sweep
    plan = {
        "sweep": sweep.name,
        "notebook": sweep.notebook.stem,
        "profile": sweep.profile,
        "fills": dict(sweep.fills),
        "runs": {run.id: dict(run.varied) for run in planned.runs},
    }
    with written_whole(planned.folder / "sweep.json") as aside:
        aside.write_text(json.dumps(plan, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


class _Driver:
    """One call of ``run_sweep``: hands waiting runs to idle workers and gathers how they ended."""

    def __init__(self, planned: Planned, left: Sequence[Run], progress: SweepProgress) -> None:
        self.planned, self.progress = planned, progress
        self.id = uuid.uuid4().hex
        self.runs = {run.id: run for run in left}
        self.waiting = deque(self.runs)
        self.running: dict[str, str] = {}
        self.lost: dict[str, int] = {}

    def drive(self, workers: Workers) -> None:
        seconds = typical_seconds(self.planned)
        self.progress.open(self.planned, len(self.runs), str(workers), seconds)
        try:
            with _sigterm_interrupts():
                while self.waiting or self.running:
                    for worker in workers.idle()[: len(self.waiting)]:
                        self._start(workers, worker)
                    for job, outcome in workers.ended(0.3):
                        self._end(job, outcome)
                    self.progress.update()
        except BaseException:
            if self.running:
                self.progress.note("stopping: what runs now will be run again by the next call")
                workers.stop(self.id)
            raise
        finally:
            self.progress.close()
            workers.close()

    def _start(self, workers: Workers, worker: str) -> None:
        run, sweep = self.runs[self.waiting.popleft()], self.planned.sweep
        folder, before = self.planned.folder_of(run), self.planned.states.get(run.id)
        own = {"runs": str(folder)} if "runs" in run.settings else {}
        job = Job(
            run=run.id,
            notebook=str(sweep.notebook),
            profile=sweep.profile,
            parameters={**run.settings, **own},
            varied=run.varied,
            folder=str(folder),
            driver=self.id,
            timeout_s=sweep.timeout_s,
            replaces=before.started if before else "",
        )
        self.running[run.id] = worker
        self.progress.started(run, worker, folder)
        workers.start(worker, job)

    def _end(self, job: Job, outcome: Outcome) -> None:
        worker = self.running.pop(job.run)
        run = self.runs[job.run]
        if isinstance(outcome, WorkerLost):
            self.lost[run.id] = self.lost.get(run.id, 0) + 1
            if self.lost[run.id] < ATTEMPTS:
                self.waiting.appendleft(run.id)
                self.progress.lost(run, worker, outcome)
                return
        if not isinstance(outcome, RunState):
            outcome = self._record(job, worker, outcome)
        self.planned.states[run.id] = outcome
        self.progress.ended(run, outcome)

    def _record(self, job: Job, worker: str, outcome: Outcome) -> RunState:
        """A state for a run whose worker could not write one."""
        folder, is_lost = Path(job.folder), isinstance(outcome, WorkerLost)
        what = f"its worker was lost {ATTEMPTS} times" if is_lost else type(outcome).__name__
        state = job.ended(
            started=now_utc(),
            seconds=0.0,
            worker=worker,
            reason="worker lost" if is_lost else "raised",
            cell="a cell that log.txt names",
            lines=f"    {what}: {outcome}",
        )
        folder.mkdir(parents=True, exist_ok=True)
        # a worker that was cut off, but lives, holds the lock: it will write the record itself
        with suppress(Locked), locked(folder / LOCK):
            found = RunState.read(folder)
            if found and found.started != job.replaces:
                return found  # it was written just before the worker was lost
            state.write(folder)
        return state


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """SIGTERM, as queues send it at the end of a job's time, stops as cleanly as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# ---- what a dry run shows --------------------------------------------------------------------------------------------


def typical_seconds(planned: Planned) -> float | None:
    """Median duration of the finished runs of the same notebook and profile, here and in sweeps beside this one."""
    sweep, seconds = planned.sweep, []
    for file in planned.folder.parent.glob("*/*/run.json"):
        try:
            state = RunState.read(file.parent)
        except ValueError:
            continue
        same = state and (state.profile, Path(state.notebook).stem) == (sweep.profile, sweep.notebook.stem)
        if same and state.state == "done":
            seconds.append(state.seconds)
    single = planned.folder.parent.parent / sweep.profile / f"{sweep.notebook.stem}.ipynb"  # of `motionkit run`
    if not seconds and single.is_file():
        took = read_notebook(single).metadata.get("papermill", {}).get("duration")
        seconds = [took] if took else []
    return statistics.median(seconds) if seconds else None


def describe_plan(planned: Planned, workers: int | None = None) -> str:
    """The table of runs as text, and about how long the missing ones take with so many workers."""
    table, sweep = planned_table(planned), planned.sweep
    times = [("unknown" if pd.isna(s) else duration(s)) for s in table.pop("seconds")]
    taken = [
        "took " if state == "done" else "about " if time != "unknown" else ""
        for state, time in zip(table["state"], times, strict=True)
    ]
    table["time"] = [word + time for word, time in zip(taken, times, strict=True)]
    count = min(workers or default_workers(), max(1, len(table)))
    typical, missing = typical_seconds(planned), int((table["state"] == "missing").sum())
    total = "unknown" if typical is None else duration(-(-missing // count) * typical)
    return (
        f"{sweep.name}: {len(table)} runs of {sweep.notebook.stem}, profile {sweep.profile}, in {planned.folder}\n"
        f"{table.to_string(index=False)}\n"
        f"{missing} missing, with {count} worker{'s' * (count > 1)} about {total}".replace(
            "about unknown", "time unknown"
        )
    )


def planned_table(planned: Planned) -> pd.DataFrame:
    """The runs of a sweep: id, what varies, state, seconds taken or (NaN if unknown) expected."""
    typical, lines = typical_seconds(planned), []
    for run in planned.runs:
        state = planned.states.get(run.id)
        took = state.seconds if state and state.state == "done" else typical
        word = "missing" if not state else "done" if state.state == "done" else f"failed ({state.reason})"
        lines.append({"run": run.id, **run.varied, "state": word, "seconds": float("nan") if took is None else took})
    return pd.DataFrame(lines)
