"""The report's tables of results: what runs measured beside what the papers print, and what a sweep's runs came to."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from motionkit.results import RECORD_FILE, compare, load_results, pivot, published
from motionkit.running.report_pages import duration, slug
from motionkit.tables import comparison_texts, pivot_texts

RUN_FILE = "run.json"  # in the folder of each run of a sweep
Cell = tuple[str, str]  # row, column


@dataclass(frozen=True)
class Table:
    """One table of results.

    title: of the table; ``head`` is the heading above it, which several tables may share.
    cells: what each cell says, in the order of the table; two reports are compared by it.
    facts: where the numbers come from.
    comparison: ``comparison_texts``, or ``None`` where there is nothing to compare with; ``pooled``: ``pivot_texts``,
        for sweeps only.
    """

    key: str
    title: str
    head: str
    about: str
    facts: dict[str, str]
    cells: dict[Cell, str]
    comparison: pd.DataFrame | None = None
    pooled: pd.DataFrame | None = None


@dataclass(frozen=True)
class Sweep:
    """What became of a sweep's runs: how many are done, and the failed ones as their records tell."""

    folder: Path
    name: str
    key: str
    num_done: int
    seconds: float
    failed: Sequence[Mapping] = ()
    tables: Sequence[Table] = field(default_factory=list)


def tables_of(folders: Iterable[Path]) -> tuple[list[Table], list[Sweep]]:
    """The tables of all finished runs in or below the folders; the runs of sweeps have tables of their own.

    A folder without a finished run is passed over.
    """
    runs: list[Path] = []
    sweeps: dict[Path, None] = {}
    for folder in folders:
        ended = {path.parent for path in folder.rglob(RUN_FILE)} - {folder}  # a single run of a sweep is no sweep
        sweeps |= dict.fromkeys(sorted(run.parent for run in ended))
        runs += [path.parent for path in folder.rglob(RECORD_FILE) if not ended & set(path.parents)]
    tables = _tables(load_results(runs)) if runs else []
    return tables, [_sweep(folder) for folder in sweeps]


def _sweep(folder: Path) -> Sweep:
    states = [_state(path) for path in sorted(folder.glob(f"*/{RUN_FILE}"))]
    seeds = {str(state.get("parameters", {}).get("seed")) for state in states}
    done = [state for state in states if state.get("state") == "done"]
    failed = [state for state in states if state.get("state") != "done"]
    seconds = sum(float(state.get("seconds") or 0) for state in states)
    tables = []
    if any(folder.rglob(RECORD_FILE)):
        tables = _tables(load_results(folder), sweep=folder.name, num_seeds=len(seeds))
    return Sweep(folder, folder.name, f"sweep-{slug(folder.name)}", len(done), seconds, failed, tables)


def _state(path: Path) -> dict:
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: no record of a run: {error}") from None
    if not isinstance(state, dict) or not isinstance(state.get("parameters", {}), dict):
        raise ValueError(f"{path}: no record of a run: expected an object")
    return state


def _tables(results: pd.DataFrame, sweep: str = "", num_seeds: int = 0) -> list[Table]:
    tables = []
    for (paper, number, profile, dataset), part in results.groupby(["paper", "table", "profile", "dataset"], sort=True):
        ours = f"profile {profile}, data set {dataset or 'not named'}"
        key = slug(" ".join(["table", sweep, paper, number, profile, dataset]))
        try:
            source = published(paper, number).attrs["source"]
        except ValueError:  # a table of our own
            citation, title, texts = "", f"{number} of {paper}, our own", None
        else:
            citation, _, title = source.rpartition(", Table ")
            texts = comparison_texts(compare(paper, number, part, num_seeds))
        pooled = pivot_texts(pivot(part, expected_seeds=num_seeds)) if sweep or texts is None else None
        if texts is not None and sweep:
            texts = texts[texts["paper"] != "missing"]
        cells = _compared_cells(texts) if texts is not None and not sweep else _pooled_cells(pooled)
        head, about = f"Table {title}", f"Ours: {ours}."
        name = f"Sweep {sweep}: {head} ({ours})" if sweep else f"{head} ({ours})"
        about = f"{citation}. {about}" if citation else about
        tables.append(Table(key, name, head, about, _facts(part), cells, texts, pooled))
    return tables


def _facts(part: pd.DataFrame) -> dict[str, str]:
    """Where the numbers of one table come from."""
    runs = part.drop_duplicates("run")

    def all_of(column: str) -> str:
        return ", ".join(dict.fromkeys(text for text in runs[column].astype(str) if text))

    data = ", ".join(dict.fromkeys(
        f"{line.dataset} ({line.fingerprint[:12]})" if line.fingerprint else line.dataset for line in runs.itertuples()
    ))  # fmt: skip
    first, last = (text.replace("T", " ")[:16] for text in (runs["started"].min(), runs["started"].max()))
    facts = {
        "runs": str(len(runs)),
        "data": data,
        "seeds": ", ".join(dict.fromkeys(seed for text in runs["seeds"] for seed in text.split(", ") if seed)),
        "device": all_of("device"),
        "code": all_of("commit"),
        "started": (first if first == last else f"{first} to {last}") + " UTC" if first else "",
        "time": duration(runs["duration_s"].sum()),
    }
    return {name: value for name, value in facts.items() if value}


def _compared_cells(texts: pd.DataFrame) -> dict[Cell, str]:
    measured = texts[texts["ours"] != "missing"]
    return {(line["row"], line["column"]): _value(line) for line in measured.to_dict("records")}


