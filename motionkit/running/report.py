"""One HTML file of executed notebooks: it needs no network, no kernel and no other file.

Mathematics becomes MathML while the report is built, pictures are inside, skeletons play, plotly's script is added
once and only if a notebook shows a plotly figure. A content policy in the page forbids every request.
"""

from __future__ import annotations

import base64
import html
import json
import math
import mimetypes
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import latex2mathml.converter
import mistune
import nbformat
import pandas as pd
from nbconvert.filters.ansi import ansi2html, strip_ansi
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from motionkit.data.atomic import written_whole
from motionkit.results import RECORD_FILE, RunRecord, compare, load_record, load_results
from motionkit.running.parameters import notebook_parameters

_PLOTLY = "application/vnd.plotly.v1+json"
_POLICY = (
    "default-src 'none'; img-src data: blob:; media-src data:; font-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline' {scripts}; worker-src blob:"
)
_MATH = re.compile(
    r"(?P<code>^```.*?^```|^~~~.*?^~~~|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`))"
    r"|\$\$(?P<display>.+?)\$\$"
    r"|(?P<block>\\begin\{(?P<name>equation|align|gather)\*?\}.+?\\end\{(?P=name)\*?\})"
    r"|(?<![\\$\w])\$(?!\s)(?P<inline>[^$\n]*[^$\n\s\\])\$(?!\d)",
    re.DOTALL | re.MULTILINE,
)

_REMOTE_SOURCE = re.compile(
    r"(<(?:script|img|iframe|video|audio|source)\b[^>]*?\bsrc=)([\"'])(?:https?:)?//[^\"']*\2", re.IGNORECASE
)


def build_report(
    executed: Sequence[str | Path], results_folders: Iterable[str | Path] = (), out: str | Path = "report/index.html"
) -> Path:
    """Write one self-contained HTML file from executed notebooks and return its path.

    executed: notebooks with outputs, in reading order.
    results_folders: folders in or below which finished runs lie; their records fill the provenance boxes, their
        numbers the tables against the papers. A folder without a finished run is passed over.

    Raises ``ValueError`` for an unreadable notebook, or when there is none.
    """
    if not executed:
        raise ValueError("report: no executed notebooks were given")
    folders = [Path(folder) for folder in results_folders]
    records = _latest_records(folders)
    pages = [_Page.of(Path(path), records) for path in executed]
    against = _against_papers(folders)
    uses_plotly = any(page.uses_plotly for page in pages)
    text = _page(pages, against, uses_plotly)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(out) as aside:
        aside.write_text(text, encoding="utf-8")
    return out


# ---- the whole page --------------------------------------------------------------------------------------------------


def _page(pages: list[_Page], against: str, uses_plotly: bool) -> str:
    scripts = []
    if uses_plotly:
        from plotly.offline import get_plotlyjs

        scripts.append(get_plotlyjs())
    policy = _POLICY.format(scripts="'unsafe-eval'" if uses_plotly else "")
    light, dark = HtmlFormatter(style="friendly"), HtmlFormatter(style="github-dark")
    style = "\n".join([
        _asset("report.css"),
        re.sub(r"background: [^;]*;\s*", "", light.get_style_defs(".code pre")),
        "@media (prefers-color-scheme: dark) {",
        re.sub(r"background(-color)?: [^;}]*;?\s*", "", dark.get_style_defs(".code pre")),
        "}",
    ])  # fmt: skip
    head = "".join(f"<script>{script}</script>" for script in scripts)
    articles = "\n".join(page.article() for page in pages)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>motionkit report</title>
