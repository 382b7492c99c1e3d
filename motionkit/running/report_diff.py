"""What a report says, as data inside the file, and what changed in it since an earlier report.

Only that data is read from the earlier file, as JSON; nothing else of it is looked at, kept or executed.
"""

from __future__ import annotations

import difflib
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from motionkit.running.report_pages import Block, Page, plain
from motionkit.running.report_tables import Cell, Table

FORMAT = "motionkit report 1"
_OPENING = '<script type="application/json" id="motionkit-contents">'
_WORDS = {"text": "text", "code": "code", "printed": "printed text", "error": "error", "table": "table",
          "picture": "figure", "plot": "plot", "player": "skeleton player"}  # fmt: skip


def contents_of(pages: Sequence[Page], tables: Sequence[Table]) -> dict[str, Any]:
    """What a report says, in a form that json holds and a later report can be compared with."""
    return {
        "format": FORMAT,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "notebooks": [
            {
                "key": page.key,
                "title": plain(page.title),
                "facts": page.facts(),
                "parameters": page.parameters(),
                "blocks": [
                    {"kind": block.kind, "section": block.section, "content": block.content} for block in page.blocks
                ],
            }
            for page in pages
        ],
        "tables": [
            {
                "key": table.key,
                "title": table.title,
                "facts": table.facts,
                "cells": [[*cell, text] for cell, text in table.cells.items()],
            }
            for table in tables
        ],
    }


def embedded(contents: Mapping[str, Any]) -> str:
    """The contents as an element of the page that shows nothing and runs nothing."""
    text = json.dumps(contents, ensure_ascii=False, separators=(",", ":"))
    return _OPENING + text.replace("<", "\\u003c") + "</script>"


