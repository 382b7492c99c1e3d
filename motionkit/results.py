"""Results: one tidy table of numbers, the record of the run they come from, and the published numbers beside them.

A tidy table has one line a number, with the columns ``COLUMNS``. ``row`` and ``column`` are the labels of the paper's
table (``published``); rows and columns of our own, baselines for instance, may be added freely.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import math
import os
import platform
import subprocess
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib import metadata, resources
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats

from motionkit.data.atomic import written_whole

COLUMNS = {
    "paper": "str",
    "table": "str",
    "row": "str",
    "column": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "num_seeds": "int64",
    "profile": "str",
    "dataset": "str",
    "fingerprint": "str",
    "device": "str",
    "duration_s": "float64",
    "commit": "str",
}
COMPARISON_COLUMNS = ("row", "column", "paper", "ours", "low", "high", "num_seeds", "difference", "note")
RESULTS_FILE, RECORD_FILE = "results.parquet", "record.json"


@dataclass(frozen=True)
class RunRecord:
    """Where results come from: enough to repeat the run.

    paper, notebook, profile: key of the paper, name of the notebook, name of the parameter set.
    parameters: the notebook's parameters, json values only.
    seeds: the random seeds used.
    dataset, fingerprint: name of the data set and the hash of what was read.
    device: in words, see ``describe_device``.
    torch_version, commit: version of torch; git commit of the library (``+`` if edited) or its version.
    started: UTC, ISO 8601. duration_s: seconds, 0 while running.
    perceptual: which image features the perceptual loss used, ``""`` for none.
    extra: anything else worth keeping, json values only.

    Raises ``ValueError`` naming the field that json cannot hold.
    """

    paper: str
    notebook: str
    profile: str
    parameters: dict = field(default_factory=dict)
    seeds: Sequence[int] = ()
    dataset: str = ""
    fingerprint: str = ""
    device: str = ""
    torch_version: str = ""
    commit: str = ""
    started: str = ""
    duration_s: float = 0.0
    perceptual: str = ""
    extra: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", tuple(int(seed) for seed in self.seeds))
        for name in ("parameters", "extra"):
            try:
                plain = json.loads(json.dumps(getattr(self, name), allow_nan=False))
            except (TypeError, ValueError) as error:
                raise ValueError(f"run record: {name} cannot be written as json: {error}") from None
            object.__setattr__(self, name, plain)

    def finished(self, **changes) -> RunRecord:
        """The record with its duration filled in from ``started``, and ``changes``."""
        seconds = (datetime.now(UTC) - datetime.fromisoformat(self.started)).total_seconds()
        return replace(self, duration_s=round(seconds, 3), **changes)


def start_record(paper: str, notebook: str, profile: str, *, device: str | torch.device = "cpu", **known) -> RunRecord:
    """A record of a run that begins now; device, versions and time are filled in, ``known`` are further fields."""
    return RunRecord(
        paper,
        notebook,
        profile,
        device=describe_device(device),
        torch_version=torch.__version__,
        commit=code_version(),
        started=datetime.now(UTC).isoformat(timespec="milliseconds"),
        **known,
    )


def describe_device(device: str | torch.device = "cpu") -> str:
    """A device in words: ``"NVIDIA H200"`` or ``"AMD EPYC 7B13, 1 of 2 cores"``."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return str(device)
    name = platform.processor() or platform.machine()
    processors = Path("/proc/cpuinfo")
    if processors.exists():
        models = [
            line.partition(":")[2].strip() for line in processors.read_text().splitlines() if "model name" in line
        ]
        name = models[0] if models else name
    return f"{name}, {torch.get_num_threads()} of {os.cpu_count()} cores"


@cache
def code_version() -> str:
    """Git commit of this library, ``+`` appended if tracked files were edited; its version if it is not in git."""
    folder = Path(__file__).parent
    git = ["git", "-C", str(folder)]
    try:
        # only a repository of our own counts, not one that merely contains the virtual environment
        subprocess.run([*git, "ls-files", "--error-unmatch", Path(__file__).name], check=True, capture_output=True)
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], check=True, capture_output=True, text=True)
        edited = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "."], capture_output=True).returncode
    except (OSError, subprocess.CalledProcessError):
        return f"version {metadata.version('motionkit')}"
    return commit.stdout.strip() + ("+" if edited else "")