<style>{style}</style>
{head}</head>
<body>
{_side_bar(pages, bool(against))}
<main>
{_hero(pages)}
{against}
{articles}
</main>
<script>{_asset("report.js")}</script>
</body>
</html>
"""


def _asset(name: str) -> str:
    return files("motionkit.running").joinpath(name).read_text(encoding="utf-8")


def _side_bar(pages: list[_Page], against: bool) -> str:
    items = ['<li><a href="#against">Against the papers</a></li>'] if against else []
    for page in pages:
        inner = "".join(f'<li><a href="#{key}">{title}</a></li>' for key, title in page.sections)
        items.append(f'<li><a href="#{page.key}">{page.title}</a><ol>{inner}</ol></li>')
    return (
        '<aside class="side"><div class="row"><a class="brand" href="#top">motionkit</a>'
        '<button class="menu" aria-expanded="false">Contents</button></div>'
        f'<nav aria-label="Contents"><ol>{"".join(items)}</ol></nav>'
        '<div class="tools"><button class="all-code" aria-pressed="false">Show all code</button></div></aside>'
    )


def _hero(pages: list[_Page]) -> str:
    records = [page.record for page in pages if page.record]
    seconds = sum(page.duration_s for page in pages)
    facts = {
        "notebooks": str(len(pages)),
        "profile": ", ".join(dict.fromkeys(page.profile for page in pages if page.profile)),
        "data": ", ".join(dict.fromkeys(record.dataset for record in records if record.dataset)),
        "device": ", ".join(dict.fromkeys(record.device for record in records if record.device)),
        "code": ", ".join(dict.fromkeys(record.commit for record in records if record.commit)),
        "time": _duration(seconds) if seconds else "",
    }
    cells = "".join(f"<div><dt>{k}</dt><dd>{html.escape(v)}</dd></div>" for k, v in facts.items() if v)
    when = datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC")
    return (
        f'<header class="hero" id="top"><h1>motionkit report</h1><p>Made on {when}. This file is complete: it needs '
        f'no network and no Python.</p><dl class="facts">{cells}</dl></header>'
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


# ---- records and tables against the papers ---------------------------------------------------------------------------


def _latest_records(folders: Iterable[Path]) -> dict[str, RunRecord]:
    """The last started finished run of each notebook."""
    latest: dict[str, RunRecord] = {}
    for folder in folders:
        for path in sorted(folder.rglob(RECORD_FILE)):
            record = load_record(path.parent)
            key = Path(record.notebook).stem
            if key not in latest or record.started > latest[key].started:
                latest[key] = record
    return latest


def _against_papers(folders: Iterable[Path]) -> str:
    folders = [folder for folder in folders if any(folder.rglob(RECORD_FILE))]
    if not folders:
        return ""
    results, parts = load_results(folders), []
    for (paper, table, profile, dataset), rows in results.groupby(["paper", "table", "profile", "dataset"], sort=True):
        try:
            comparison = compare(paper, table, rows)
        except ValueError as error:  # a table of our own, without a published counterpart
            parts.append(f'<p class="note">{html.escape(str(error))}</p>')
            continue
        citation, _, title = comparison.attrs["source"].rpartition(", Table ")
        ours = f"ours, profile {profile}, data set {dataset or 'not named'}"
        about = f"{citation}. Bold: {ours}; below it the paper's number and the difference."
        parts.append(f'<h2>Table {html.escape(title)}</h2><p class="note">{html.escape(about)}</p>')
        parts.append(_comparison_html(comparison))
    body = "\n".join(parts)
    return f'<section class="against"><h1 id="against">Against the papers</h1>\n{body}</section>'


def _comparison_html(comparison: pd.DataFrame) -> str:
    """What was run, as a table with its notes below; what was not run, folded away."""
    ours = comparison[comparison["ours"].notna()]
    rest = comparison[comparison["ours"].isna()]
    text = _comparison_table(ours) if len(ours) else '<p class="note">Nothing of this table was run.</p>'
    if len(rest):
        summary = f"{len(rest)} published numbers without a run"
        text += f'<details class="more"><summary>{summary}</summary>{_comparison_table(rest)}</details>'
    return text


def _comparison_table(comparison: pd.DataFrame) -> str:
    """One line a model, one column a metric: ours, and below it the paper's number and the difference."""
    notes: dict[str, int] = {}
    numbers = comparison.groupby("column")[["paper", "ours"]]
    decimals = {column: max(map(_decimals, values.to_numpy().ravel())) for column, values in numbers}
    columns = list(dict.fromkeys(comparison["column"]))
    lines = []
    for row, cells in comparison.groupby("row", sort=False):
        by_column = {line["column"]: line for line in cells.to_dict("records")}
        shown = [_comparison_cell(by_column.get(column), decimals[column], notes) for column in columns]
        lines.append(f"<tr><th>{html.escape(row)}</th>{''.join(f'<td>{cell}</td>' for cell in shown)}</tr>")
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("", *columns))
    table = f'<table class="comparison"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    below = "".join(f'<p class="note"><sup>{k}</sup> {html.escape(note)}</p>' for note, k in notes.items())
    return f'<div class="scroll">{table}</div>{below}'


