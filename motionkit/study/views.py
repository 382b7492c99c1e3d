"""What of a study goes into which picture: grids, trade-offs, curves and windows that several models drew."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from motionkit.study.kept import Example

_ROW = re.compile(r"(?P<view>[23]D) (?P<model>VQ-GAN|dVAE) F(?P<rate>\d+)/(?P<codes>\d+)")
RATES, VOCABULARIES = (8, 16, 32), (128, 256, 512, 1024)


def grid_of(results: pd.DataFrame, view: str, metric: str) -> pd.DataFrame:
    """A metric of the VQ-GANs of a view ("2D", "3D") by compression and size of the codebook, the mean over seeds; NaN
    where none has run."""
    values = {rate: dict.fromkeys(VOCABULARIES, np.nan) for rate in RATES}
    of_metric = results[results["column"] == metric]
    for row, cells in of_metric.groupby("row"):
        match = _ROW.fullmatch(row)
        if match and match["view"] == view and match["model"] == "VQ-GAN":
            values.setdefault(int(match["rate"]), {})[int(match["codes"])] = cells["value"].mean()
    table = pd.DataFrame(values).T.sort_index().sort_index(axis=1)
    table.index = pd.Index([f"F{rate}" for rate in table.index], name="compression")
    return table.rename_axis(columns="codes").astype(float)


def trade_off_of(results: pd.DataFrame, cost: str, quality: str) -> dict[str, list[tuple[float, float, str]]]:
    """Cost and quality, means over seeds, and number of codes, of all models that have both: one series a kind and
    compression, such as "2D VQ-GAN F16", in the order of its cost; F8 before F16."""
    series: dict[str, list[tuple[float, float, str]]] = {}
    means = results[results["column"].isin([cost, quality])].groupby(["row", "column"])["value"].mean()
    for row in dict.fromkeys(results["row"]):
        if _ROW.fullmatch(row) and {(row, cost), (row, quality)} <= set(means.index):
            model, _, codes = row.partition("/")
            series.setdefault(model, []).append((means[row, cost], means[row, quality], codes))
    names = sorted(series, key=lambda name: (name.rpartition(" F")[0], int(name.rpartition(" F")[2])))
    return {name: sorted(series[name]) for name in names}


def curves_of(history: pd.DataFrame, view: str) -> dict[str, pd.DataFrame]:
    """The histories of a view's models by row; runs of one row are told apart by their seed and run."""
    history = history[history["row"].str.startswith(f"{view} ")] if len(history) else history
    curves: dict[str, pd.DataFrame] = {}
    for (row, seeds, _), part in history.groupby(["row", "seeds", "run"], sort=False):
        label = row if (history["row"] == row).sum() == len(part) else f"{row}, seed {seeds}"
        curves[label if label not in curves else f"{label} ({len(curves)})"] = part
    return curves


def starts_of(history: pd.DataFrame, view: str) -> dict[str, int]:
    """Label -> the step at which the discriminator joins in runs of a view, for ``run_curves``; 3D models train longer
    and so meet it later, in proportion."""
    starts = {}
    for text in dict.fromkeys(history["parameters"]) if len(history) else ():
        parameters = json.loads(text)
        longer = parameters["num_steps_3d"] / parameters["num_steps"] if view == "3D" else 1
        starts[round(parameters["adversarial_start"] * longer)] = "discriminator joins"
    return {label: step for step, label in list(starts.items())[:1]}


def shared_windows(
    examples: Mapping[str, Example], rows: Sequence[str]
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], float]]:
    """Target, outputs by compression and codes ("F16/128"), and frame rate, of those of the rows that drew one and the
    same window, the first that is there. Nothing where none of them has run, else one of these."""
    found = {row: examples[row] for row in rows if row in examples}
    if not found:
        return
    first = next(iter(found.values()))
    same = {row: example for row, example in found.items() if np.array_equal(example.target, first.target)}
    yield first.target, {row.split()[-1]: example.output for row, example in same.items()}, first.fps


def teaser(examples: Mapping[str, Example]) -> Iterator[tuple[list[list[np.ndarray]], list[str], list[str]]]:
    """Pictures, names of rows and of columns for Fig. 1, at the middle of the window: on the left the projections of
    the best 3D model, on the right the 2D models of each compression; truth above, reconstruction below. Nothing where
    neither has run, else one of these."""
    columns, truths, outputs = [], [], []
    for row in ("3D VQ-GAN F8/1024", "2D VQ-GAN F8/512", "2D VQ-GAN F16/512", "2D VQ-GAN F32/512"):
        if row not in examples:
            continue
        example, short = examples[row], row.replace(" VQ-GAN", "").partition("/")[0]
        middle = example.target.shape[1] // 2
        names = ("YZ", "XZ", "XY") if len(example.target) == 3 else ("",)
        columns += [f"{short} {name}".rstrip() for name in names]
        truths += list(example.target[:, middle])
        outputs += list(example.output[:, middle])
    if columns:
        yield [truths, outputs], ["ground truth", "reconstruction"], columns
