"""Results: one tidy table of numbers, the record of the run they come from, and the published numbers beside them.

A tidy table has one line a number, with the columns ``COLUMNS``. ``row`` and ``column`` are the labels of the paper's
table (``published``); rows and columns of our own, baselines for instance, may be added freely.

Results are pooled over seeds alone. Runs that differ in a parameter are kept apart wherever their numbers differ: each
gets a line of its own, told from the others by its ``setting``, such as ``num_codes_2d=256``.
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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any

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
# What ``load_results`` adds to each line: the run it comes from; parameters are json.
RUN_COLUMNS = ("notebook", "parameters", "seeds", "started", "run")
PIVOT_COLUMNS = ("row", "setting", "column", "value", "low", "high", "num_seeds")
COMPARISON_COLUMNS = ("row", "setting", "column", "paper", "ours", "low", "high", "num_seeds", "difference", "note")
NO_SETTING = {"seed", "seeds", "runs", "profile", "dataset"}  # parameters that runs of one setting may differ in, or
# that have a column of their own
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
    mean, low, high = mean_and_interval(values)
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
        results = results.drop(columns=list(RUN_COLUMNS), errors="ignore").to_dict("records")
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
    """The results of all finished runs in or below a folder or several, as one table, the first started run first.

    Its columns are ``COLUMNS`` and, to tell runs apart, ``RUN_COLUMNS``. Of runs that repeat each other (same notebook,
    profile, parameters, seeds and data) only the last started counts, so that a repetition is not taken for another
    seed. ``ValueError`` if a folder holds no finished run.
    """
    folders = [folders] if isinstance(folders, str | Path) else list(folders)
    latest: dict[str, tuple[str, Path, RunRecord]] = {}
    for folder in folders:
        runs = sorted(path.parent for path in Path(folder).rglob(RECORD_FILE))
        if not runs:
            raise ValueError(f"{folder}: no finished run in or below it (no {RECORD_FILE})")
        for run in runs:
            record = load_record(run)
            parameters = {name: value for name, value in record.parameters.items() if name != "runs"}
            identity = (record.paper, record.notebook, record.profile, parameters, record.seeds)
            key = json.dumps([*identity, record.dataset, record.fingerprint], sort_keys=True)
            known = latest.get(key)
            if known is None or (record.started, run) > known[:2]:
                latest[key] = (record.started, run, record)
    tables = []
    for started, run, record in sorted(latest.values(), key=lambda found: found[:2]):
        table = pd.read_parquet(run / RESULTS_FILE)
        if list(table.columns) != list(COLUMNS):
            raise ValueError(f"{run / RESULTS_FILE}: columns are {list(table.columns)}, expected {list(COLUMNS)}")
        parameters, seeds = json.dumps(record.parameters, sort_keys=True), ", ".join(map(str, record.seeds))
        about = zip(RUN_COLUMNS, (record.notebook, parameters, seeds, started, str(run)), strict=True)
        tables.append(table.astype(COLUMNS).assign(**dict(about)))
    return pd.concat(tables, ignore_index=True) if tables else results_table([])


# ---- choosing and listing --------------------------------------------------------------------------------------------


def select(results: pd.DataFrame, parameters: Mapping[str, Any] | None = None, **labels: str) -> pd.DataFrame:
    """The lines of loaded results that have these labels and come from runs with these parameters.

    labels: any of ``paper``, ``table``, ``row``, ``column``, ``profile``, ``dataset``, ``notebook``; ``*`` and ``?``
        stand for any letters. An empty one selects everything.
    parameters: name -> value; ``"1e-3"`` equals 0.001.

    Raises ``ValueError`` with what there is where nothing is left.
    """
    for label, wanted in labels.items():
        if not wanted:
            continue
        known = list(dict.fromkeys(results[label]))
        if not any(_is_like(name, wanted) for name in known):
            _check_known(label, wanted, known)
        results = results[[_is_like(name, wanted) for name in results[label]]]
    for name, wanted in (parameters or {}).items():
        values = [json.loads(text) for text in results["parameters"]]
        _check_known("parameter", name, dict.fromkeys(known for value in values for known in value))
        chosen = [name in value and _is_same(value[name], wanted) for value in values]
        if not any(chosen):
            there = sorted({str(value[name]) for value in values if name in value})
            raise ValueError(f"no run with {name} = {wanted}; there are {', '.join(there)}")
        results = results[chosen]
    return results


def runs_table(results: pd.DataFrame, *, values: bool = False) -> pd.DataFrame:
    """One line a run of loaded results: what it was and when, with a column for each parameter in which runs differ.

    values: one line a run and row of a table instead, with the metrics as the last columns (NaN where not measured).
    """
    differing = _differing([_setting(line) for line in _runs(results)])
    # a parameter may be called as one of the other columns is
    names = {name: name if name not in results.columns else f"parameter {name}" for name in differing}
    lines = []
    for _, run in results.groupby("run", sort=False) if len(results) else ():
        first = run.iloc[0]
        setting = _setting(first)
        about = {key: first[key] for key in ("notebook", "profile", "dataset", "seeds")}
        about |= {names[name]: _plain(setting.get(name, "")) for name in differing if name != "notebook"}
        facts = {key: first[key] for key in ("device", "duration_s", "commit", "started")}
        if not values:
            lines.append(about | facts | {"values": len(run), "run": first["run"]})
            continue
        for (paper, table, row), cells in run.groupby(["paper", "table", "row"], sort=False):
            metrics = dict(zip(cells["column"], cells["value"], strict=True))
            lines.append({"paper": paper, "table": table, "row": row} | about | facts | metrics)
    return pd.DataFrame(lines)


def _runs(results: pd.DataFrame) -> list[pd.Series]:
    """The first line of each run."""
    return [line for _, line in results.drop_duplicates("run").iterrows()]


def _is_like(name: str, wanted: str) -> bool:
    return name == wanted or fnmatchcase(name, wanted)


def _is_same(value: Any, wanted: Any) -> bool:
    """Whether a recorded value is the wanted one, which YAML or a shell may have left as text."""
    if isinstance(value, bool) or isinstance(wanted, bool) or not isinstance(value, int | float):
        return value == wanted or (isinstance(value, str) and value == str(wanted))
    try:
        return math.isclose(value, float(wanted), rel_tol=1e-12)
    except (TypeError, ValueError):
        return False


def _plain(value: Any) -> Any:
    """A parameter as a cell of a table."""
    return value if isinstance(value, int | float | str) else json.dumps(value)


# ---- pooling over seeds ----------------------------------------------------------------------------------------------


def pivot(
    results: pd.DataFrame,
    expected_rows: Iterable[str] = (),
    expected_columns: Iterable[str] = (),
    expected_seeds: int = 0,
) -> pd.DataFrame:
    """Results of one table pooled over seeds: row | setting | column | value | low | high | num_seeds, one line a cell.

    A cell that was expected, or that another setting of its row has, and that no run measured is there with NaN and 0
    seeds: it is missing. ``setting`` tells the parameters of lines that share a row, ``""`` where nothing must be told;
    runs with different parameters and equal numbers (a baseline that does not depend on them) are one line.

    expected_rows, expected_columns: each of these rows should have each of these columns; they come first.
    expected_seeds: how many seeds a cell should have; ``format_pivot`` marks cells with fewer.

    Raises ``ValueError`` if ``results`` mix tables, profiles or data sets, or hold one cell twice for one seed.
    """
    _check_unmixed(results, ("paper", "table", "profile", "dataset"))
    pooled, expected_columns = _pool(results), list(expected_columns)
    rows = dict.fromkeys([*expected_rows, *(row for row, _ in pooled)])
    columns = dict.fromkeys([*expected_columns, *(column for cells in pooled.values() for column in cells)])
    lines = []
    for row in rows:
        settings = [setting for known, setting in pooled if known == row] or [""]
        measured = {column for setting in settings for column in pooled.get((row, setting), {})}
        wanted = measured | set(expected_columns if row in list(expected_rows) else ())
        for setting in settings:
            for column in (column for column in columns if column in wanted):
                cell = pooled.get((row, setting), {}).get(column, _MISSING)
                lines.append(dict(zip(PIVOT_COLUMNS, (row, setting, column, *cell), strict=True)))
    table = pd.DataFrame(lines, columns=list(PIVOT_COLUMNS))
    table.attrs["expected_seeds"] = expected_seeds
    return table


_MISSING = (math.nan, math.nan, math.nan, 0)


def _check_unmixed(results: pd.DataFrame, labels: Iterable[str]) -> None:
    for label in labels:
        if len(names := sorted(set(results[label]))) > 1:
            of = " ".join(dict.fromkeys([*results["paper"], *results["table"]])) if label != "paper" else "a table"
            raise ValueError(f"results of {of} mix {label}s {', '.join(names)}: select one before pooling")


def _pool(results: pd.DataFrame) -> dict[tuple[str, str], dict[str, tuple[float, float, float, int]]]:
    """(row, setting) -> column -> (value, low, high, number of seeds)."""
    settings = {line["run"]: _setting(line) for line in _runs(results)} if "run" in results else {}
    pooled = {}
    for row, lines in _by("row", results.to_dict("records")).items():
        for setting, cells in _by_setting(lines, settings):
            pooled[row, setting] = {column: _pool_seeds((row, column), cell) for column, cell in cells.items()}
    return pooled


def _by_setting(lines: list[dict], settings: Mapping[str, dict]) -> Iterator[tuple[str, dict[str, list[dict]]]]:
    """The lines of one row by column, parted by the settings of their runs as far as these make a difference."""
    if not settings:  # straight from one run
        yield "", _by("column", lines)
        return
    keys = {run: json.dumps(setting, sort_keys=True) for run, setting in settings.items()}
    groups: dict[str, list[dict]] = {}
    for line in lines:
        groups.setdefault(keys[line["run"]], []).append(line)
    kinds: list[tuple[list[dict], dict[tuple[str, str], list[dict]]]] = []  # settings that agree, and their numbers
    for group in groups.values():
        setting, numbers = settings[group[0]["run"]], _by(("seeds", "column"), group)
        for alike, known in kinds:
            if _agree(known, numbers):
                alike.append(setting)
                known |= {which: cell for which, cell in numbers.items() if which not in known}
                break
        else:
            kinds.append(([setting], numbers))
    names = _names_of_settings([alike for alike, _ in kinds])
    for number in sorted(range(len(kinds)), key=lambda number: names[number][0]):
        yield names[number][1], _by("column", [line for cell in kinds[number][1].values() for line in cell])


def _by(keys: str | tuple[str, ...], lines: Iterable[dict]) -> dict[Any, list[dict]]:
    groups: dict[Any, list[dict]] = {}
    for line in lines:
        groups.setdefault(line[keys] if isinstance(keys, str) else tuple(line[key] for key in keys), []).append(line)
    return groups


def _agree(first: Mapping[Any, list[dict]], second: Mapping[Any, list[dict]]) -> bool:
    """Whether two settings have seeds in common and equal numbers for them."""
    both = [(first[which][0]["value"], second[which][0]["value"]) for which in first.keys() & second.keys()]
    return bool(both) and all(
        math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12) or (math.isnan(a) and math.isnan(b)) for a, b in both
    )


def _setting(line: pd.Series) -> dict[str, Any]:
    """What runs must have in common to be pooled, of one line of loaded results."""
    parameters = {k: v for k, v in json.loads(line["parameters"]).items() if k not in NO_SETTING}
    return {"notebook": line["notebook"], **parameters, "data": line["fingerprint"]}


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names whose values are not the same in all settings."""
    names = dict.fromkeys(name for setting in settings for name in setting)
    return [name for name in names if len({json.dumps(setting.get(name), sort_keys=True) for setting in settings}) > 1]