def read_contents(path: str | Path) -> dict[str, Any]:
    """The contents of an earlier report.

    Raises ``FileNotFoundError`` without the file, ``ValueError`` if it is no report or too old to have contents.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no report {path}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        text = ""
    # the last one: a page that quotes such an element cannot come after it
    _, found, rest = text.rpartition(_OPENING)
    try:
        contents = json.loads(rest.partition("</script>")[0]) if found else None
    except (ValueError, RecursionError):
        contents = None
    if not _is_contents(contents):
        raise ValueError(f"{path} is no report of motionkit, or one made before reports could be compared")
    return contents


def _is_contents(value: Any) -> bool:
    def fits(value: Any, shape: Any) -> bool:
        if isinstance(shape, list):
            return isinstance(value, list) and all(fits(item, shape[0]) for item in value)
        if shape is dict:
            return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
        if isinstance(shape, dict):
            return isinstance(value, dict) and all(name in value and fits(value[name], shape[name]) for name in shape)
        return any(fits(value, s) for s in shape) if isinstance(shape, tuple) else isinstance(value, shape)

    block = {"kind": str, "section": str, "content": (str, [[str]])}
    notebook = {"key": str, "title": str, "facts": dict, "parameters": dict, "blocks": [block]}
    table = {"key": str, "title": str, "facts": dict, "cells": [[str]]}
    shape = {"format": str, "made": str, "notebooks": [notebook], "tables": [table]}
    return (
        fits(value, shape)
        and value["format"] == FORMAT
        and all(len(c) == 3 for t in value["tables"] for c in t["cells"])
    )


# ---- comparing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """One line of the list of changes. ``kind`` is "changed", "added" or "removed"."""

    kind: str
    where: str
    what: str
    anchor: str
    before: str = ""
    after: str = ""


@dataclass
class Differences:
    """What differs from an earlier report, and where its marks belong.

    facts: (key of notebook or table, name) -> what it was, ``None`` if new; parameters likewise.
    cells: key of a table -> cell -> what it said, ``None`` if new.
    blocks: (key, index) -> the block as it was, ``None`` if new.
    removed: (key, index) -> earlier blocks that stood before that block and are gone.
    """

    made: str
    changes: list[Change] = field(default_factory=list)
    facts: dict[Cell, str | None] = field(default_factory=dict)
    parameters: dict[Cell, str | None] = field(default_factory=dict)
    cells: dict[str, dict[Cell, str | None]] = field(default_factory=dict)
    blocks: dict[tuple[str, int], dict | None] = field(default_factory=dict)
    removed: dict[tuple[str, int], list[dict]] = field(default_factory=dict)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Differences:
    """What changed from one report's contents to another's. The time a run started or took is no change."""
    found = Differences(old["made"])
    for kind in ("tables", "notebooks"):
        before, after = ({part["key"]: part for part in contents[kind]} for contents in (old, new))
        for key, part in after.items():
            if key not in before:
                found.changes.append(Change("added", part["title"], kind[:-1], key))
                continue
            _compare_named(found, found.facts, part, before[key]["facts"], part["facts"], "provenance")
            if kind == "tables":
                _compare_tables(found, part, before[key])
            else:
                _compare_named(
                    found, found.parameters, part, before[key]["parameters"], part["parameters"], "parameter"
                )
                _compare_blocks(found, part, before[key]["blocks"])
        for key, part in before.items():
            if key not in after:
                found.changes.append(Change("removed", part["title"], kind[:-1], ""))
    return found


def _compare_named(
    found: Differences, marks: dict, part: Mapping, before: Mapping[str, str], after: Mapping[str, str], what: str
) -> None:
    for name in dict.fromkeys([*after, *before]):
        was, now = before.get(name), after.get(name)
        if was == now or name in ("started", "time"):
            continue
        kind = "added" if was is None else "removed" if now is None else "changed"
        found.changes.append(Change(kind, part["title"], f"{what} {name}", f"box-{part['key']}", was or "", now or ""))
        marks[part["key"], name] = was


def _compare_tables(found: Differences, part: Mapping, before: Mapping) -> None:
    was = {(row, column): text for row, column, text in before["cells"]}
    now = {(row, column): text for row, column, text in part["cells"]}
    marks = found.cells.setdefault(part["key"], {})
    for cell in dict.fromkeys([*now, *was]):
        if was.get(cell) == now.get(cell):
            continue
        kind = "added" if cell not in was else "removed" if cell not in now else "changed"
        values = was.get(cell, ""), now.get(cell, "")
        found.changes.append(Change(kind, part["title"], f"cell {', '.join(cell)}", part["key"], *values))
        if cell in now:
            marks[cell] = was.get(cell)


def _compare_blocks(found: Differences, part: Mapping, before: Sequence[Mapping]) -> None:
    """Blocks that are equal are found first; between them, blocks of one kind are taken for each other in order."""
    key, after = part["key"], part["blocks"]
    marks = [[(b["kind"], json.dumps(b["content"])) for b in blocks] for blocks in (before, after)]
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, *marks, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        gone = list(range(i1, i2))
        for j in range(j1, j2):
            alike = [i for i in gone if before[i]["kind"] == after[j]["kind"]]
            was = before[alike[0]] if alike else None
            if after[j]["kind"] != "other":
                found.blocks[key, j] = dict(was) if was else None
                kind, what = "changed" if was else "added", _WORDS.get(after[j]["kind"], "output")
                found.changes.append(Change(kind, _place(part, after[j]), what, f"block-{key}-{j}"))
            if alike:
                gone.remove(alike[0])
        for i in gone:
            if before[i]["kind"] != "other":
                found.removed.setdefault((key, j2), []).append(dict(before[i]))
                what = _WORDS.get(before[i]["kind"], "output")
                found.changes.append(Change("removed", _place(part, before[i]), what, f"gone-{key}-{j2}"))


def _place(part: Mapping, block: Mapping) -> str:
    return " · ".join(text for text in (part["title"], block["section"]) if text)


# ---- marking ---------------------------------------------------------------------------------------------------------


def summary_html(found: Differences) -> str:
    """The list of all changes, each with a link to its place."""
    made = found.made.replace("T", " ")[:16]
    head = f'<section class="changes"><h1 id="changes">Changes since {html.escape(made)} UTC</h1>'
    if not found.changes:
        return f'{head}<p class="note">Nothing but the time.</p></section>'
    counts = {kind: sum(change.kind == kind for change in found.changes) for kind in ("changed", "added", "removed")}
    text = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    groups: dict[str, list[Change]] = {}
    for change in found.changes:
        groups.setdefault(change.where, []).append(change)
    parts = [head, f'<p class="note">{text}. Code, text, tables, figures and provenance are compared.</p>']
    for where, changes in groups.items():
        cells = [change for change in changes if change.what.startswith("cell ")]
        cells = cells if len(cells) > _MANY else []  # a whole table of them is folded away
        parts.append(f"<h3>{html.escape(where)}</h3>{_list(change for change in changes if change not in cells)}")
        if cells:
            fold = f"<summary>{len(cells)} cells of the table</summary>{_list(cells)}"
            parts.append(f'<details class="more">{fold}</details>')
    return "".join(parts) + "</section>"


_MANY = 12


def _list(changes: Iterable[Change]) -> str:
    return f"<ul>{''.join(f'<li>{_line(change)}</li>' for change in changes)}</ul>"


def _line(change: Change) -> str:
    what = html.escape(change.what)
    what = f'<a href="#{html.escape(change.anchor)}">{what}</a>' if change.anchor else what
    values = [f"<s>{html.escape(change.before)}</s>"] if change.before else []
    values += [html.escape(change.after)] if change.after else []
    return f'<span class="tag {change.kind}">{change.kind}</span> {what}' + (
        f": {' → '.join(values)}" if values else ""
    )


def marked(block: Block, key: str, index: int, found: Differences) -> str:
    """A block's HTML, with its mark if it is new or changed, after what stood here before and is gone."""
    gone = _gone(key, index, found)
    if (key, index) not in found.blocks:
        return gone + block.html
    was = found.blocks[key, index]
    kind = "added" if was is None else "changed"
    body = block.html
    if was is not None and block.kind == "table" and isinstance(was["content"], list):
        body = _mark_cells(block, was["content"])
    elif was is not None and isinstance(block.content, str) and block.kind in ("text", "code", "printed", "error"):
        compared = _compared_text(str(was["content"]), block.content)
        body += f'<details class="more before"><summary>what changed</summary><pre>{compared}</pre></details>'
    return f'{gone}<div class="mark {kind}" id="block-{key}-{index}"><span class="tag {kind}">{kind}</span>{body}</div>'


