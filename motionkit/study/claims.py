"""What a paper says its numbers show, computed again: from the numbers it prints, and from ours.

Each claim is a measure of some rows of a table, such as "by how much is the one's SSIM above the other's", and the side
of zero on which it holds. Further metrics of ours tell whether it depends on the metric.

Source: paper 1 (adversarially refined VQ-GAN), abstract, V-B and VI; the notes are our reading of its tables.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from motionkit.results import RunRecord, mean_and_interval, published, result_row
from motionkit.study.kept import NO_ADVERSARY

PAPER, TABLE = "vqgan", "III"
COLUMNS = ("claim", "where", "stated", "metric", "unit", "paper", "ours", "low", "high", "num_seeds", "verdict", "note")

OF_A_ROW = {"kinds", "num_downsamples", "num_codes_2d", "num_codes_3d", "num_codes_dvae", "seed", "runs"}
OF_A_ROW |= {"adversarial_factor", "adversarial_phases", "on_harm"}  # these tell rows of the table apart


@dataclass(frozen=True)
class Claim:
    """One claim.

    name: what is claimed, in our words; a number above 0 of ``measure`` supports it.
    where: sections of the paper. stated: the number it gives, ``""`` if none.
    rows: of Table III, whose values ``measure`` takes in this order. metrics: columns to measure it by, each with the
    unit of the outcome.
    note: what to know about it.
    """

    name: str
    where: str
    stated: str
    rows: tuple[str, ...]
    metrics: dict[str, str]
    measure: Callable[..., float]
    note: str


def gain(value: float, baseline: float) -> float:
    """By how many percent ``value`` is above ``baseline``."""
    return 100 * (value / baseline - 1)


def reduction(value: float, baseline: float) -> float:
    """By how many percent ``value`` is below ``baseline``."""
    return -gain(value, baseline)


def difference(value: float, baseline: float) -> float:
    return value - baseline


def least_difference(baseline: float, *values: float) -> float:
    """How far the worst of ``values`` is above ``baseline``."""
    return min(values) - baseline


def gain_of_first_pair(a: float, b: float, c: float, d: float) -> float:
    """(a - b) - (c - d)."""
    return (a - b) - (c - d)


_RISING = {"SSIM": "", "SSIM skill": "", "SSIM foreground": "", "PSNR": "dB"}  # more is better
_F16 = "{} VQ-GAN F16/{}".format
_BEST_3D, _DVAE_3D, _DVAE_2D = "3D VQ-GAN F8/1024", "3D dVAE F8/2048", "2D dVAE F8/2048"
_ALL_2D = ("2D VQ-GAN F8/512", _F16("2D", 512), _F16("2D", 256), _F16("2D", 128), "2D VQ-GAN F32/512")
_ALL_3D = (_BEST_3D, _F16("3D", 1024), _F16("3D", 512), _F16("3D", 256), "3D VQ-GAN F32/1024")

CLAIMS = (
    Claim(
        "3D F8 has a higher SSIM than the dVAE",
        "abstract, V-B", "9.31 %", (_BEST_3D, _DVAE_3D), {"SSIM": "%"}, gain,
        "9.31 % is relative to the higher value, 0.934. Relative to the dVAE it is 10.27 %, in points 8.7.",
    ),
    Claim(
        "3D F8 is better than the dVAE where something is drawn",
        "abstract, V-B", "", (_BEST_3D, _DVAE_3D), {"SSIM skill": "", "SSIM foreground": ""}, difference,
        "Most of SSIM is empty background. These two metrics leave it out; the paper does not print them.",
    ),
    Claim(
        "3D F8 is steadier than the dVAE",
        "abstract, V-B, VI", "37.1 %", (_BEST_3D, _DVAE_3D), {"T-Std": "%", "T-Std temporal": "%"}, reduction,
        "Rests on one value, 0.151, which the authors' repository later gives as 0.210 (12.5 %). T-Std has no scale: "
        "noise gives 0.214 +- 0.021. T-Std temporal measures the flicker itself.",
    ),
    Claim(
        "every 2D VQ-GAN is better than the 2D dVAE",
        "V-B", "consistently", (_DVAE_2D, *_ALL_2D), _RISING, least_difference,
        "By the paper's own table 2D F32/512 is worse than the dVAE F8/2048 in SSIM, PSNR and L1; it has 64 times "
        "fewer tokens, so the comparison says little.",
    ),
    Claim(
        "every 3D VQ-GAN is better than the 3D dVAE",
        "V-B", "consistently", (_DVAE_3D, *_ALL_3D), _RISING, least_difference, "",
    ),
    Claim(
        "2D F16: 128 codes are better than 512",
        "abstract, V-B, VI", "SSIM 0.950 to 0.954", (_F16("2D", 128), _F16("2D", 512)), _RISING, difference,
        "0.004 without a spread over seeds.",
    ),
    Claim(
        "2D F16: the Q-loss falls from 512 to 128 codes",
        "V-B", "90.9 %", (_F16("2D", 128), _F16("2D", 512)), {"Q-Loss": "%", "Q-Loss normalized": "%"}, reduction,
        "The Q-loss grows with the scale of the latents, which each model chooses; normalized it is free of it.",
    ),
    Claim(
        "2D F16: the Q-loss falls from 512 to 256 codes",
        "Table III", "", (_F16("2D", 256), _F16("2D", 512)), {"Q-Loss": "%", "Q-Loss normalized": "%"}, reduction,
        "If a smaller codebook lowered the Q-loss, half way to 128 it should be lower too; the paper prints a rise. "
        "The authors' repository has 0.0008 here in later versions.",
    ),
    Claim(
        "3D F16: 1024 codes are better than 512",
        "V-B", "significant drop", (_F16("3D", 1024), _F16("3D", 512)), _RISING, difference, "",
    ),
    Claim(
        "3D F16: 512 codes are better than 256",
        "V-B", "", (_F16("3D", 512), _F16("3D", 256)), _RISING, difference,
        "The paper's SSIM falls with 256 codes while its PSNR rises and its T-Std falls; the text mentions 512 only.",
    ),
    Claim(
        "2D F16: 128 codes are better than 1024",
        "abstract, V-B, VI", "optimal", (_F16("2D", 128), _F16("2D", 1024)), _RISING, difference,
        "The paper trains no 2D model with 1024 codes.",
    ),
    Claim(
        "F16: 8 times as many codes help 3D more than 2D",
        "abstract, V-B, VI", "8 times",
        (_F16("3D", 1024), _F16("3D", 128), _F16("2D", 1024), _F16("2D", 128)), _RISING, gain_of_first_pair,
        "The paper trains no 2D model with 1024 codes and no 3D model with 128.",
    ),
)  # fmt: skip

# Of runs that differ in the adversary alone, such as those of the sweep vqgan_adversarial.
ADVERSARY_CLAIMS = tuple(
    Claim(
        f"{row.split('/')[0]}: the adversary {makes}",
        "abstract, V-B, VI", "essential", (row, row + NO_ADVERSARY), metrics, measure,
        "The paper trains no VQ-GAN without the adversary: against the dVAE quantizer and loss change as well.",
    )
    for row in ("2D VQ-GAN F8/512", _BEST_3D)
    for makes, metrics, measure in (
        ("makes motion steadier", {"T-Std temporal": "%", "T-Std": "%"}, reduction),
        ("makes pictures better", _RISING, difference),
    )
)  # fmt: skip


def check_claims(results: pd.DataFrame | None = None, claims: Sequence[Claim] = CLAIMS) -> pd.DataFrame:
    """Every claim by every metric: one line each, with the columns ``COLUMNS``.

    results: loaded results (``load_results``) of one profile and data set; rows of other tables are ignored. ``None``
    or an empty table checks the paper's own numbers alone.

    ``paper``: the measure of the printed values, NaN where the paper does not print one of them. ``ours``, ``low``,
    ``high``: the mean of the measure over the seeds that ran all its rows, and its 95 % interval (Student's; NaN for
    one seed). ``verdict``: "agrees" or "disagrees" where the interval lies on one side of zero, "undecided" where it
    does not; "for it, one seed" and "against it, one seed"; "none: ..." where all models of the claim draw worse than
    an empty picture (SSIM skill below 0), so that their order means nothing; "not run: ..." names the rows that no run
    has, "not comparable: ..." the parameters in which runs of one seed differ though no row tells of them.

    Raises ``ValueError`` if ``results`` mix profiles or data sets, or hold one cell twice for one seed.
    """
    printed = {
        (row, column): float(text or "nan")
        for row, cells in published(PAPER, TABLE).iterrows()
        for column, text in cells.items()
        if column in ("SSIM", "PSNR", "L1", "T-Std", "Q-Loss")
    }
    seeds = _by_seed(results, claims)
    settings = _settings(results)
    lines = []
    for claim in claims:
        for metric, unit in claim.metrics.items():
            cells = [(row, metric) for row in claim.rows]
            theirs = claim.measure(*(printed.get(cell, math.nan) for cell in cells))
            common = [seed for seed, values in seeds.items() if all(cell in values for cell in cells)]
            there = {cell for values in seeds.values() for cell in values}
            missing = [row for row, column in cells if (row, column) not in there]
            runs = [[settings.get((seed, row), {}) for row in claim.rows] for seed in common]
            differing = sorted(set().union(*map(_differing, runs)))
            complete = [] if differing else [seeds[seed] for seed in common]
            ours = np.array([claim.measure(*(values[cell] for cell in cells)) for values in complete])
            mean, low, high = mean_and_interval(ours)
            if differing:
                verdict = f"not comparable: {', '.join(differing)}"
            elif not complete:
                verdict = f"not run: {', '.join(missing) or 'no common seed'}"
            elif all(values.get((row, "SSIM skill"), 0.0) < 0 for values in complete for row in claim.rows):
                verdict = "none: all are worse than an empty picture"
            else:
                verdict = _verdict(mean, low, high)
            numbers = (theirs, mean, low, high, len(ours))
            lines.append((claim.name, claim.where, claim.stated, metric, unit, *numbers, verdict, claim.note))
    return pd.DataFrame(lines, columns=list(COLUMNS))


def claim_rows(record: RunRecord, checked: pd.DataFrame) -> list[dict]:
    """``check_claims``'s numbers as lines of a results table named "claims", ours and, in columns ending in ", paper",
    those from the paper's own values; what was not run or printed is left out."""
    rows = []
    for line in checked.to_dict("records"):
        place = ("claims", line["claim"], line["metric"])
        if line["num_seeds"]:
            about = {key: line[key] for key in ("low", "high", "num_seeds")}
            rows.append(result_row(record, *place, line["ours"]) | about)
        if not math.isnan(line["paper"]):
            rows.append(result_row(record, *place[:2], f"{line['metric']}, paper", line["paper"]))
    return rows