def _comparison_cell(cell: dict[str, Any] | None, decimals: int, notes: dict[str, int]) -> str:
    """``notes`` numbers the remarks; a new one is added to it."""
    if cell is None:
        return ""

    def number(name: str, sign: str = "") -> str:
        return f"{cell[name]:{sign}.{decimals}f}".replace("-", "−")

    has = {name: not math.isnan(cell[name]) for name in ("ours", "paper", "low")}
    text = f"<b>{number('ours')}</b>" if has["ours"] else ""
    if has["low"]:
        text += f"<small>{number('low')} to {number('high')}</small>"
    if has["paper"]:
        mark = f"<sup>{notes.setdefault(cell['note'], len(notes) + 1)}</sup>" if cell["note"] else ""
        text += f"<small>paper {number('paper')}{mark}</small>"
        text += f"<small>{number('difference', '+')}</small>" if has["ours"] else ""
    return text


def _decimals(value: float) -> int:
    """Decimals of a number that is rounded already (as those of ``compare`` are)."""
    return 0 if math.isnan(value) else len(f"{value:.8f}".rstrip("0").partition(".")[2])


# ---- one notebook ----------------------------------------------------------------------------------------------------


@dataclass
class _Page:
    """One notebook on its way into the report."""

    key: str
    title: str
    folder: Path
    notebook: nbformat.NotebookNode
    record: RunRecord | None
    sections: list[tuple[str, str]] = field(default_factory=list)
    uses_plotly: bool = False
    _parts: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path, records: dict[str, RunRecord]) -> _Page:
        try:
            notebook = nbformat.read(path, as_version=4)
        except Exception as error:  # nbformat raises many kinds for a damaged file
            raise ValueError(f"{path} is no readable notebook: {type(error).__name__}: {error}") from None
        page = cls(_slug(path.stem), html.escape(path.stem), path.parent, notebook, records.get(path.stem))
        page._render()
        return page

    @property
    def profile(self) -> str:
        known = self.notebook.metadata.get("motionkit", {}).get("profile", "")
        return known or (self.record.profile if self.record else "")

    @property
    def duration_s(self) -> float:
        return float(self.notebook.metadata.get("papermill", {}).get("duration") or 0.0)

    def article(self) -> str:
        return f'<article class="notebook">\n{"".join(self._parts)}\n</article>'

    def _render(self) -> None:
        titled = False
        code: list[str] = []  # cells that showed nothing wait for the next one that does: one fold for all of them
        for number, cell in enumerate(self.notebook.cells):
            if cell.cell_type == "markdown":
                self._parts.append(_code(code))
                code.clear()
                self._parts.append(self._markdown(cell, is_first=not titled))
                if not titled:
                    titled = True
                    self._parts.append(_provenance(self))
            elif cell.cell_type == "code" and cell.source.strip():
                if not titled:
                    titled = True
                    self._parts.append(f'<h1 id="{self.key}">{self.title}</h1>{_provenance(self)}')
                if "injected-parameters" not in cell.metadata.get("tags", ()):
                    code.append(cell.source)
                outputs = [self._output(output, f"{self.key}-{number}-{k}")
                           for k, output in enumerate(_merge_streams(cell.get("outputs", [])))]  # fmt: skip
                if any(outputs):
                    self._parts += [_code(code), *outputs]
                    code.clear()
        self._parts.append(_code(code))

    def _markdown(self, cell: nbformat.NotebookNode, is_first: bool) -> str:
        source = _inline_attachments(cell)
        text = _markdown_to_html(source, _Headings(self, is_first), self.folder)
        return text if not is_first or f'id="{self.key}"' in text else f'<div id="{self.key}"></div>{text}'

    def _output(self, output: nbformat.NotebookNode, key: str) -> str:
        if output.output_type == "stream":
            return _printed(output.text, output.name)
        if output.output_type == "error":
            text = ansi2html("\n".join(output.traceback))
            return f'<div class="text error"><pre>{text}</pre></div>'
        data = output.get("data", {})
        if _PLOTLY in data:
            self.uses_plotly = True
            figure = json.dumps(data[_PLOTLY]).replace("<", "\\u003c")
            return (
                f'<div class="figure" id="plot-{key}"></div><script>{{ const figure = {figure};\n'
                f'Plotly.newPlot("plot-{key}", figure.data, figure.layout, {{responsive: true, displaylogo: false}});'
                f"\nif (figure.frames) Plotly.addFrames('plot-{key}', figure.frames); }}</script>"
            )
        if "text/html" in data:
            return _rich_html(_joined(data["text/html"]))
        if "image/svg+xml" in data:
            return f'<div class="figure">{_joined(data["image/svg+xml"])}</div>'
        for kind in ("image/png", "image/jpeg", "image/gif"):
            if kind in data:
                return _picture(kind, _joined(data[kind]), output.get("metadata", {}).get(kind, {}))
        if "text/markdown" in data:
            return _markdown_to_html(_joined(data["text/markdown"]), None, self.folder)
        if "text/latex" in data:
            return _math(_joined(data["text/latex"]).strip().strip("$"), "block")
        if "application/vnd.jupyter.widget-view+json" in data:
            return '<p class="note">This control is live when the notebook is open in Jupyter.</p>'
        return _printed(_joined(data.get("text/plain", "")), "stdout")