def run_id(*parts) -> str:
    """A short name for what a result depends on: configs (dataclasses), numbers, texts; and this code's version.

    Equal parts give equal names, on any machine; use it for folders of checkpoints, so that a changed setting starts
    anew and an unchanged one continues.

    >>> run_id("model", {"lr": 0.1}) == run_id("model", {"lr": 0.1}) != run_id("model", {"lr": 0.2})
    True
    """
    plain = [asdict(part) if is_dataclass(part) else part for part in parts]
    text = json.dumps([code_version(), *plain], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def result_row(record: RunRecord, table: str, row: str, column: str, values: float | Sequence | np.ndarray) -> dict:
    """One line of a results table: the mean of ``values``, one value a seed, and its 95 % interval over seeds.

    The interval is Student's, mean +- t s / sqrt(n); a single seed has none (NaN). Give ``record`` when the run has
    finished if the duration is to be right.
    """
    values = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"table {table}, {row}, {column}: needs one value or one a seed, got shape {values.shape}")
    mean, low, high = _mean_and_interval(values)
    return {
        "paper": record.paper,
        "table": table,
        "row": row,
        "column": column,
        "value": mean,
        "low": low,
        "high": high,
        "num_seeds": len(values),
        "profile": record.profile,
        "dataset": record.dataset,
        "fingerprint": record.fingerprint,
        "device": record.device,
        "duration_s": record.duration_s,
        "commit": record.commit,
    }


