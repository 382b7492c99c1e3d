"""One HTML file of executed notebooks: it needs no network, no kernel and no other file.

Mathematics becomes MathML while the report is built, pictures are inside, skeletons play, plotly's script is added
once and only if a notebook shows a plotly figure. A content policy in the page forbids every request.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from pygments.formatters import HtmlFormatter

from motionkit.data.atomic import written_whole
from motionkit.results import RECORD_FILE, load_record
from motionkit.running.report_diff import (
    Differences,
    contents_of,
    differences,
    embedded,
    marked,
    marked_end,
    named_html,
    read_contents,
    summary_html,
)
from motionkit.running.report_pages import Page, duration, plain
from motionkit.running.report_tables import Sweep, Table, comparison_html, failures_html, pooled_html, tables_of

MAX_MB = 25  # what a report may weigh: it is handed on by mail
_POLICY = (
    "default-src 'none'; img-src data: blob:; media-src data:; font-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline' {scripts}; worker-src blob:"
)
# A browser that prints without a window draws no frames while it waits: what asks for one gets its turn from a timer.
_FRAMES = """if (location.hash === "#print") {
  window.requestAnimationFrame = (step) => setTimeout(() => step(performance.now()), 1);
}"""


def build_report(
    executed: Sequence[str | Path],
    results_folders: Iterable[str | Path] = (),
    out: str | Path = "report/index.html",
    diff: str | Path | None = None,
) -> Path:
    """Write one self-contained HTML file from executed notebooks and return its path.

    executed: notebooks with outputs, in reading order.
    results_folders: folders in or below which finished runs or sweeps lie; their records fill the provenance boxes,
        their numbers the tables against the papers. A folder without a finished run is passed over.
    diff: an earlier report; what changed since then is listed first and marked in place.

    Raises ``ValueError`` for an unreadable notebook, when there is none, or when ``diff`` is no report.
    """
    if not executed:
        raise ValueError("report: no executed notebooks were given")
    earlier = None if diff is None else read_contents(diff)
    folders = [Path(folder) for folder in results_folders]
    tables, sweeps = tables_of(folders)
    in_sweeps = {sweep.folder for sweep in sweeps}
    paths = [path for folder in folders for path in sorted(folder.rglob(RECORD_FILE))]
    records = [load_record(path.parent) for path in paths if not in_sweeps & set(path.parents)]
    pages = [Page.of(Path(path), records) for path in executed]
    contents = contents_of(pages, [*tables, *(table for sweep in sweeps for table in sweep.tables)])
    found = Differences("") if earlier is None else differences(earlier, contents)
    sections = [_tables_section(tables, found)] if tables else []
    sections += [_sweep_section(sweep, found) for sweep in sweeps]
    sections += [_article(page, found) for page in pages]
    if earlier is not None:
        sections.insert(0, summary_html(found))
    uses_plotly = any(block.kind == "plot" for page in pages for block in page.blocks)
    text = _page(
        pages, _navigation(pages, tables, sweeps, earlier is not None), sections, uses_plotly, embedded(contents)
    )
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(out) as aside:
        aside.write_text(text, encoding="utf-8")
    return out


# ---- the whole page --------------------------------------------------------------------------------------------------


def _page(pages: list[Page], navigation: str, sections: list[str], uses_plotly: bool, contents: str) -> str:
    head = ""
    if uses_plotly:
        from plotly.offline import get_plotlyjs

        head = f"<script>{get_plotlyjs()}</script>"
    policy = _POLICY.format(scripts="'unsafe-eval'" if uses_plotly else "")
    body = "\n".join(sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>motionkit report</title>
<style>{_style()}</style>
<script>{_FRAMES}</script>
{head}</head>
<body>
<aside class="side"><div class="row"><a class="brand" href="#top">motionkit</a>\
<button class="menu" aria-expanded="false">Contents</button></div>
<nav aria-label="Contents">{navigation}</nav>
<div class="tools"><button class="all-code" aria-pressed="false">Show all code</button></div></aside>
<main>
{_hero(pages)}
<div class="contents" aria-hidden="true"><h2>Contents</h2>{navigation}</div>
{body}
</main>
{contents}
<script>{_asset("report.js")}</script>
</body>
</html>
"""


def _style() -> str:
    light, dark = HtmlFormatter(style="friendly"), HtmlFormatter(style="github-dark")
    return "\n".join([
        _asset("report.css"),
        re.sub(r"background: [^;]*;\s*", "", light.get_style_defs(".code pre")),
        "@media screen and (prefers-color-scheme: dark) {",
        re.sub(r"background(-color)?: [^;}]*;?\s*", "", dark.get_style_defs(".code pre")),
        "}",
    ])  # fmt: skip