def _pooled_cells(pooled: pd.DataFrame) -> dict[Cell, str]:
    lines = pooled.to_dict("records")
    return {(line["row"], name): text for line in lines for name, text in line.items() if name != "row" and text}


def _value(line: Mapping[str, str]) -> str:
    interval = f" [{line['95 % interval']}]" if line["95 % interval"] else ""
    seeds = f" ({line['seeds']} seeds)" if line["seeds"] != "1" else ""
    return line["ours"] + interval + seeds


# ---- as HTML ---------------------------------------------------------------------------------------------------------

Marks = Mapping[Cell, str | None]  # what a cell said in an earlier report, None if it was not there


def comparison_html(texts: pd.DataFrame, marks: Marks) -> str:
    """What was run, as a table with its notes below; rows of the paper that were not run, folded away."""
    rows = texts.groupby("row", sort=False)["ours"].apply(lambda ours: (ours != "missing").any())
    is_run = texts["row"].map(rows)
    ours, rest = texts[is_run], texts[~is_run]
    text = _grid(ours, marks) if len(ours) else '<p class="note">Nothing of this table was run.</p>'
    if len(rest):
        count = len(rest.groupby("row"))
        summary = f"{count} published row{'s' if count > 1 else ''} without a run"
        text += f'<details class="more"><summary>{summary}</summary>{_grid(rest, {})}</details>'
    return text


def _grid(texts: pd.DataFrame, marks: Marks) -> str:
    """One line a model, one column a metric: ours, and below it the paper's number and the difference."""
    notes: dict[str, int] = {}
    columns = list(dict.fromkeys(texts["column"]))
    lines = []
    for row, cells in texts.groupby("row", sort=False):
        by_column = {line["column"]: line for line in cells.to_dict("records")}
        line = [html_cell(_compared(by_column.get(column), notes), marks, (row, column)) for column in columns]
        lines.append(f"<tr><th>{html.escape(row)}</th>{''.join(line)}</tr>")
    below = "".join(f'<p class="note"><sup>{k}</sup> {html.escape(note)}</p>' for note, k in notes.items())
    return _table(columns, lines) + below


def _compared(cell: Mapping[str, str] | None, notes: dict[str, int]) -> str:
    """``notes`` numbers the remarks; a new one is added to it."""
    if cell is None or cell["ours"] == cell["paper"] == "missing":
        return ""
    is_run = cell["ours"] != "missing"
    text = f"<b>{_minus(cell['ours'])}</b>" if is_run else '<span class="missing">missing</span>'
    if cell["95 % interval"]:
        low, _, high = cell["95 % interval"].partition(" .. ")
        text += f"<small>{_minus(low)} to {_minus(high)}</small>"
    if is_run and cell["seeds"] != "1":
        text += f"<small>{cell['seeds']} seeds</small>"
    if cell["paper"] != "missing":
        marks = sorted(notes.setdefault(note, len(notes) + 1) for note in cell["note"].splitlines())
        mark = f"<sup>{', '.join(map(str, marks))}</sup>" if marks else ""
        text += f"<small>paper {_minus(cell['paper'])}{mark}</small>"
        text += f"<small>{_minus(cell['difference'])}</small>" if is_run else ""
    return text


def pooled_html(pooled: pd.DataFrame, marks: Marks) -> str:
    """``pivot_texts`` as a table."""
    columns, lines = [name for name in pooled.columns if name != "row"], []
    for line in pooled.to_dict("records"):
        cells = [html_cell(_pooled(line[column]), marks, (line["row"], column)) for column in columns]
        lines.append(f"<tr><th>{html.escape(line['row'])}</th>{''.join(cells)}</tr>")
    note = '<p class="note">Mean, half the 95 % interval over seeds, number of seeds.</p>'
    return _table(columns, lines, "comparison pooled") + note


def _pooled(text: str) -> str:
    if text == "missing":
        return '<span class="missing">missing</span>'
    value, _, seeds = text.partition(" (")
    mean, sign, half = value.partition(" ± ")
    interval = f"<small>{sign.strip()} {half}</small>" if half else ""
    return f"<b>{_minus(mean)}</b>{interval}<small>({seeds}</small>" if text else ""


def html_cell(text: str, marks: Marks, where: Cell) -> str:
    """A cell of a table, marked if it says something else than in an earlier report."""
    if where not in marks:
        return f"<td>{text}</td>"
    was = marks[where]
    kind, note = ("added", "added") if was is None else ("changed", f"was {was}")
    return f'<td class="{kind}">{text}<small class="was">{html.escape(note)}</small></td>'


def _table(columns: Iterable[str], lines: Iterable[str], kind: str = "comparison") -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("", *columns))
    body = "".join(lines)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def failures_html(sweep: Sweep) -> str:
    """How a sweep's runs ended, and where the failed ones did."""
    total = sweep.num_done + len(sweep.failed)
    text = f'<p class="note">{sweep.num_done} of {total} runs done, {duration(sweep.seconds)} of work.</p>'
    for state in sweep.failed:
        varied = state.get("varied") or state.get("parameters", {})
        name = " ".join(f"{k}={v}" for k, v in varied.items()) if isinstance(varied, dict) else ""
        what = f"{name}: {state.get('reason') or state.get('state')} in {state.get('cell') or 'an unknown cell'}"
        lines = html.escape(str(state.get("lines") or "").strip("\n"))
        lines = f"<pre>{lines}</pre>" if lines else ""
        text += f'<details class="more failed"><summary>{html.escape(what)}</summary>{lines}</details>'
    return text


def _minus(text: str) -> str:
    return html.escape(text).replace("-", "−")
