"""What of the runs of paper 4 goes into which picture: scores over depth, divergence by level, errors of filling in.

Results are as of ``load_results``, of one profile and data set; an empty table gives empty views.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from motionkit.metrics.scores import EVIDENCE
from motionkit.models.hg_vae import off_levels
from motionkit.models.motion_models import DEPTHS as NUM_LEVELS
from motionkit.results import mean_and_interval
from motionkit.study.claims import printed_cells
from motionkit.study.hg_vae_claims import BOUND, DEPTH_CLAIMS, DEPTHS, DERIVED, READINGS, depth_row, label_of

SCORES = {"log(X)": "nats", "MSE": "m²", "KL-Divergence": "nats", BOUND: "nats", EVIDENCE: "nats"}

_CURVE = ("depth", "value", "low", "high")
_SCORE = re.compile(r"(?P<pattern>.+) (?P<share>[\d.e-]+): (?P<metric>.+)")  # a column of the table "imputation"


def curves_over_depth(results: pd.DataFrame, score: str) -> dict[str, pd.DataFrame]:
    """One of ``SCORES`` by reading, such as "lowest levels, prior means": columns ``depth``, ``value``, the mean over
    seeds, and ``low`` and ``high``, the ends of its 95 % interval, NaN for one seed. Readings of which no more than the
    depth that they share has run are left out, but for the first."""
    curves = {}
    for reading in READINGS:
        values = {depth: _over_seeds(results, depth_row(depth, reading), score) for depth in DEPTHS}
        lines = [(depth, *mean_and_interval(numbers)) for depth, numbers in values.items() if len(numbers)]
        if len(lines) > 1 or (lines and not reading):
            curves[label_of(reading)] = pd.DataFrame(lines, columns=list(_CURVE))
    return curves


def printed_over_depth(score: str) -> pd.DataFrame:
    """The same of the paper, without intervals; empty where it prints none."""
    printed = printed_cells(DEPTH_CLAIMS[""])
    lines = [(depth, printed[depth_row(depth), score]) for depth in DEPTHS if (depth_row(depth), score) in printed]
    return pd.DataFrame(lines, columns=["depth", "value"]).reindex(columns=list(_CURVE))


def linear_evidence(results: pd.DataFrame) -> dict[str, dict[str, float]]:
    """What a linear model reaches, which has no depth: score -> label -> mean over seeds; none if it has not run."""
    values = _over_seeds(results.drop_duplicates(["row", "column", "seeds"]), "linear", EVIDENCE)
    return {EVIDENCE: {"linear": values.mean()}} if len(values) else {}


def divergence_by_level(results: pd.DataFrame, reading: str) -> pd.DataFrame:
    """What each level's latent tells of a clip [nats], mean over seeds: a line for each depth that has run, a column
    for each level, z0 first. NaN: the level is off and tells nothing; with posterior means it tells, for nothing."""
    keep, off_latent = READINGS[reading]
    lines = {}
    for depth in DEPTHS:
        off = off_levels(NUM_LEVELS, depth, keep) if off_latent == "prior" else ()
        row = depth_row(depth, reading)
        parts = [_over_seeds(results, row, f"KL of z{level}") for level in range(NUM_LEVELS)]
        if all(map(len, parts)):
            lines[depth] = [np.nan if level in off else part.mean() for level, part in enumerate(parts)]
    columns = pd.Index([f"z{level}" for level in range(NUM_LEVELS)], name="level")
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns).rename_axis("depth").astype(float)


def errors_of_filling(results: pd.DataFrame) -> pd.DataFrame:
    """The tables "imputation" of runs as ``imputation_curves`` gives them, ``seed`` being that of the training."""
    lines = [
        _SCORE.fullmatch(line["column"]).groupdict()
        | {"method": line["row"], "seed": line["seeds"], "value": line["value"]}
        for line in results[results["table"] == "imputation"].to_dict("records")
        if _SCORE.fullmatch(line["column"])
    ]
    columns = ["pattern", "share", "seed", "method", "metric", "value"]
    return pd.DataFrame(lines, columns=columns).astype({"share": float, "value": float})


def scores_of(results: pd.DataFrame, table: str, score: str = "") -> pd.DataFrame:
    """The lines of a table of runs; of one score alone where columns hold several, such as "joints 0.05: RMSE", whose
    names then lack it."""
    ending = f": {score}" if score else ""
    lines = results[(results["table"] == table) & results["column"].str.endswith(ending)]
    return lines.assign(column=lines["column"].str.removesuffix(ending))


def _over_seeds(results: pd.DataFrame, row: str, score: str) -> np.ndarray:
    """(seeds,) a score of a row of Table 1 or what is derived of its columns."""
    columns, function = DERIVED.get(score, ((score,), float))
    is_asked = (results["table"] == "1") & (results["row"] == row) & results["column"].isin(columns)
    cells = results[is_asked].pivot(index="seeds", columns="column", values="value").reindex(columns=list(columns))
    return np.array([function(*line) for line in cells.dropna().to_numpy(float)])
