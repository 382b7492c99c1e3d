"""Results as tables of text: for the terminal, notebooks, reports and files (CSV, Markdown, LaTeX).

``motionkit.results`` has the numbers; from here on they are only shown.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from motionkit.data.atomic import written_whole
from motionkit.results import printed_decimals, published, published_notes


def comparison_texts(comparison: pd.DataFrame) -> pd.DataFrame:
    """``compare``'s table, or some of its lines, as text; what is not there is called missing, notes are one a line.

    The terminal, the notebooks, the report and the written files all show these texts.
    """
    where, expected = (comparison.attrs["paper"], comparison.attrs["table"]), comparison.attrs["expected_seeds"]
    printed, lines = published(*where), []
    for cell in comparison.to_dict("records"):
        decimals = printed_decimals(printed, cell["row"], cell["column"])
        text = {k: f"{v:.{decimals}f}" for k, v in cell.items() if isinstance(v, float) and not math.isnan(v)}
        lines.append({
            "row": labelled(cell),
            "column": cell["column"],
            "paper": text.get("paper", "missing"),
            "ours": text.get("ours", "missing"),
            "95 % interval": f"{text['low']} .. {text['high']}" if "low" in text else "",
            "seeds": _seeds_text(cell["num_seeds"], expected) if "ours" in text else "",
            "difference": f"{cell['difference']:+.{decimals}f}" if "difference" in text else "",
            "note": "\n".join(published_notes(*where, cell["row"], cell["column"])) if cell["note"] else "",
        })  # fmt: skip
    names = ["row", "column", "paper", "ours", "95 % interval", "seeds", "difference", "note"]
    return pd.DataFrame(lines, columns=names)


def format_comparison(comparison: pd.DataFrame, width: int = 92) -> str:
    """``compare``'s table, or some of its lines, as text with the notes below it; as wide as a notebook's page."""
    texts, footnotes = comparison_texts(comparison), {}

    def marks(notes: str) -> str:
        return "".join(f"[{footnotes.setdefault(note, len(footnotes) + 1)}]" for note in notes.splitlines())

    texts["note"] = [marks(notes) for notes in texts["note"]]
    text = [textwrap.fill(comparison.attrs["source"], width), format_table(texts, "<<>>>>><")]
    for note, mark in footnotes.items():
        text.append(textwrap.fill(f"[{mark}] {note}", width, subsequent_indent="    ", break_on_hyphens=False))
    return "\n".join(text)


def pivot_texts(table: pd.DataFrame) -> pd.DataFrame:
    """``pivot``'s table as text, one line a row, one column a metric: ``0.912 ± 0.011 (3)``, or ``missing``.

    Mean, half the 95 % interval, number of seeds; ``""`` where a metric does not belong to a row. Numbers have four
    digits that count, as many decimals as the largest of their column needs.
    """
    expected, cells = table.attrs.get("expected_seeds", 0), {}
    largest = table.groupby("column")["value"].apply(lambda values: values.abs().max()).to_dict()
    for cell in table.to_dict("records"):
        size = largest[cell["column"]]
        decimals = min(6, max(0, 3 - math.floor(math.log10(size)))) if size > 0 else 4
        text = "missing"
        if cell["num_seeds"]:
            text = f"{cell['value']:.{decimals}f}"
            text += "" if math.isnan(cell["high"]) else f" ± {cell['high'] - cell['value']:.{decimals}f}"
            text += f" ({_seeds_text(cell['num_seeds'], expected)})"
        cells.setdefault(labelled(cell), {})[cell["column"]] = text
    columns = list(dict.fromkeys(table["column"]))
    lines = [{"row": row} | {column: found.get(column, "") for column in columns} for row, found in cells.items()]
    return pd.DataFrame(lines, columns=["row", *columns])


def format_pivot(table: pd.DataFrame, width: int = 110) -> str:
    """``pivot``'s table as text for a terminal or a notebook; too many columns continue below."""
    if table.empty:
        return "nothing has run yet"
    about = "mean ± half the 95 % interval over seeds (number of seeds)"
    return f"{about}\n{format_table(pivot_texts(table), width=width)}"


