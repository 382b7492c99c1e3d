"""Results pooled over seeds, by themselves and beside the published numbers.

Results are pooled over seeds alone. Runs that differ in a parameter are kept apart wherever their numbers differ: each
gets a line of its own, told from the others by its ``setting``, such as ``num_codes_2d=256``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from motionkit.results.papers import printed_decimals, published, published_columns, published_notes
from motionkit.results.rows import mean_and_interval
from motionkit.results.selection import differing_names, first_lines, plain, setting_of

PIVOT_COLUMNS = ("row", "setting", "column", "value", "low", "high", "num_seeds")
COMPARISON_COLUMNS = ("row", "setting", "column", "paper", "ours", "low", "high", "num_seeds", "difference", "note")
_MISSING = (math.nan, math.nan, math.nan, 0)


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
    columns = published_columns(paper, table)
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


def _check_unmixed(results: pd.DataFrame, labels: Iterable[str]) -> None:
    for label in labels:
        if len(names := sorted(set(results[label]))) > 1:
            of = " ".join(dict.fromkeys([*results["paper"], *results["table"]])) if label != "paper" else "a table"
            raise ValueError(f"results of {of} mix {label}s {', '.join(names)}: select one before pooling")


def _pool(results: pd.DataFrame) -> dict[tuple[str, str], dict[str, tuple[float, float, float, int]]]:
    """(row, setting) -> column -> (value, low, high, number of seeds)."""
    settings = {line["run"]: setting_of(line) for line in first_lines(results)} if "run" in results else {}
    pooled = {}
    for row, lines in _by("row", results.to_dict("records")).items():
        for setting, cells in _by_setting(lines, settings):
            pooled[row, setting] = {column: _pool_seeds((row, column), cell) for column, cell in cells.items()}
    return pooled


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


def _names_of_settings(kinds: Sequence[Sequence[Mapping[str, Any]]]) -> list[tuple[list, str]]:
    """What to sort each kind of settings by, and its name: the parameters that tell it from the others, in short."""
    if len(kinds) == 1:
        return [([], "")]

    def named(setting: Mapping[str, Any], names: Iterable[str]) -> str:
        return ", ".join(f"{name}={plain(setting.get(name, 'not recorded'))}" for name in names)

    def order(setting: Mapping[str, Any], names: Iterable[str]) -> list:
        values = [setting.get(name) for name in names]
        return [(0, v, "") if isinstance(v, int | float) else (1, 0, str(v)) for v in values]

    everything = [setting for alike in kinds for setting in alike]
    # parameters that differ within one kind make no difference
    telling = [
        name for name in differing_names(everything) if not any(name in differing_names(alike) for alike in kinds)
    ]
    short = [named(alike[0], telling) for alike in kinds]
    if telling and len(set(short)) == len(short):
        return [(order(alike[0], telling), name) for alike, name in zip(kinds, short, strict=True)]
    names = differing_names(everything)
    return [(order(alike[0], names), " or ".join(named(setting, names) for setting in alike)) for alike in kinds]
