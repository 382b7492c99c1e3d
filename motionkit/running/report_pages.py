"""One executed notebook on its way into the report: a list of blocks, each with its HTML and with what it holds."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import mimetypes
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import latex2mathml.converter
import mistune
import nbformat
from nbconvert.filters.ansi import ansi2html, strip_ansi
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from motionkit.results import RunRecord
from motionkit.running.parameters import notebook_parameters

_PLOTLY = "application/vnd.plotly.v1+json"
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


@dataclass(frozen=True)
class Block:
    """A part of a page. ``content`` is what two reports are compared by.

    kind: "text", "code", "printed", "error", "table", "picture", "plot", "player" or "other".
    content: text, rows of cells for a table, a checksum for what is looked at.
    section: the heading it stands under, as plain text.
    """

    kind: str
    html: str
    content: str | list[list[str]]
    section: str


@dataclass
class Page:
    """One notebook: its title, what is known of its run, its sections for the contents, its blocks."""

    key: str
    title: str
    folder: Path
    notebook: nbformat.NotebookNode
    record: RunRecord | None
    sections: list[tuple[str, str]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path, records: Iterable[RunRecord]) -> Page:
        """Read an executed notebook; its own record is looked for among the given ones.

        Raises ``ValueError`` if it cannot be read.
        """
        try:
            notebook = nbformat.read(path, as_version=4)
        except Exception as error:  # nbformat raises many kinds for a damaged file
            raise ValueError(f"{path} is no readable notebook: {type(error).__name__}: {error}") from None
        page = cls(
            slug(path.stem), html.escape(path.stem), path.parent, notebook, _own_record(path.stem, notebook, records)
        )
        page._render()
        return page

    @property
    def profile(self) -> str:
        known = self.notebook.metadata.get("motionkit", {}).get("profile", "")
        return known or (self.record.profile if self.record else "")

    @property
    def duration_s(self) -> float:
        return float(self.notebook.metadata.get("papermill", {}).get("duration") or 0.0)

    def facts(self) -> dict[str, str]:
        """What ran, on what, how long; empty ones left out."""
        record, papermill = self.record, self.notebook.metadata.get("papermill", {})
        facts: dict[str, str] = {"profile": self.profile}
        if record:
            data = record.dataset + (f" ({record.fingerprint[:12]})" if record.fingerprint else "")
            facts |= {"data": data, "seeds": ", ".join(map(str, record.seeds)), "device": record.device,
                      "code": record.commit, "torch": record.torch_version,
                      "perceptual features": record.perceptual}  # fmt: skip
        started = (record.started if record else papermill.get("start_time")) or ""
        facts["started"] = started.replace("T", " ")[:16] + (" UTC" if started else "")
        facts["time"] = duration(self.duration_s) if self.duration_s else ""
        return {name: value for name, value in facts.items() if value}

    def parameters(self) -> dict[str, str]:
        """The notebook's parameters as it ran with them."""
        declared = {p.name: p.default for p in notebook_parameters(self.notebook).values()}
        given = self.notebook.metadata.get("papermill", {}).get("parameters", {})
        return {str(name): str(value) for name, value in (declared | given).items()}

    def _render(self) -> None:
        code: list[str] = []  # cells that showed nothing wait for the next one that does: one fold for all of them
        for number, cell in enumerate(self.notebook.cells):
            if cell.cell_type == "markdown":
                self._add_code(code)
                self._add_text(cell)
            elif cell.cell_type == "code" and cell.source.strip():
                if not self.blocks:
                    self._add("text", f'<h1 id="{self.key}">{self.title}</h1>', self.title)
                if "injected-parameters" not in cell.metadata.get("tags", ()):
                    code.append(cell.source)
                outputs = [self._output(output, f"{self.key}-{number}-{k}")
                           for k, output in enumerate(_merge_streams(cell.get("outputs", [])))]  # fmt: skip
                if any(text for _, text, _ in outputs):
                    self._add_code(code)
                    for output in outputs:
                        self._add(*output)
        self._add_code(code)

    def _add(self, kind: str, text: str, content: str | list[list[str]]) -> None:
        if text:
            section = plain(self.sections[-1][1]) if self.sections else ""
            self.blocks.append(Block(kind, text, content, section))

    def _add_code(self, cells: list[str]) -> None:
        self._add("code", _code(cells), "\n\n".join(cells))
        cells.clear()

    def _add_text(self, cell: nbformat.NotebookNode) -> None:
        text = _markdown_to_html(_inline_attachments(cell), _Headings(self, not self.blocks), self.folder)
        if not self.blocks and f'id="{self.key}"' not in text:
            text = f'<div id="{self.key}"></div>{text}'
        self._add("text", text, cell.source.strip())

    def _output(self, output: nbformat.NotebookNode, key: str) -> tuple[str, str, str | list[list[str]]]:
        """(kind, HTML, content) of one output."""
        if output.output_type == "stream":
            # what goes to stderr, progress bars and warnings, differs from run to run and tells nothing of the results
            kind = "printed" if output.name == "stdout" else "other"
            return kind, _printed(output.text, output.name), _as_shown(output.text) if kind == "printed" else ""
        if output.output_type == "error":
            text = "\n".join(output.traceback)
            return "error", f'<div class="text error"><pre>{ansi2html(text)}</pre></div>', strip_ansi(text)
        data = output.get("data", {})
        if _PLOTLY in data:
            figure = json.dumps(data[_PLOTLY], sort_keys=True).replace("<", "\\u003c")
            text = (
                f'<div class="figure plot" id="plot-{key}"></div><script>{{ const figure = {figure};\n'
                f'Plotly.newPlot("plot-{key}", figure.data, figure.layout, {{responsive: true, displaylogo: false}});'
                f"\nif (figure.frames) Plotly.addFrames('plot-{key}', figure.frames); }}</script>"
            )
            return "plot", text, _checksum(figure)
        if "text/html" in data:
            return _rich_html(_joined(data["text/html"]))
        if "image/svg+xml" in data:
            picture = _joined(data["image/svg+xml"])
            return "picture", f'<div class="figure">{picture}</div>', _checksum(picture)
        for kind in ("image/png", "image/jpeg", "image/gif"):
            if kind in data:
                picture = _joined(data[kind]).strip()
                return "picture", _picture(kind, picture, output.get("metadata", {}).get(kind, {})), _checksum(picture)
        if "text/markdown" in data:
            source = _joined(data["text/markdown"])
            return "text", _markdown_to_html(source, None, self.folder), source
        if "text/latex" in data:
            source = _joined(data["text/latex"])
            return "text", _math(source.strip().strip("$"), "block"), source
        if "application/vnd.jupyter.widget-view+json" in data:
            return "other", '<p class="note">This control is live when the notebook is open in Jupyter.</p>', ""
        text = _joined(data.get("text/plain", ""))
        return "printed", _printed(text, "stdout"), _as_shown(text)