def _names_of_settings(kinds: Sequence[Sequence[Mapping[str, Any]]]) -> list[tuple[list, str]]:
    """What to sort each kind of settings by, and its name: the parameters that tell it from the others, in short."""
    if len(kinds) == 1:
        return [([], "")]

    def named(setting: Mapping[str, Any], names: Iterable[str]) -> str:
        return ", ".join(f"{name}={_plain(setting.get(name, 'not recorded'))}" for name in names)

    def order(setting: Mapping[str, Any], names: Iterable[str]) -> list:
        values = [setting.get(name) for name in names]
        return [(0, v, "") if isinstance(v, int | float) else (1, 0, str(v)) for v in values]

    everything = [setting for alike in kinds for setting in alike]
    # parameters that differ within one kind make no difference
    telling = [name for name in _differing(everything) if not any(name in _differing(alike) for alike in kinds)]
    short = [named(alike[0], telling) for alike in kinds]
    if telling and len(set(short)) == len(short):
        return [(order(alike[0], telling), name) for alike, name in zip(kinds, short, strict=True)]
    names = _differing(everything)
    return [(order(alike[0], names), " or ".join(named(setting, names) for setting in alike)) for alike in kinds]


# ---- the papers' numbers beside ours ---------------------------------------------------------------------------------


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


