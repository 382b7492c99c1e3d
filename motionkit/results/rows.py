"""A tidy table of numbers, one line each, and the files that a finished run leaves: the table and its record."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from motionkit.data.atomic import written_whole
from motionkit.results.record import RunRecord

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
RESULTS_FILE, RECORD_FILE = "results.parquet", "record.json"


def result_row(
    record: RunRecord,
    table: str,
    row: str,
    column: str,
    values: float | Sequence | np.ndarray,
    between: tuple[float, float] = (-math.inf, math.inf),
) -> dict:
    """One line of a results table: the mean of ``values``, one value a seed, and its 95 % interval over seeds.

    The interval is Student's, mean +- t s / sqrt(n); a single seed has none (NaN). Give ``record`` when the run has
    finished if the duration is to be right.
    between: what such a value can be at all, (0, 1) for a share: the interval ends there.
    """
    values = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"table {table}, {row}, {column}: needs one value or one a seed, got shape {values.shape}")
    mean, *ends = mean_and_interval(values)
    low, high = np.clip(ends, *between).tolist()  # NaN stays NaN
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


def mean_and_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of (n,) values, one a seed, and the ends of its 95 % interval by Student's t; NaN where n is too small."""
    if len(values) == 0:
        return math.nan, math.nan, math.nan
    mean = float(values.mean())
    if len(values) == 1:
        return mean, math.nan, math.nan
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, mean - half, mean + half


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
