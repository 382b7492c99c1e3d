"""What a terminal, or a log file, shows of a running sweep."""

from __future__ import annotations

import os
import statistics
import sys
import time
from io import TextIOBase
from pathlib import Path
from typing import TYPE_CHECKING

from motionkit.running.progress import terminal_columns
from motionkit.running.sweep_plan import Run
from motionkit.running.sweep_run import LOG, RunState

if TYPE_CHECKING:
    from motionkit.running.sweeps import Planned

MAX_SHOWN = 8  # running runs on a terminal


class SweepProgress:
    """A line for every run that ends; below, on a terminal, where the others stand, rewritten in place.

    In a file, where nothing can be rewritten, the summary is repeated every ``every_s`` seconds instead.
    """

    def __init__(self, out: TextIOBase | None = None, every_s: float = 60.0) -> None:
        self.out = sys.stderr if out is None else out
        self.every_s = every_s
        self._height = 0  # lines of the block that is rewritten
        self._shown = 0.0

    def open(self, planned: Planned, num_left: int, workers: str, typical_s: float | None) -> None:
        """``typical_s``: how long a run takes, as far as is known."""
        self.typical_s, self.seconds = typical_s, []
        self.running: dict[str, tuple[Run, float, Path]] = {}
        self.num_runs, self.num_left = len(planned.runs), num_left
        skipped = [s.state for s in planned.states.values()]
        self.num_done = skipped.count("done")
        self.num_failed = self.num_runs - num_left - self.num_done
        self.slots = 1
        self._shown = time.monotonic()
        sweep = planned.sweep
        self.note(f"{sweep.name}: {self.num_runs} runs of {sweep.notebook.stem}, profile {sweep.profile}, {workers}")
        if num_left < self.num_runs:
            failed = f", {self.num_failed} failed (--retry-failed runs them again)" if self.num_failed else ""
            self.note(f"  before: {self.num_done} done{failed}; {num_left} to run")
        self.note(f"  in {planned.folder}")

    def started(self, run: Run, worker: str, folder: Path) -> None:
        self.running[run.id] = (run, time.time(), folder / LOG)
        self.slots = max(self.slots, len(self.running))

    def ended(self, run: Run, state: RunState) -> None:
        self.running.pop(run.id)
        self.num_left -= 1
        if state.state == "done":
            self.num_done += 1
            self.seconds.append(state.seconds)
        else:
            self.num_failed += 1
        self.note(f"  {self._count()} {state.state:<6} {run.label}  {duration(state.seconds)}")
        if state.state == "failed":
            last = state.lines.strip().splitlines()[-1:] or [""]
            self.note(f"      {state.reason} in {state.cell}: {last[0].strip()}")

    def lost(self, run: Run, worker: str, why: Exception) -> None:
        self.running.pop(run.id)
        self.note(f"  {self._count()} {run.label}: worker {worker} was lost ({why}); the run is tried once more")

    def update(self) -> None:
        """Show where everything stands, if it is time to."""
        now = time.monotonic()
        if now - self._shown < (0.5 if self.out.isatty() else self.every_s):
            return
        self._shown = now
        width = terminal_columns() - 1 if self.out.isatty() else None
        lines = [f"  {self._count()} {self.summary()}"]
        for run, since, log in list(self.running.values())[:MAX_SHOWN]:
            lines.append(f"    {run.label}  {duration(time.time() - since)}  {last_line(log, since)}")
        self._erase()
        self.out.write("\n".join(line[:width] for line in lines) + "\n")
        self.out.flush()
        self._height = len(lines) if self.out.isatty() else 0

    def summary(self) -> str:
        failed = f"{self.num_failed} failed, " if self.num_failed else ""
        left = self.seconds_left()
        eta = "time left unknown" if left is None else f"about {duration(left)} left"
        running = f"{len(self.running)} running" if self.running else "waiting for workers"
        return f"{self.num_done} done, {failed}{running}, {self.num_left} to go, {eta}"

    def seconds_left(self) -> float | None:
        """From the median duration of this call's runs, else of earlier ones; ``None`` if there are none."""
        typical = statistics.median(self.seconds) if self.seconds else self.typical_s
        if typical is None:
            return None
        now = time.time()
        of_running = [max(0.0, typical - (now - since)) for _, since, _ in self.running.values()]
        waiting = self.num_left - len(self.running)
        return max((sum(of_running) + waiting * typical) / self.slots, *of_running, 0.0)

    def note(self, text: str) -> None:
        """A line that stays."""
        self._erase()
        self.out.write(text + "\n")
        self.out.flush()

    def close(self) -> None:
        self._erase()
        self.out.flush()

    def _count(self) -> str:
        width = len(str(self.num_runs))
        return f"[{self.num_runs - self.num_left:>{width}}/{self.num_runs}]"

    def _erase(self) -> None:
        if self._height:
            self.out.write(f"\x1b[{self._height}F\x1b[J")
            self._height = 0


def last_line(log: Path, since: float = 0.0) -> str:
    """What a run said last: the heading of a cell, or the progress of its training with the current loss.

    A log not written ``since`` is one of an earlier attempt, and says nothing.
    """
    try:
        with open(log, "rb") as file:
            if os.fstat(file.fileno()).st_mtime < since:
                return ""
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4000))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    said = [line.strip().removeprefix("|").strip() for line in lines if line.strip()]
    return said[-1] if said else ""


def duration(seconds: float) -> str:
    """
    >>> duration(8.24), duration(95), duration(5400)
    ('8.2 s', '1 min 35 s', '1 h 30 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