def results_table(rows: Iterable[Mapping]) -> pd.DataFrame:
    """Rows of ``result_row`` as a tidy table of ``COLUMNS``; ``ValueError`` names missing and unknown columns."""
    rows = list(rows)
    for number, row in enumerate(rows):
        if set(row) != set(COLUMNS):
            missing, alien = sorted(set(COLUMNS) - set(row)), sorted(set(row) - set(COLUMNS))
            raise ValueError(f"results row {number}: missing columns {missing}, unknown columns {alien}")
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def save_results(folder: str | Path, results: pd.DataFrame | Iterable[Mapping], record: RunRecord) -> Path:
    """Write ``results.parquet`` and ``record.json`` into ``folder`` (made if need be) and return the folder.

    Both files appear whole or not at all; the record comes last, so a folder with a record is complete.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(results, pd.DataFrame):
        results = results.to_dict("records")
    table = results_table(results)
    (folder / RECORD_FILE).unlink(missing_ok=True)
    with written_whole(folder / RESULTS_FILE) as aside:
        table.to_parquet(aside, index=False)
    text = json.dumps(asdict(record), indent=2, ensure_ascii=False, allow_nan=False)
    with written_whole(folder / RECORD_FILE) as aside:
        aside.write_text(text + "\n", encoding="utf-8")
    return folder


def load_record(folder: str | Path) -> RunRecord:
    """The record ``save_results`` wrote into ``folder``."""
    path = Path(folder) / RECORD_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder}: no {RECORD_FILE}: not the folder of a finished run") from None
    except ValueError as error:
        raise ValueError(f"{path}: not a run record: {error}") from None
    known = {f.name for f in fields(RunRecord)}
    if not isinstance(values, dict) or not {"paper", "notebook", "profile"} <= set(values) <= known:
        raise ValueError(f"{path}: not a run record: expected an object with keys among {', '.join(sorted(known))}")
    return RunRecord(**values)


def load_results(folders: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """The results of all finished runs in or below a folder or several, as one table.

    Of runs that repeat each other (same notebook, profile, parameters, seeds and data) only the last started counts,
    so that a repetition is not taken for another seed. ``ValueError`` if a folder holds no finished run.
    """
    folders = [folders] if isinstance(folders, str | Path) else list(folders)
    latest: dict[str, tuple[str, Path]] = {}
    for folder in folders:
        runs = sorted(path.parent for path in Path(folder).rglob(RECORD_FILE))
        if not runs:
            raise ValueError(f"{folder}: no finished run in or below it (no {RECORD_FILE})")
        for run in runs:
            record = load_record(run)
            identity = (record.paper, record.notebook, record.profile, record.parameters, record.seeds)
            key = json.dumps([*identity, record.dataset, record.fingerprint], sort_keys=True)
            latest[key] = max(latest.get(key, ("", run)), (record.started, run))
    tables = []
    for _, run in latest.values():
        table = pd.read_parquet(run / RESULTS_FILE)
        if list(table.columns) != list(COLUMNS):
            raise ValueError(f"{run / RESULTS_FILE}: columns are {list(table.columns)}, expected {list(COLUMNS)}")
        tables.append(table.astype(COLUMNS))
    return pd.concat(tables, ignore_index=True) if tables else results_table([])


def published(paper: str, table: str) -> pd.DataFrame:
    """A table of a paper as printed, all cells as text, indexed by ``row``; ``attrs["source"]`` names it.

    A cell the paper leaves empty is ``""``. ``ValueError`` for an unknown paper or table names the nearest that exists.

    >>> published("vqgan", "III").loc["2D VQ-GAN F16/128", "SSIM"]
    '0.954'
    """
    tables: dict[str, list[str]] = {}
    for file in _published_files():
        name, _, number = file.removesuffix(".csv").partition("_")
        if number:
            tables.setdefault(name, []).append(number)
    _check_known("paper", paper, tables)
    _check_known(f"table of {paper}", table, tables[paper])
    source, frame = _read_published(f"{paper}_{table}.csv")
    frame = frame.set_index("row")
    frame.attrs["source"] = source
    return frame


def compare(paper: str, table: str, results: pd.DataFrame) -> pd.DataFrame:
    """A paper's table beside ours: row | column | paper | ours | low | high | num_seeds | difference | note.

    Every result cell of the paper is there, and every cell of ours; NaN marks what the paper does not print or we did
    not run. Results that are single seeds are pooled to mean and 95 % interval. Numbers are rounded to the decimals
    the paper prints there (four in columns of our own). ``difference`` is ours - paper. Notes say
    what to know about the published number.

    Raises ``ValueError`` if ``results`` mix profiles or data sets, or hold several pooled values of one cell.
    """
    printed = published(paper, table)
    ours = results[(results["paper"] == paper) & (results["table"] == table)]
    for what in ("profile", "dataset"):
        if (names := sorted(set(ours[what]))) and len(names) > 1:
            raise ValueError(f"results of {paper} {table} mix {what}s {', '.join(names)}: select one before comparing")
    ours = {key: _pool_seeds(key, group) for key, group in ours.groupby(["row", "column"], sort=False)}
    _, columns = _read_published("columns.csv")
    columns = list(columns.loc[(columns["paper"] == paper) & (columns["table"] == table), "column"])
    theirs = {(row, column) for row in printed.index for column in columns}
    rows = dict.fromkeys([*printed.index, *(row for row, _ in ours)])
    columns = dict.fromkeys([*columns, *(column for _, column in ours)])
    cells = [(row, column) for row in rows for column in columns if (row, column) in theirs or (row, column) in ours]
    lines = []
    for row, column in cells:
        text = printed.loc[row, column] if (row, column) in theirs else ""
        value, low, high, num_seeds = ours.get((row, column), (math.nan, math.nan, math.nan, 0))
        numbers = {"paper": float(text or "nan"), "ours": value, "low": low, "high": high}
        numbers["difference"] = value - numbers["paper"]
        decimals = _decimals(printed, row, column)
        numbers = {name: round(number, decimals) for name, number in numbers.items()}
        note = " ".join(_notes(paper, table, row, column)) if (row, column) in theirs else ""
        lines.append({"row": row, "column": column, **numbers, "num_seeds": num_seeds, "note": note})
    frame = pd.DataFrame(lines, columns=list(COMPARISON_COLUMNS))
    frame.attrs.update(paper=paper, table=table, source=printed.attrs["source"])
    return frame


def format_comparison(comparison: pd.DataFrame, width: int = 110) -> str:
    """``compare``'s table, or some of its lines, as text for a terminal or a notebook, with the notes below it."""
    paper, table = comparison.attrs["paper"], comparison.attrs["table"]
    printed, footnotes, lines = published(paper, table), {}, []
    for cell in comparison.to_dict("records"):
        decimals = _decimals(printed, cell["row"], cell["column"])
        number = {k: f"{v:.{decimals}f}" for k, v in cell.items() if isinstance(v, float) and not math.isnan(v)}
        interval = f"{number['low']} .. {number['high']}" if "low" in number else ""
        difference = f"{cell['difference']:+.{decimals}f}" if "difference" in number else ""
        notes = _notes(paper, table, cell["row"], cell["column"]) if cell["note"] else []
        marks = "".join(f"[{footnotes.setdefault(note, len(footnotes) + 1)}]" for note in notes)
        values = number.get("paper", "missing"), number.get("ours", "missing")
        lines.append((cell["row"], cell["column"], *values, interval, difference, marks))
    lines.insert(0, ("row", "column", "paper", "ours", "95 % interval", "difference", "note"))
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * w for w in widths))
    text = [textwrap.fill(comparison.attrs["source"], width)]
    for line in lines:
        cells = (f"{cell:{align}{w}}" for cell, align, w in zip(line, "<<>>>><", widths, strict=True))
        text.append("  ".join(cells).rstrip())
    for note, mark in footnotes.items():
        text.append(textwrap.fill(f"[{mark}] {note}", width, subsequent_indent="    ", break_on_hyphens=False))
    return "\n".join(text)