def _asset(name: str) -> str:
    return files("motionkit.running").joinpath(name).read_text(encoding="utf-8")


def _navigation(pages: list[Page], tables: list[Table], sweeps: list[Sweep], has_changes: bool) -> str:
    items = ['<li><a href="#changes">Changes</a></li>'] if has_changes else []
    if tables:
        items.append('<li><a href="#against">Against the papers</a></li>')
    items += [f'<li><a href="#{sweep.key}">Sweep {html.escape(sweep.name)}</a></li>' for sweep in sweeps]
    for page in pages:
        inner = "".join(f'<li><a href="#{key}">{title}</a></li>' for key, title in page.sections)
        items.append(f'<li><a href="#{page.key}">{page.title}</a><ol>{inner}</ol></li>')
    return f"<ol>{''.join(items)}</ol>"


def _hero(pages: list[Page]) -> str:
    records = [page.record for page in pages if page.record]
    seconds = sum(page.duration_s for page in pages)
    facts = {
        "notebooks": str(len(pages)),
        "profile": ", ".join(dict.fromkeys(page.profile for page in pages if page.profile)),
        "data": ", ".join(dict.fromkeys(record.dataset for record in records if record.dataset)),
        "device": ", ".join(dict.fromkeys(record.device for record in records if record.device)),
        "code": ", ".join(dict.fromkeys(record.commit for record in records if record.commit)),
        "time": duration(seconds) if seconds else "",
    }
    cells = "".join(f"<div><dt>{k}</dt><dd>{html.escape(v)}</dd></div>" for k, v in facts.items() if v)
    when = datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC")
    return (
        f'<header class="hero" id="top"><h1>motionkit report</h1><p>Made on {when}. This file is complete: it needs '
        f'no network and no Python.</p><dl class="facts">{cells}</dl></header>'
    )


# ---- its sections ----------------------------------------------------------------------------------------------------


def _tables_section(tables: list[Table], found: Differences) -> str:
    body = "\n".join(_table(table, found) for table in tables)
    return f'<section class="against"><h1 id="against">Against the papers</h1>\n{body}</section>'


def _sweep_section(sweep: Sweep, found: Differences) -> str:
    body = "\n".join(_table(table, found) for table in sweep.tables)
    title = f'<h1 id="{sweep.key}">Sweep {html.escape(sweep.name)}</h1>'
    return f'<section class="against">{title}{failures_html(sweep)}\n{body}</section>'


def _table(table: Table, found: Differences) -> str:
    marks = found.cells.get(table.key, {})
    parts = [f'<h2 id="{table.key}">{html.escape(table.head)}</h2><p class="note">{html.escape(table.about)}</p>']
    parts.append(_box(table.key, table.facts, {}, found))
    if table.pooled is not None:
        parts.append(pooled_html(table.pooled, marks))
    if table.comparison is not None and len(table.comparison):
        parts += ["<h3>Beside the paper's numbers</h3>"] if table.pooled is not None else []
        parts.append(comparison_html(table.comparison, {} if table.pooled is not None else marks))
    gone = [change for change in found.changes if change.anchor == table.key and change.kind == "removed"]
    parts += [f'<p class="mark removed"><span class="tag removed">removed</span> {html.escape(change.what)}: '
              f"<s>{html.escape(change.before)}</s></p>" for change in gone]  # fmt: skip
    return "\n".join(parts)


def _article(page: Page, found: Differences) -> str:
    parts = [marked(block, page.key, number, found) for number, block in enumerate(page.blocks)]
    parts.insert(1, _box(page.key, page.facts(), page.parameters(), found))
    parts.append(marked_end(page.key, len(page.blocks), found))
    return f'<article class="notebook" data-title="{html.escape(plain(page.title))}">\n{"".join(parts)}\n</article>'


def _box(key: str, facts: dict[str, str], parameters: dict[str, str], found: Differences) -> str:
    """The provenance box: what ran, on what, how long."""
    if not facts:
        return ""
    more = ""
    if parameters:
        rows = named_html(parameters.items(), key, found.parameters, "<div>{}</div>")
        is_open = " open" if any(part == key for part, _ in found.parameters) else ""
        more = (
            f'<details class="more"{is_open}><summary>parameters ({len(parameters)})</summary><dl>{rows}</dl></details>'
        )
    pairs = named_html(facts.items(), key, found.facts)
    return f'<div class="box" id="box-{key}"><dl>{pairs}</dl>{more}</div>'