def _provenance(page: _Page) -> str:
    """The box under a notebook's title: what ran, on what, how long."""
    record, papermill = page.record, page.notebook.metadata.get("papermill", {})
    facts: dict[str, str] = {"profile": page.profile}
    if record:
        data = record.dataset + (f" ({record.fingerprint[:12]})" if record.fingerprint else "")
        facts |= {"data": data, "seeds": ", ".join(map(str, record.seeds)), "device": record.device,
                  "code": record.commit, "torch": record.torch_version,
                  "perceptual features": record.perceptual}  # fmt: skip
    started = (record.started if record else papermill.get("start_time")) or ""
    facts["started"] = started.replace("T", " ")[:16] + (" UTC" if started else "")
    facts["time"] = _duration(page.duration_s) if page.duration_s else ""
    pairs = "".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in facts.items() if value)
    if not pairs:
        return ""
    parameters = {p.name: p.default for p in notebook_parameters(page.notebook).values()} | papermill.get(
        "parameters", {}
    )
    more = ""
    if parameters:
        rows = "".join(f"<div><dt>{html.escape(str(name))}</dt><dd>{html.escape(str(value))}</dd></div>"
                       for name, value in parameters.items())  # fmt: skip
        more = f'<details class="more"><summary>parameters ({len(parameters)})</summary><dl>{rows}</dl></details>'
    return f'<div class="box"><dl>{pairs}</dl>{more}</div>'


# ---- cells -----------------------------------------------------------------------------------------------------------


def _code(cells: Sequence[str]) -> str:
    """Code cells, folded away."""
    if not cells:
        return ""
    lines = sum(source.count("\n") + 1 for source in cells)
    bodies = "".join(f"<pre>{highlight(source, PythonLexer(), HtmlFormatter(nowrap=True))}</pre>" for source in cells)
    count = f"{lines} line{'s' if lines > 1 else ''}"
    return f'<details class="code"><summary>code, {count}</summary>{bodies}</details>\n'