def claim_texts(checked: pd.DataFrame) -> pd.DataFrame:
    """``check_claims``'s table as text: claim | stated | metric | paper | ours | verdict, and notes once a claim."""
    lines, before = [], None
    for line in checked.to_dict("records"):
        ours = _number(line["ours"], line["unit"])
        if not math.isnan(line["high"]):
            ours += f" ± {_number(line['high'] - line['ours'], line['unit'], signed=False)}"
        is_first, before = line["claim"] != before, line["claim"]
        lines.append({
            "claim": line["claim"] if is_first else "",
            "stated": line["stated"] if is_first else "",
            "metric": line["metric"],
            "paper's numbers": _number(line["paper"], line["unit"]) or "not printed",
            "ours": f"{ours} ({line['num_seeds']})" if line["num_seeds"] else "",
            "verdict": "not run" if line["verdict"].startswith("not run") else line["verdict"],
            "note": line["note"] if is_first else "",
        })  # fmt: skip
    return pd.DataFrame(lines)


def _by_seed(results: pd.DataFrame | None, claims: Sequence[Claim]) -> dict[str, dict[tuple[str, str], float]]:
    """Seeds of a run -> (row, column) -> value."""
    if results is None or results.empty:
        return {}
    results = results[(results["paper"] == PAPER) & (results["table"] == TABLE)]
    for label in ("profile", "dataset"):
        if len(names := sorted(set(results[label]))) > 1:
            raise ValueError(f"results mix {label}s {', '.join(names)}: select one before checking claims")
    needed = {row for claim in claims for row in claim.rows}
    seeds: dict[str, dict[tuple[str, str], float]] = {}
    origin: dict[tuple[str, str, str], str] = {}
    for line in results[results["row"].isin(needed)].to_dict("records"):
        key = (line["seeds"], line["row"], line["column"])
        if key in origin:
            raise ValueError(f"results hold {line['row']}, {line['column']} twice for seed {line['seeds']}: "
                             f"see {origin[key]} and {line['run']}")  # fmt: skip
        origin[key] = line["run"]
        seeds.setdefault(line["seeds"], {})[line["row"], line["column"]] = line["value"]
    return seeds