def format_table(texts: pd.DataFrame, align: str = "", width: int | None = None) -> str:
    """A table of texts in columns. align: ``<`` or ``>`` a column; left, then right by default.

    width: columns that would reach beyond it continue below, each part with the first column again.
    """
    align = align or "<" + ">" * (texts.shape[1] - 1)
    columns = [[name, *texts[name]] for name in texts.columns]
    widths = [max(map(len, column)) for column in columns]
    parts = [[0]]
    for number in range(1, len(columns)):
        used = sum(widths[n] + 2 for n in parts[-1])
        if width is not None and len(parts[-1]) > 1 and used + widths[number] > width:
            parts.append([0])
        parts[-1].append(number)
    text = []
    for part in parts:
        rows = list(zip(*(columns[n] for n in part), strict=True))
        rows.insert(1, tuple("-" * widths[n] for n in part))
        text += [
            "  ".join(f"{c:{align[n]}{widths[n]}}" for c, n in zip(row, part, strict=True)).rstrip() for row in rows
        ]
        text.append("")
    return "\n".join(text[:-1])


def format_runs(table: pd.DataFrame, width: int = 110) -> str:
    """``runs_table`` as text: first what all runs have in common, then the rest, numbers with four digits."""
    common = [
        name for name in table.columns if name != "row" and len(table) > 1 and table[name].nunique(dropna=False) == 1
    ]
    head = [f"{name}: {_short(table[name].iloc[0])}" for name in common]
    rest = table.drop(columns=common)
    texts = rest.map(_short)
    if "started" in texts:
        texts["started"] = texts["started"].str.replace("T", " ").str[:16]
    texts = texts.rename(columns={"duration_s": "seconds"})
    align = "".join("<" if rest[name].dtype.kind not in "fi" else ">" for name in rest.columns)
    text = textwrap.fill("in common: " + "; ".join(head), width) + "\n" if head else ""
    return text + format_table(texts, align, width)


def write_table(path: str | Path, numbers: pd.DataFrame, texts: pd.DataFrame | None = None) -> Path:
    """Write a table as the file's suffix says: ``.csv``, ``.parquet``, ``.md`` or ``.tex`` (LaTeX with booktabs).

    numbers: what csv and parquet hold. texts: what Markdown and LaTeX show, in place of the numbers in short.

    Raises ``ValueError`` for another suffix. The file appears whole or not at all; its folder is made if need be.
    """
    path = Path(path)
    shown = numbers.map(_short) if texts is None else texts
    writers = {
        ".csv": lambda aside: numbers.to_csv(aside, index=False),
        ".parquet": lambda aside: numbers.to_parquet(aside, index=False),
        ".md": lambda aside: aside.write_text(_markdown(shown), encoding="utf-8"),
        ".tex": lambda aside: aside.write_text(_latex(shown), encoding="utf-8"),
    }
    if path.suffix not in writers:
        raise ValueError(f"{path}: cannot write {path.suffix or 'a file without a suffix'}; use {', '.join(writers)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as aside:
        writers[path.suffix](aside)
    return path


def labelled(cell: Mapping[str, Any]) -> str:
    """The row of a pooled cell, with its setting if it has one."""
    return f"{cell['row']} ({cell['setting']})" if cell["setting"] else cell["row"]


def _seeds_text(num_seeds: int, expected: int) -> str:
    return f"{num_seeds} of {expected}" if num_seeds < expected else str(num_seeds)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return str(value)


def _markdown(texts: pd.DataFrame) -> str:
    lines = [list(texts.columns), ["---"] * texts.shape[1], *texts.to_numpy().tolist()]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |\n" for line in lines
    )


def _latex(texts: pd.DataFrame) -> str:
    special = {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
    special |= {"\n": " ", "^": r"\textasciicircum{}", "±": r"$\pm$"}
    escape = str.maketrans(special)
    lines = [" & ".join(cell.translate(escape) for cell in line) + r" \\" for line in texts.to_numpy().tolist()]
    head = " & ".join(name.translate(escape) for name in texts.columns) + r" \\"
    columns = "l" + "r" * (texts.shape[1] - 1)
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *lines, r"\bottomrule",
                      r"\end{tabular}", ""])  # fmt: skip