def _merge_streams(outputs: Iterable[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    merged: list[nbformat.NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and merged and merged[-1].get("name") == output.name:
            merged[-1] = nbformat.from_dict({**merged[-1], "text": merged[-1].text + output.text})
        else:
            merged.append(output)
    return merged


def _printed(text: str, name: str) -> str:
    """Printed text as a terminal would leave it: a carriage return starts the line again."""
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        pieces = [piece for piece in line.split("\r") if strip_ansi(piece).strip()]
        lines.append(pieces[-1] if pieces else "")
    text = "\n".join(lines).rstrip()
    if not text.strip():
        return ""
    return f'<div class="text {html.escape(name)}"><pre>{ansi2html(text)}</pre></div>\n'


def _picture(kind: str, data: str, metadata: dict[str, Any]) -> str:
    size = "".join(f' {edge}="{int(metadata[edge])}"' for edge in ("width", "height") if edge in metadata)
    return f'<div class="figure"><img src="data:{kind};base64,{data.strip()}" alt="figure"{size}></div>\n'


def _rich_html(text: str) -> str:
    """HTML output as it is, without pandas' own style and without anything that would ask the network."""
    text = re.sub(r"<style scoped>.*?</style>", "", text, flags=re.DOTALL)
    text = _REMOTE_SOURCE.sub(r"\1\2data:,\2", text)
    text = re.sub(r"<link\b[^>]*\bhref=[\"'](?:https?:)?//[^>]*>", "", text)
    if "<table" in text and "<script" not in text:
        text = re.sub(r'border="\d+"', "", text)
        return f'<div class="scroll">{text}</div>\n'
    return f"{text}\n"


def _joined(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "".join(value)


def _inline_attachments(cell: nbformat.NotebookNode) -> str:
    source = cell.source
    for name, bundle in cell.get("attachments", {}).items():
        kind, data = next(iter(bundle.items()))
        source = source.replace(f"attachment:{name}", f"data:{kind};base64,{_joined(data)}")
    return source


# ---- text ------------------------------------------------------------------------------------------------------------


class _Headings:
    """Gives headings their anchors and collects the ones the side bar shows."""

    def __init__(self, page: _Page, is_first: bool) -> None:
        self.page, self.is_first = page, is_first

    def anchor(self, text: str, level: int) -> str:
        if level == 1 and self.is_first:
            self.is_first = False
            self.page.title = text
            return self.page.key
        key = f"{self.page.key}-{_slug(text)}"
        taken = [known for known, _ in self.page.sections]
        key = key if key not in taken else f"{key}-{len(taken)}"
        if level <= 2:
            self.page.sections.append((key, text))
        return key


class _Renderer(mistune.HTMLRenderer):
    def __init__(self, headings: _Headings | None, folder: Path) -> None:
        super().__init__(escape=False, allow_harmful_protocols=["data:"])
        self.headings, self.folder = headings, folder

    def heading(self, text: str, level: int, **_: Any) -> str:
        key = self.headings.anchor(re.sub(r"<(?!/?(sub|sup|code)\b)[^>]*>", "", text), level) if self.headings else ""
        return f'<h{level} id="{key}">{text}</h{level}>\n' if key else f"<h{level}>{text}</h{level}>\n"

    def block_code(self, code: str, info: str | None = None) -> str:
        body = highlight(code, PythonLexer(), HtmlFormatter(nowrap=True)) if info == "python" else html.escape(code)
        return f'<div class="text code"><pre>{body}</pre></div>\n'

    def image(self, text: str, url: str, title: str | None = None) -> str:
        if not url.startswith("data:"):
            path = (self.folder / url).resolve()
            if "://" in url or not path.is_file():
                return f'<span class="note">[picture {html.escape(text or url)}: not part of this file]</span>'
            kind = mimetypes.guess_type(path.name)[0] or "image/png"
            url = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
        return f'<img src="{url}" alt="{html.escape(text)}">'


def _markdown_to_html(source: str, headings: _Headings | None, folder: Path) -> str:
    """Markdown with mathematics; formulas are set aside first, so that markdown does not read them."""
    formulas: list[str] = []

    def set_aside(match: re.Match[str]) -> str:
        if match["code"]:
            return match["code"]
        latex = match["display"] or match["block"]
        formulas.append(_math(latex, "block") if latex else _math(match["inline"], "inline"))
        return f"mathformula{len(formulas) - 1}x"

    source = _MATH.sub(set_aside, source)
    markdown = mistune.create_markdown(
        renderer=_Renderer(headings, folder), plugins=["table", "strikethrough", "footnotes", "url"]
    )
    text = str(markdown(source))
    text = re.sub(r"(<table>.*?</table>)", r'<div class="scroll">\1</div>', text, flags=re.DOTALL)
    put_back = re.compile(r"mathformula(\d+)x")
    if headings:
        page = headings.page
        page.title = put_back.sub(lambda m: formulas[int(m[1])], page.title)
        page.sections = [(key, put_back.sub(lambda m: formulas[int(m[1])], title)) for key, title in page.sections]
    return put_back.sub(lambda m: formulas[int(m[1])], text)


def _math(latex: str, display: str) -> str:
    """MathML of a formula; its source as code where the converter does not know it."""
    try:
        return latex2mathml.converter.convert(latex.strip(), display=display)
    except Exception:  # the converter raises many kinds, and an unknown macro must not cost the report
        return f"<code>{html.escape(latex.strip())}</code>"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"<[^>]+>", "", html.unescape(text)).lower()).strip("-") or "section"
