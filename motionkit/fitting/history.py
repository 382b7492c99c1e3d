"""What a training run leaves to read: its records, the file they stream to, and the progress shown meanwhile."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor

from motionkit.fitting.checkpoints import list_checkpoints

if TYPE_CHECKING:
    import pandas as pd

METRICS = "metrics.jsonl"
LINE_INTERVAL_S = 20.0


@dataclass
class History:
    """The course of one training run. ``fit`` returns it; ``History.read`` finds it again in a checkpoint folder.

    records: one dict a record: ``step`` (updates done), ``split`` ("train", "validate" or "guard"), ``elapsed_s``
        (training time so far, across interruptions), and name -> value. Training values are means since the record
        before.
    step: updates done.
    stopped: why it ended: "finished", "max_minutes" or "interrupted".
    resumed_from: the update at which this call took over from a checkpoint; ``None`` if it began at 0.
    checkpoint: the newest checkpoint, if any.
    best: ``{"step", "metric", "value"}`` of the best validation, if ``TrainConfig.best_metric`` names one.
    duration_s: time spent in this call, in seconds.
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    step: int = 0
    stopped: Literal["finished", "max_minutes", "interrupted"] = "finished"
    resumed_from: int | None = None
    checkpoint: Path | None = None
    best: dict[str, Any] | None = None
    duration_s: float = 0.0

    def frame(self) -> pd.DataFrame:
        """Tidy table: step, split, name, value; one row a value."""
        import pandas as pd

        rows = [
            (record["step"], record["split"], name, value)
            for record in self.records
            for name, value in record.items()
            if name not in ("step", "split")
        ]
        return pd.DataFrame(rows, columns=["step", "split", "name", "value"])

    @classmethod
    def read(cls, folder: str | os.PathLike) -> History:
        """The records streamed to ``folder`` so far, also of a run that is still going or was killed."""
        records, files = read_metrics(Path(folder) / METRICS), list_checkpoints(folder)
        step = max((record["step"] for record in records), default=0)
        return cls(records, step, "interrupted", checkpoint=files[-1] if files else None)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics file; ``null`` reads as NaN. A torn last line, as a kill leaves it, is dropped.

    Raises ``ValueError`` naming file and line for any other line that is no record.
    """
    if not path.is_file():
        return []
    lines, records = path.read_text(encoding="utf-8").splitlines(), []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            record["step"], record["split"]
        except (json.JSONDecodeError, TypeError, KeyError) as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}, line {number}: not a training record: {line[:80]!r}") from error
        records.append({name: math.nan if value is None else value for name, value in record.items()})
    return records


class MetricsFile:
    """The growing list of records and, given a folder, its copy on disk: appended and flushed record by record."""

    def __init__(self, folder: Path | None = None, keep_to_step: int = 0) -> None:
        self.records: list[dict[str, Any]] = []
        self._file = None
        if folder is None:
            return
        path = folder / METRICS
        self.records = [record for record in read_metrics(path) if record["step"] <= keep_to_step]
        temporary = path.with_name(f".{METRICS}.{os.getpid()}.tmp")
        temporary.write_text("".join(map(_json_line, self.records)), encoding="utf-8")
        os.replace(temporary, path)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (open for the length of the run)

    def append(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        if self._file:
            self._file.write(_json_line(record))
            self._file.flush()

    def close(self) -> None:
        if self._file:
            self._file.close()


def _json_line(record: dict[str, Any]) -> str:
    # NaN and infinity are no json: other readers would choke on the file.
    clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return json.dumps(clean) + "\n"


class Row(NamedTuple):
    """The values of one micro-batch."""

    step: int
    micro: int
    values: dict[str, float]


class Meter:
    """Collects values without waiting for the device: tensors stay where they are until ``fetch`` gets them."""

    def __init__(self, average: Callable[[Tensor], Tensor] | None, device: torch.device) -> None:
        self.rows: list[Row] = []  # fetched, not yet part of a record
        self._waiting: list[tuple[int, int, dict[str, Tensor]]] = []
        self._average = average  # over processes; None with one process
        self._device = device

    def add(self, step: int, micro: int, values: Mapping[str, Tensor | float]) -> None:
        detached = {name: v.detach() if isinstance(v, Tensor) else v for name, v in values.items()}
        self._waiting.append((step, micro, detached))

    def fetch(self) -> list[Row]:
        """Fetch what was added since the last call (one synchronisation), averaged over processes."""
        values = [value for _, _, entry in self._waiting for value in entry.values()]
        if self._average is None and self._device.type == "cpu":
            numbers = iter([float(value) for value in values])
        elif values:
            stacked = torch.stack([torch.as_tensor(v, dtype=torch.float32, device=self._device) for v in values])
            numbers = iter((self._average(stacked) if self._average else stacked).tolist())
        new = [Row(step, micro, {name: next(numbers) for name in entry}) for step, micro, entry in self._waiting]
        self._waiting.clear()
        self.rows.extend(new)
        return new

    def means(self) -> dict[str, float]:
        """Mean of each value over the fetched rows that have it; starts anew."""
        lists: dict[str, list[float]] = {}
        for row in self.rows:
            for name, value in row.values.items():
                lists.setdefault(name, []).append(value)
        self.rows = []
        return {name: math.fsum(values) / len(values) for name, values in lists.items()}


class Progress:
    """Shows how far a run is: a bar where someone watches (terminal, live notebook), else a line now and then.

    mode: "bar", "lines", "off", or "auto": a bar in a terminal or notebook unless ``MOTIONKIT_BATCH`` is set.
    """

    def __init__(self, mode: str, total: int, done: int) -> None:
        if mode == "auto":
            watched = sys.stderr.isatty() or hasattr(sys, "ps1")  # ps1: an interactive interpreter or a kernel
            mode = "bar" if watched and not os.environ.get("MOTIONKIT_BATCH") else "lines"
        self._mode, self._total, self._first, self._done = mode, total, done, done
        self._started = self._line_at = time.monotonic()
        self._values, self._bar = "", None
        if mode == "bar":
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, initial=done, unit="step", dynamic_ncols=True)

    def advance(self, done: int) -> None:
        self._done = done
        if self._bar is not None:
            self._bar.update(1)
        elif self._mode == "lines" and time.monotonic() - self._line_at > LINE_INTERVAL_S:
            self._line()

    def show(self, values: dict[str, float]) -> None:
        """Take over the newest values; costs no synchronisation, they are numbers already."""
        self._values = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self._bar is not None:
            self._bar.set_postfix_str(self._values, refresh=False)

    def note(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text)
        elif self._mode == "lines":
            print(text, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._mode == "lines":
            self._line()

    def _line(self) -> None:
        self._line_at = time.monotonic()
        seconds = max(self._line_at - self._started, 1e-9)
        rate = (self._done - self._first) / seconds
        left = (self._total - self._done) / rate if rate else math.nan
        eta = f"{left // 60:.0f} min {left % 60:02.0f} s left" if math.isfinite(left) else "time left unknown"
        share = 100 * self._done / self._total
        text = f"step {self._done}/{self._total} ({share:.0f} %)  {rate:.3g} steps/s  {eta}  {self._values}"
        print(text.rstrip(), flush=True)