def compare(paper: str, table: str, results: pd.DataFrame, expected_seeds: int = 0) -> pd.DataFrame:
    """A paper's table beside ours: row | setting | column | paper | ours | low | high | num_seeds | difference | note.

    Every result cell of the paper is there, and every cell of ours; NaN marks what the paper does not print or we did
    not run. Results are pooled over seeds to mean and 95 % interval, and parted by setting, as ``pivot`` does. Numbers
    are rounded to the decimals the paper prints there (four in columns of our own). ``difference`` is ours - paper.
    Notes say what to know about the published number.

    Raises ``ValueError`` if ``results`` mix profiles or data sets, or hold one cell twice for one seed.
    """
    printed = published(paper, table)
    ours = results[(results["paper"] == paper) & (results["table"] == table)]
    _check_unmixed(ours, ("profile", "dataset"))
    pooled = _pool(ours)
    _, columns = _read_published("columns.csv")
    columns = list(columns.loc[(columns["paper"] == paper) & (columns["table"] == table), "column"])
    theirs = {(row, column) for row in printed.index for column in columns}
    columns = dict.fromkeys([*columns, *(column for cells in pooled.values() for column in cells)])
    lines = []
    for row in dict.fromkeys([*printed.index, *(row for row, _ in pooled)]):
        settings = [setting for known, setting in pooled if known == row] or [""]
        measured = {column for setting in settings for column in pooled.get((row, setting), {})}
        for setting in settings:
            for column in (column for column in columns if (row, column) in theirs or column in measured):
                text = printed.loc[row, column] if (row, column) in theirs else ""
                value, low, high, num_seeds = pooled.get((row, setting), {}).get(column, _MISSING)
                numbers = {"paper": float(text or "nan"), "ours": value, "low": low, "high": high}
                numbers["difference"] = value - numbers["paper"]
                decimals = printed_decimals(printed, row, column)
                numbers = {name: round(number, decimals) for name, number in numbers.items()}
                note = " ".join(published_notes(paper, table, row, column)) if (row, column) in theirs else ""
                where = {"row": row, "setting": setting, "column": column}
                lines.append(where | numbers | {"num_seeds": num_seeds, "note": note})
    frame = pd.DataFrame(lines, columns=list(COMPARISON_COLUMNS))
    frame.attrs.update(paper=paper, table=table, source=printed.attrs["source"], expected_seeds=expected_seeds)
    return frame