def _pool_seeds(key: tuple[str, str], cell: pd.DataFrame) -> tuple[float, float, float, int]:
    """(value, low, high, number of seeds) of one cell."""
    if len(cell) == 1:
        line = cell.iloc[0]
        return line["value"], line["low"], line["high"], int(line["num_seeds"])
    if (cell["num_seeds"] != 1).any():
        raise ValueError(f"results hold {len(cell)} values of {key[0]}, {key[1]}, some over several seeds: keep one")
    return *_mean_and_interval(cell["value"].to_numpy()), len(cell)


def _mean_and_interval(values: np.ndarray) -> tuple[float, float, float]:
    mean = float(values.mean())
    if len(values) == 1:
        return mean, math.nan, math.nan
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, mean - half, mean + half


def _decimals(printed: pd.DataFrame, row: str, column: str) -> int:
    """Decimals of a printed cell; where nothing is printed, the most in its column; four in columns of our own."""
    if column not in printed.columns:
        return 4
    cells = [printed.loc[row, column]] if row in printed.index and printed.loc[row, column] else printed[column]
    return max(len(text.partition(".")[2]) for text in cells)


@cache
def _notes(paper: str, table: str, row: str, column: str) -> tuple[str, ...]:
    """All notes on a cell of a published table, the most particular first."""
    _, notes = _read_published("notes.csv")
    notes = notes[(notes["paper"] == paper) & (notes["table"] == table)]
    by_cell = {cell: list(group) for cell, group in notes.groupby(["row", "column"], sort=False)["note"]}
    return tuple(
        note for cell in ((row, column), (row, "*"), ("*", column), ("*", "*")) for note in by_cell.get(cell, ())
    )


def _published_files() -> list[str]:
    return sorted(file.name for file in resources.files("motionkit").joinpath("published").iterdir())


@cache
def _read_published(file: str) -> tuple[str, pd.DataFrame]:
    """(the comment in the first line, the table as text)"""
    text = resources.files("motionkit").joinpath("published", file).read_text(encoding="utf-8")
    comment, _, table = text.partition("\n")
    return comment.removeprefix("# "), pd.read_csv(io.StringIO(table), dtype=str, keep_default_na=False)


def _check_known(what: str, name: str, known: Iterable[str]) -> None:
    known = list(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown {what}: {name!r}{hint} There are: {', '.join(known)}")