def _settings(results: pd.DataFrame | None) -> dict[tuple[str, str], dict[str, Any]]:
    """(seeds of a run, row) -> the run's parameters, where loaded results tell them."""
    if results is None or "parameters" not in results:
        return {}
    first = results.drop_duplicates(["seeds", "row"])
    lines = first[["seeds", "row", "parameters"]].itertuples(index=False)
    return {(seed, row): json.loads(text) for seed, row, text in lines}


def _differing(runs: Sequence[Mapping[str, Any]]) -> set[str]:
    """Parameters, but for those that tell rows apart, in which runs of one seed differ."""
    names = {name for run in runs for name in run} - OF_A_ROW
    return {name for name in names if len({json.dumps(run.get(name)) for run in runs}) > 1}


def _verdict(mean: float, low: float, high: float) -> str:
    if math.isnan(low):
        return "for it, one seed" if mean > 0 else "against it, one seed"
    if low > 0:
        return "agrees"
    return "disagrees" if high < 0 else "undecided"


def _number(value: float, unit: str, signed: bool = True) -> str:
    if math.isnan(value):
        return ""
    decimals = {"%": 1, "dB": 2}.get(unit, 4)
    return f"{value:{'+' if signed else ''}.{decimals}f}{' ' if unit else ''}{unit}"