def _own_record(name: str, notebook: nbformat.NotebookNode, records: Iterable[RunRecord]) -> RunRecord | None:
    """The record that this run of the notebook wrote: it started while the notebook ran.

    Where nothing tells when that was (it was run by hand), the last record of the notebook.
    """
    mine = sorted((r for r in records if Path(r.notebook).stem == name), key=lambda record: record.started)
    ran = notebook.metadata.get("papermill", {})
    if ran.get("start_time") and ran.get("end_time"):
        first, last = (_utc(ran[key]) for key in ("start_time", "end_time"))
        mine = [record for record in mine if record.started and first <= _utc(record.started) <= last]
    return mine[-1] if mine else None


def _utc(time: str) -> datetime:
    known = datetime.fromisoformat(time)
    return known if known.tzinfo else known.replace(tzinfo=UTC)


def plain(text: str) -> str:
    """HTML without its tags."""
    return html.unescape(re.sub(r"<[^>]+>", "", text))


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", plain(text).lower()).strip("-") or "section"


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


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


def _as_shown(text: str) -> str:
    """Printed text as a terminal would leave it: a carriage return starts the line again."""
    lines = []
    for line in strip_ansi(text).replace("\r\n", "\n").split("\n"):
        pieces = [piece for piece in line.split("\r") if piece.strip()]
        lines.append(pieces[-1] if pieces else "")
    return "\n".join(lines).rstrip()


def _picture(kind: str, data: str, metadata: dict[str, Any]) -> str:
    size = "".join(f' {edge}="{int(metadata[edge])}"' for edge in ("width", "height") if edge in metadata)
    return f'<div class="figure"><img src="data:{kind};base64,{data.strip()}" alt="figure"{size}></div>\n'


def _rich_html(text: str) -> tuple[str, str, str | list[list[str]]]:
    """(kind, HTML, content): as it is, without pandas' own style and without anything that would ask the network."""
    text = re.sub(r"<style scoped>.*?</style>", "", text, flags=re.DOTALL)
    text = _REMOTE_SOURCE.sub(r"\1\2data:,\2", text)
    text = re.sub(r"<link\b[^>]*\bhref=[\"'](?:https?:)?//[^>]*>", "", text)
    if "<table" in text and "<script" not in text:
        text = re.sub(r'border="\d+"', "", text)
        return "table", f'<div class="scroll">{text}</div>\n', cells_of(text)
    if player := re.search(r'data-player="(\w+)"', text):  # its key is a checksum of what it plays
        return "player", f'<div class="figure">{text}</div>\n', player[1]
    return "other", f"{text}\n", _checksum(text)


class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.is_inside = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr" or (tag in ("td", "th") and not self.rows):
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.is_inside = True

    def handle_endtag(self, tag: str) -> None:
        self.is_inside = self.is_inside and tag not in ("td", "th", "tr", "table")

    def handle_data(self, data: str) -> None:
        if self.is_inside:
            self.rows[-1][-1] += data


def cells_of(table: str) -> list[list[str]]:
    """The texts of the cells of an HTML table, line by line, in the order they are written."""
    parser = _Cells()
    parser.feed(table)
    return [[" ".join(cell.split()) for cell in row] for row in parser.rows]


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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

    def __init__(self, page: Page, is_first: bool) -> None:
        self.page, self.is_first = page, is_first

    def anchor(self, text: str, level: int) -> str:
        if level == 1 and self.is_first:
            self.is_first = False
            self.page.title = text
            return self.page.key
        key = f"{self.page.key}-{slug(text)}"
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