def _gone(key: str, index: int, found: Differences) -> str:
    parts = []
    for block in found.removed.get((key, index), []):
        what, content = _WORDS.get(block["kind"], "output"), block["content"]
        if block["kind"] in ("picture", "plot", "player"):
            parts.append(f"<p>{what}</p>")
            continue
        text = content if isinstance(content, str) else "\n".join(" | ".join(row) for row in content)
        pre = f"<pre><del>{html.escape(text)}</del></pre>"
        parts.append(f'<details class="more before"><summary>{what}</summary>{pre}</details>')
    if not parts:
        return ""
    tag = '<span class="tag removed">removed</span>'
    return f'<div class="mark removed" id="gone-{key}-{index}">{tag}{"".join(parts)}</div>'


def marked_end(key: str, count: int, found: Differences) -> str:
    """What stood at the end of a page and is gone."""
    return _gone(key, count, found)


def _mark_cells(block: Block, was: list[list[str]]) -> str:
    """The table with its changed and new cells marked; rows and columns are known by their first cells."""
    now = block.content
    before = _by_label(was)
    labels = [(cell, label) for row in _labels(now) for cell, label in row]
    texts = [cell for row in now for cell in row]
    tags = iter(range(len(texts)))

    def mark(match: re.Match[str]) -> str:
        number = next(tags, None)
        if number is None:
            return match[0]
        (_, label), text = labels[number], texts[number]
        if label in before and _is_same(before[label], text):
            return match[0]
        kind, note = ("added", "added") if label not in before else ("changed", f"was {before[label]}")
        return f'<{match[1]} class="{kind}" title="{html.escape(note)}"{match[2]}>'

    return re.sub(r"<(t[dh])\b([^>]*)>", mark, block.html)


def _is_same(before: str, after: str) -> bool:
    """Whether two cells say the same: one number may be written with more decimals because of another."""
    try:
        return before == after or float(before) == float(after)
    except ValueError:
        return False


def _labels(rows: Sequence[Sequence[str]]) -> list[list[tuple[str, tuple]]]:
    """Each cell with what it is known by: its row's first cell, its column's, and how often these came before."""
    head, seen, out = list(rows[0]) if rows else [], {}, []
    for row in rows:
        first = row[0] if row else ""
        seen[first] = count = seen.get(first, 0) + 1
        known = head if len(row) == len(head) else range(len(row))
        out.append([(cell, (first, count, str(name), k if name == "" else 0)) for k, (cell, name) in
                    enumerate(zip(row, known, strict=True))])  # fmt: skip
    return out


def _by_label(rows: Sequence[Sequence[str]]) -> dict[tuple, str]:
    return {label: cell for row in _labels(rows) for cell, label in row}


def _compared_text(before: str, after: str) -> str:
    """Both texts in one, what went and what came told apart: line by line, and word by word in lines that changed."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    parts = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "replace" and i2 - i1 == j2 - j1:
            parts += [_compared_words(was, now) for was, now in zip(old[i1:i2], new[j1:j2], strict=True)]
        else:
            parts.append(_told_apart(tag, "".join(old[i1:i2]), "".join(new[j1:j2])))
    return "".join(parts)


def _compared_words(before: str, after: str) -> str:
    old, new = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in (before, after))
    codes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return "".join(_told_apart(tag, "".join(old[i1:i2]), "".join(new[j1:j2])) for tag, i1, i2, j1, j2 in codes)


def _told_apart(tag: str, before: str, after: str) -> str:
    if tag == "equal":
        return html.escape(after)
    gone = f"<del>{html.escape(before)}</del>" if before else ""
    return gone + (f"<ins>{html.escape(after)}</ins>" if after else "")


def named_html(pairs: Iterable[tuple[str, str]], key: str, marks: Mapping[Cell, str | None], wrap: str = "{}") -> str:
    """Names and values for a list of definitions, marked where they were others; those that are gone, too."""
    known, parts = dict(pairs), []
    for name in dict.fromkeys([*known, *(name for part, name in marks if part == key)]):
        value, note, kind = html.escape(known.get(name, "")), "", ""
        if (key, name) in marks:
            was = marks[key, name]
            kind = "added" if was is None else "changed" if name in known else "removed"
            note = f'<small class="was">{"added" if was is None else html.escape(f"was {was}")}</small>'
        mark = f' class="{kind}"' if kind else ""
        parts.append(wrap.format(f"<dt>{html.escape(name)}</dt><dd{mark}>{value}{note}</dd>"))
    return "".join(parts)
