"""The papers' tables as they were printed, and notes on their cells."""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterable
from functools import cache
from importlib import resources

import pandas as pd


def published(paper: str, table: str) -> pd.DataFrame:
    """A table of a paper as printed, all cells as text, indexed by ``row``; ``attrs["source"]`` names it.

    A cell the paper leaves empty is ``""``. ``ValueError`` for an unknown paper or table names the nearest that exists.

    >>> published("vqgan", "III").loc["2D VQ-GAN F16/128", "SSIM"]
    '0.954'
    """
    tables: dict[str, list[str]] = {}
    for file in _published_files():
        name, _, number = file.removesuffix(".csv").partition("_")
        if number:
            tables.setdefault(name, []).append(number)
    check_known("paper", paper, tables)
    check_known(f"table of {paper}", table, tables[paper])
    source, frame = _read_published(f"{paper}_{table}.csv")
    frame = frame.set_index("row")
    frame.attrs["source"] = source
    return frame


def published_columns(paper: str, table: str) -> list[str]:
    """The columns of a published table that hold results, in its order."""
    _, columns = _read_published("columns.csv")
    return list(columns.loc[(columns["paper"] == paper) & (columns["table"] == table), "column"])


def printed_decimals(printed: pd.DataFrame, row: str, column: str) -> int:
    """Decimals of a printed cell; where nothing is printed, the most in its column; four in columns of our own."""
    if column not in printed.columns:
        return 4
    cells = [printed.loc[row, column]] if row in printed.index and printed.loc[row, column] else printed[column]
    return max(len(text.partition(".")[2]) for text in cells)


@cache
def published_notes(paper: str, table: str, row: str, column: str) -> tuple[str, ...]:
    """All notes on a cell of a published table, the most particular first."""
    _, notes = _read_published("notes.csv")
    notes = notes[(notes["paper"] == paper) & (notes["table"] == table)]
    by_cell = {cell: list(group) for cell, group in notes.groupby(["row", "column"], sort=False)["note"]}
    return tuple(
        note for cell in ((row, column), (row, "*"), ("*", column), ("*", "*")) for note in by_cell.get(cell, ())
    )


def _published_files() -> list[str]:
    return sorted(file.name for file in resources.files("motionkit").joinpath("published").iterdir())


@cache
def _read_published(file: str) -> tuple[str, pd.DataFrame]:
    """(the comment in the first line, the table as text)"""
    text = resources.files("motionkit").joinpath("published", file).read_text(encoding="utf-8")
    comment, _, table = text.partition("\n")
    return comment.removeprefix("# "), pd.read_csv(io.StringIO(table), dtype=str, keep_default_na=False)


def check_known(what: str, name: str, known: Iterable[str]) -> None:
    """Raises ``ValueError`` naming the nearest of what there is."""
    known = list(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown {what}: {name!r}{hint} There are: {', '.join(known)}")