def _pool_seeds(key: tuple[str, str], cell: Sequence[Mapping]) -> tuple[float, float, float, int]:
    """(value, low, high, number of seeds) of one cell."""
    if len(cell) == 1:
        return cell[0]["value"], cell[0]["low"], cell[0]["high"], int(cell[0]["num_seeds"])
    if any(line["num_seeds"] != 1 for line in cell):
        raise ValueError(f"results hold {len(cell)} values of {key[0]}, {key[1]}, some over several seeds: keep one")
    for seeds, lines in _by("seeds", cell).items() if "seeds" in cell[0] else ():
        if len(lines) > 1:
            runs = ", ".join(dict.fromkeys(line["run"] for line in lines))
            raise ValueError(
                f"results hold several values of {', '.join(key)} for seed {seeds or '(none)'}: see {runs}"
            )
    return *mean_and_interval(np.array([line["value"] for line in cell])), len(cell)


def mean_and_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of (n,) values, one a seed, and the ends of its 95 % interval by Student's t; NaN where n is too small."""
    if len(values) == 0:
        return math.nan, math.nan, math.nan
    mean = float(values.mean())
    if len(values) == 1:
        return mean, math.nan, math.nan
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, mean - half, mean + half


def printed_decimals(printed: pd.DataFrame, row: str, column: str) -> int:
    """Decimals of a printed cell; where nothing is printed, the most in its column; four in columns of our own."""
    if column not in printed.columns:
        return 4
    cells = [printed.loc[row, column]] if row in printed.index and printed.loc[row, column] else printed[column]
    return max(len(text.partition(".")[2]) for text in cells)


@cache
def published_notes(paper: str, table: str, row: str, column: str) -> tuple[str, ...]:
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
