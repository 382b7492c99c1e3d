"""Loaded results chosen by label and parameter, listed by run, and the setting that tells a run from others."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import pandas as pd

from motionkit.results.papers import check_known

NO_SETTING = {"seed", "seeds", "runs", "profile", "dataset"}  # parameters that runs of one setting may differ in, or
# that have a column of their own


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
            check_known(label, wanted, known)
        results = results[[_is_like(name, wanted) for name in results[label]]]
    for name, wanted in (parameters or {}).items():
        values = [json.loads(text) for text in results["parameters"]]
        check_known("parameter", name, dict.fromkeys(known for value in values for known in value))
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
    differing = differing_names([setting_of(line) for line in first_lines(results)])
    # a parameter may be called as one of the other columns is
    names = {name: name if name not in results.columns else f"parameter {name}" for name in differing}
    lines = []
    for _, run in results.groupby("run", sort=False) if len(results) else ():
        first = run.iloc[0]
        setting = setting_of(first)
        about = {key: first[key] for key in ("notebook", "profile", "dataset", "seeds")}
        about |= {names[name]: plain(setting.get(name, "")) for name in differing if name != "notebook"}
        facts = {key: first[key] for key in ("device", "duration_s", "commit", "started")}
        if not values:
            lines.append(about | facts | {"values": len(run), "run": first["run"]})
            continue
        for (paper, table, row), cells in run.groupby(["paper", "table", "row"], sort=False):
            metrics = dict(zip(cells["column"], cells["value"], strict=True))
            lines.append({"paper": paper, "table": table, "row": row} | about | facts | metrics)
    return pd.DataFrame(lines)


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


def plain(value: Any) -> Any:
    """A parameter as a cell of a table."""
    return value if isinstance(value, int | float | str) else json.dumps(value)


def first_lines(results: pd.DataFrame) -> list[pd.Series]:
    """The first line of each run."""
    return [line for _, line in results.drop_duplicates("run").iterrows()]


def setting_of(line: pd.Series) -> dict[str, Any]:
    """What runs must have in common to be pooled, of one line of loaded results."""
    parameters = {k: v for k, v in json.loads(line["parameters"]).items() if k not in NO_SETTING}
    return {"notebook": line["notebook"], **parameters, "data": line["fingerprint"]}


def differing_names(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names whose values are not the same in all settings."""
    names = dict.fromkeys(name for setting in settings for name in setting)
    return [name for name in names if len({json.dumps(setting.get(name), sort_keys=True) for setting in settings}) > 1]
