"""What a paper says its numbers show, computed again: from the numbers it prints, and from ours.

Each claim is a measure of some rows of a table, such as "by how much is the one's SSIM above the other's", and the side
of zero on which it holds. Further metrics of ours tell whether it depends on the metric. The claims of a paper stand in
a file of their own: ``vqgan_claims``, ``hg_vae_claims``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from motionkit.results import RunRecord, mean_and_interval, published, result_row
from motionkit.results.papers import published_columns

COLUMNS = ("claim", "where", "stated", "metric", "unit", "paper", "ours", "low", "high", "num_seeds", "verdict", "note")

Cells = dict[tuple[str, str], float]  # (row, column) -> value


@dataclass(frozen=True)
class Claim:
    """One claim.

    name: what is claimed, in our words; a number above 0 of ``measure`` supports it.
    where: sections of the paper. stated: the number it gives, ``""`` if none.
    rows: of the table, whose values ``measure`` takes in this order. metrics: columns to measure it by, each with the
    unit of the outcome.
    note: what to know about it.
    """

    name: str
    where: str
    stated: str
    rows: tuple[str, ...]
    metrics: Mapping[str, str]
    measure: Callable[..., float]
    note: str


@dataclass(frozen=True)
class ClaimSet:
    """Claims about one table of a paper, and what must be known of the table to check them.

    paper, table: as of ``published``.
    of_a_row: parameters of a run that tell rows of the table apart, or that no claim depends on; in all others the runs
        of a seed must agree.
    printed_row: a row of ours -> the row of the paper that it is set against.
    derived: metric that no table holds -> the columns it is computed from, and how.
    skill: a metric that is below 0 where a model has learned nothing; models that are so all have no order, and
    ``no_skill`` says why.
    """

    paper: str
    table: str
    claims: tuple[Claim, ...]
    of_a_row: frozenset[str]
    printed_row: Callable[[str], str] = str
    derived: Mapping[str, tuple[tuple[str, ...], Callable[..., float]]] = field(default_factory=dict)
    skill: str = ""
    no_skill: str = ""


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


def check_claims(results: pd.DataFrame | None, claim_set: ClaimSet) -> pd.DataFrame:
    """Every claim by every metric: one line each, with the columns ``COLUMNS``.

    results: loaded results (``load_results``) of one profile and data set; rows of other tables are ignored. ``None``
    or an empty table checks the paper's own numbers alone.

    ``paper``: the measure of the printed values, NaN where the paper does not print one of them. ``ours``, ``low``,
    ``high``: the mean of the measure over the seeds that ran all its rows, and its 95 % interval (Student's; NaN for
    one seed). ``verdict``: "agrees" or "disagrees" where the interval lies on one side of zero, "undecided" where it
    does not; "for it, one seed" and "against it, one seed"; "none: ..." where no model of the claim has any skill, so
    that their order means nothing; "not run: ..." names the rows that no run has, "not comparable: ..." the parameters
    in which runs of one seed differ though no row tells of them.

    Raises ``ValueError`` if ``results`` mix profiles or data sets, or hold one cell twice for one seed.
    """
    printed, seeds, settings = printed_cells(claim_set), _by_seed(results, claim_set), _settings(results)
    lines = []
    for claim in claim_set.claims:
        for metric, unit in claim.metrics.items():
            theirs = (printed.get((claim_set.printed_row(row), metric), math.nan) for row in claim.rows)
            ours = _measured(claim, metric, claim_set, seeds, settings)
            numbers = (claim.measure(*theirs), *ours)
            lines.append((claim.name, claim.where, claim.stated, metric, unit, *numbers, claim.note))
    return pd.DataFrame(lines, columns=list(COLUMNS))


def printed_cells(claim_set: ClaimSet) -> Cells:
    """The numbers that the paper prints, NaN where a cell is empty, and what is derived of them."""
    columns = published_columns(claim_set.paper, claim_set.table)
    table = published(claim_set.paper, claim_set.table)
    cells = {(row, name): float(line[name] or "nan") for row, line in table.iterrows() for name in columns}
    return cells | _derived(cells, claim_set)


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


def claims_side_by_side(checked: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The same claims checked on several results, by label, as text: claim | stated | metric [unit] | paper's numbers,
    by label ours above its verdict, and the note. Labels of which nothing has run are left out, but for the first if
    there is no other."""
    texts = {label: claim_texts(table) for label, table in checked.items()}
    first, *_ = texts
    shown = [label for label, table in texts.items() if set(table["verdict"]) != {"not run"}] or [first]
    lines = []
    for number, (unit, line) in enumerate(zip(checked[first]["unit"], texts[first].to_dict("records"), strict=True)):
        metric = f"{line['metric']} [{unit}]" if unit else line["metric"]
        ours = {label: _bare(texts[label]["ours"][number], unit) for label in shown}
        ours = {label: f"{text}\n{texts[label]['verdict'][number]}".strip() for label, text in ours.items()}
        about = {"claim": line["claim"], "stated": line["stated"], "metric": metric}
        lines.append({**about, "paper's numbers": _bare(line["paper's numbers"], unit), **ours, "note": line["note"]})
    return pd.DataFrame(lines)


