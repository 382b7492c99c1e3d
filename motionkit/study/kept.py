"""What a run keeps beside its results so that many runs can be shown together, and the reading of whole sweeps.

A finished run's folder holds ``results.parquet`` and ``record.json`` (``motionkit.results``), and from here
``examples.npz`` (a held-out window and what each model made of it) and ``history.parquet`` (the course of training in
a few hundred points). A sweep is a folder of such folders; ``keep_sweep`` copies these four files and nothing else.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from motionkit.data.atomic import written_whole
from motionkit.fitting.history import History
from motionkit.results import (
    COLUMNS,
    RECORD_FILE,
    RUN_COLUMNS,
    RunRecord,
    load_record,
    load_results,
    result_row,
    save_results,
)

EXAMPLES_FILE, HISTORY_FILE = "examples.npz", "history.parquet"
HISTORY_COLUMNS = ("row", "step", "split", "name", "value")
DENOISER = ", denoiser"  # ends the row of a model that was trained on corrupted keypoints
NO_ADVERSARY = ", no adversary"  # ends the row of a model that never met its discriminator
GUARDED = ", guarded"  # ends the row of a model that goes on without its discriminator if that does harm


@dataclass(frozen=True)
class Example:
    """One held-out window: ``target`` and ``output`` (C, T, H, W) float32 in [0, 1], at ``fps``."""

    target: np.ndarray
    output: np.ndarray
    fps: float


@dataclass(frozen=True)
class Study:
    """What sweeps found; empty tables where nothing has run.

    results: as of ``load_results``.
    examples: row -> the example of the first seed that ran it.
    history: ``HISTORY_COLUMNS`` and, as in ``results``, ``RUN_COLUMNS``.
    """

    results: pd.DataFrame
    examples: Mapping[str, Example]
    history: pd.DataFrame


def result_rows(record: RunRecord, tables: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[dict]:
    """Lines of a results table, for ``save_results``: table -> row -> column -> number."""
    return [
        result_row(record, table, row, column, value)
        for table, rows in tables.items()
        for row, cells in rows.items()
        for column, value in cells.items()
    ]


def keep_run(
    folder: str | Path, examples: Mapping[str, tuple[Any, Any]], histories: Mapping[str, History], fps: float
) -> None:
    """``keep_examples``, and ``keep_history`` of what ``fit`` returned by row."""
    keep_examples(folder, examples, fps)
    keep_history(folder, {row: history.frame() for row, history in histories.items()})


def keep_examples(folder: str | Path, examples: Mapping[str, tuple[Any, Any]], fps: float) -> Path:
    """Write ``examples.npz``: row -> (target, output), each (C, T, H, W) with values in [0, 1], array or tensor.

    Values outside are clipped; they are kept in steps of 1/255, which no picture shows.
    """
    arrays = {"fps": np.float64(fps)}
    for row, pair in examples.items():
        for name, values in zip(("target", "output"), pair, strict=True):
            values = values.detach().float().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
            arrays[f"{row}|{name}"] = np.rint(255 * values.clip(0, 1)).astype(np.uint8)
    path = Path(folder) / EXAMPLES_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as aside, open(aside, "wb") as file:
        np.savez_compressed(file, **arrays)
    return path


def load_examples(folder: str | Path) -> dict[str, Example]:
    """The examples that a run kept, by row; none if it kept none."""
    path = Path(folder) / EXAMPLES_FILE
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as file:
        pictures = {key: file[key].astype(np.float32) / 255 for key in file.files if key != "fps"}
        fps = float(file["fps"])
    rows = dict.fromkeys(key.rpartition("|")[0] for key in pictures)
    return {row: Example(pictures[f"{row}|target"], pictures[f"{row}|output"], fps) for row in rows}


def keep_history(folder: str | Path, histories: Mapping[str, pd.DataFrame], points: int = 200) -> Path:
    """Write ``history.parquet``: the course of training by row (``History.frame()``), every quantity in at most
    ``points`` values, each the mean of as many neighbors."""
    tables = [thin_history(frame, points).assign(row=row) for row, frame in histories.items()]
    table = pd.concat(tables, ignore_index=True)[list(HISTORY_COLUMNS)] if tables else _empty(HISTORY_COLUMNS)
    path = Path(folder) / HISTORY_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as aside:
        table.to_parquet(aside, index=False)
    return path


def thin_history(frame: pd.DataFrame, points: int) -> pd.DataFrame:
    """A history (step, split, name, value) with at most ``points`` values of each quantity: means of neighbors, at the
    mean of their steps."""
    parts = []
    for (split, name), values in frame.groupby(["split", "name"], sort=False):
        values = values.sort_values("step")
        width = math.ceil(len(values) / points)
        means = values[["step", "value"]].groupby(np.arange(len(values)) // width).mean()
        parts.append(means.assign(split=split, name=name))
    return pd.concat(parts, ignore_index=True) if parts else _empty(("step", "split", "name", "value"))


def read_sweeps(names: Sequence[str], folders: Iterable[str | Path], *, profile: str = "", dataset: str = "") -> Study:
    """The finished runs of sweeps, found as ``<folder>/<name>`` in any of the folders; what is not there is left out.

    profile, dataset: only their runs; ``""`` for all.

    Where two sweeps ran the same row with the same seed, that of the sweep named first counts. A model that was
    trained with ``adversarial_factor`` 0 has ``NO_ADVERSARY`` at the end of its row, one with ``on_harm`` "return"
    ``GUARDED``, and one with ``corruption`` ``DENOISER`` before these.
    """
    tables: list[pd.DataFrame] = []
    for name in names:
        places = [Path(folder) / name for folder in folders]
        found = load_results([place for place in places if any(place.rglob(RECORD_FILE))])
        found = found[found["profile"].isin([profile] if profile else found["profile"])]
        found = found[found["dataset"].isin([dataset] if dataset else found["dataset"])]
        if found.empty:
            continue
        found = found.assign(row=[_row(line) for line in found[["row", "parameters"]].itertuples(index=False)])
        known = {cell for table in tables for cell in zip(table["row"], table["seeds"], strict=True)}
        is_new = [cell not in known for cell in zip(found["row"], found["seeds"], strict=True)]
        tables.append(found[is_new])
    empty = _empty((*COLUMNS, *RUN_COLUMNS))
    results = pd.concat(tables, ignore_index=True) if any(map(len, tables)) else empty
    runs = results.drop_duplicates("run").sort_values("seeds", kind="stable")
    examples, histories = {}, [_empty((*HISTORY_COLUMNS, *RUN_COLUMNS))]
    for run in runs.to_dict("records"):
        about = {key: run[key] for key in RUN_COLUMNS}
        rows = set(results.loc[results["run"] == run["run"], "row"])
        kept = {_row((row, run["parameters"])): example for row, example in load_examples(run["run"]).items()}
        examples = {row: example for row, example in kept.items() if row in rows} | examples
        path = Path(run["run"]) / HISTORY_FILE
        if path.is_file():
            history = pd.read_parquet(path)
            history["row"] = [_row((row, run["parameters"])) for row in history["row"]]
            histories.append(history[history["row"].isin(rows)].assign(**about))
    filled = [history for history in histories if len(history)] or histories[:1]
    return Study(results, examples, pd.concat(filled, ignore_index=True))


def keep_sweep(sweep: str | Path, to: str | Path) -> list[Path]:
    """Copy what the finished runs of a sweep found to ``<to>/<name of the sweep>/<run>``; returns these folders. Runs
    that were kept there before and are no longer in the sweep are removed.

    The parameter ``runs``, a path of the machine that ran it, is left out of the records.
    Raises ``ValueError`` for a folder without a finished run, and for one that is not that of a sweep.
    """
    sweep, kept = Path(sweep).resolve(), []
    runs = [path.parent for path in sorted(sweep.rglob(RECORD_FILE))]
    names = [run.relative_to(sweep).parts[:1] for run in runs]
    if () in names or len(set(names)) < len(names):
        raise ValueError(f"{sweep}: give the folder of one sweep, runs/sweeps/NAME")
    for run, (name,) in zip(runs, names, strict=True):
        goal, record = Path(to) / sweep.name / name, load_record(run)
        parameters = {key: value for key, value in record.parameters.items() if key != "runs"}
        for file in (EXAMPLES_FILE, HISTORY_FILE):
            if (run / file).is_file():
                goal.mkdir(parents=True, exist_ok=True)
                with written_whole(goal / file) as aside:
                    aside.write_bytes((run / file).read_bytes())
        results = load_results(run)  # before the record: a folder with a record is complete
        kept.append(save_results(goal, results, replace(record, parameters=parameters)))
    if not kept:
        raise ValueError(f"{sweep}: no finished run in it (no {RECORD_FILE})")
    for old in set((Path(to) / sweep.name).iterdir()) - set(kept):
        shutil.rmtree(old)
    return kept


def _row(line: tuple[str, str]) -> str:
    """The row of a result, which tells models apart that the table of the paper does not have."""
    row, parameters = line[0], json.loads(line[1])
    if "VQ-GAN" not in row:
        return row
    if parameters.get("corruption"):
        row += DENOISER
    if parameters.get("adversarial_factor") == 0:
        return row + NO_ADVERSARY
    return row + GUARDED if parameters.get("on_harm") == "return" else row


def _empty(columns: Iterable[str]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=COLUMNS.get(name, "object")) for name in columns})