def _measured(
    claim: Claim, metric: str, claim_set: ClaimSet, seeds: Mapping[str, Cells], settings: Mapping
) -> tuple[float, float, float, int, str]:
    """Mean, ends of its interval, number of seeds and verdict of a claim by one metric of ours."""
    cells = [(row, metric) for row in claim.rows]
    common = [seed for seed, values in seeds.items() if all(cell in values for cell in cells)]
    runs = [[settings.get((seed, row), {}) for row in claim.rows] for seed in common]
    differing = sorted(set().union(*(_differing(run, claim_set.of_a_row) for run in runs)))
    complete = [] if differing else [seeds[seed] for seed in common]
    ours = np.array([claim.measure(*(values[cell] for cell in cells)) for values in complete])
    mean, low, high = mean_and_interval(ours)
    if differing:
        verdict = f"not comparable: {', '.join(differing)}"
    elif not complete:
        there = {cell for values in seeds.values() for cell in values}
        missing = [row for row, column in cells if (row, column) not in there]
        verdict = f"not run: {', '.join(missing) or 'no common seed'}"
    elif all(values.get((row, claim_set.skill), 0.0) < 0 for values in complete for row in claim.rows):
        verdict = f"none: {claim_set.no_skill}"
    else:
        verdict = _verdict(mean, low, high)
    return mean, low, high, len(ours), verdict


def _printed(claim_set: ClaimSet) -> Cells:
    """The numbers that the paper prints, NaN where a cell is empty, and what is derived of them."""
    columns = published_columns(claim_set.paper, claim_set.table)
    table = published(claim_set.paper, claim_set.table)
    cells = {(row, name): float(line[name] or "nan") for row, line in table.iterrows() for name in columns}
    return cells | _derived(cells, claim_set)


def _by_seed(results: pd.DataFrame | None, claim_set: ClaimSet) -> dict[str, Cells]:
    """Seeds of a run -> its numbers, and what is derived of them."""
    if results is None or results.empty:
        return {}
    results = results[(results["paper"] == claim_set.paper) & (results["table"] == claim_set.table)]
    for label in ("profile", "dataset"):
        if len(names := sorted(set(results[label]))) > 1:
            raise ValueError(f"results mix {label}s {', '.join(names)}: select one before checking claims")
    needed = {row for claim in claim_set.claims for row in claim.rows}
    seeds: dict[str, Cells] = {}
    origin: dict[tuple[str, str, str], str] = {}
    for line in results[results["row"].isin(needed)].to_dict("records"):
        key = (line["seeds"], line["row"], line["column"])
        if key in origin:
            raise ValueError(f"results hold {line['row']}, {line['column']} twice for seed {line['seeds']}: "
                             f"see {origin[key]} and {line['run']}")  # fmt: skip
        origin[key] = line["run"]
        seeds.setdefault(line["seeds"], {})[line["row"], line["column"]] = line["value"]
    return {seed: cells | _derived(cells, claim_set) for seed, cells in seeds.items()}


def _derived(cells: Cells, claim_set: ClaimSet) -> Cells:
    return {
        (row, metric): function(*(cells[row, column] for column in columns))
        for metric, (columns, function) in claim_set.derived.items()
        for row in dict.fromkeys(row for row, _ in cells)
        if all((row, column) in cells for column in columns)
    }


def _settings(results: pd.DataFrame | None) -> dict[tuple[str, str], dict[str, Any]]:
    """(seeds of a run, row) -> the run's parameters, where loaded results tell them."""
    if results is None or "parameters" not in results:
        return {}
    first = results.drop_duplicates(["seeds", "row"])
    lines = first[["seeds", "row", "parameters"]].itertuples(index=False)
    return {(seed, row): json.loads(text) for seed, row, text in lines}


def _differing(runs: Sequence[Mapping[str, Any]], of_a_row: frozenset[str]) -> set[str]:
    """Parameters, but for those that tell rows apart, in which runs of one seed differ."""
    names = {name for run in runs for name in run} - of_a_row
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
    decimals = {"nats": 0, "%": 1, "dB": 2}.get(unit, 4)
    return f"{value:{'+' if signed else ''}.{decimals}f}{' ' if unit else ''}{unit}"


def _bare(text: str, unit: str) -> str:
    return text.replace(f" {unit}", "") if unit else text
