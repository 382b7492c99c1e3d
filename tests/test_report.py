"""The report: what it shows, where it comes from, that it stands alone; and what changed against an earlier one."""

import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import pytest

from motionkit import cli
from motionkit.data.catalogue import load_dataset
from motionkit.plotting.motion import play
from motionkit.results import compare, load_results, published, result_row, save_results, start_record
from motionkit.running.pdf import write_pdf
from motionkit.running.report import build_report
from motionkit.running.report_diff import embedded, read_contents
from motionkit.tables import comparison_texts


def executed(folder, name, cells, profile="laptop"):
    notebook = v4.new_notebook(cells=cells)
    notebook.metadata["motionkit"] = {"profile": profile}
    notebook.metadata["papermill"] = {"duration": 75.0, "start_time": "2026-01-02T03:04:05", "parameters": {"steps": 9}}
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


def code(source, *outputs):
    return v4.new_code_cell(source, outputs=list(outputs))


def rich(**data):
    return v4.new_output(
        "display_data", {kind.replace("__", "/").replace("_xml", "+xml"): v for kind, v in data.items()}
    )


def test_the_report_shows_text_mathematics_code_tables_and_pictures(tmp_path):
    import pandas as pd

    table = pd.DataFrame({"name": ["a<b"], "value": [0.5]})
    page = executed(tmp_path, "01_tiny", [
        v4.new_markdown_cell("# Can *it* be $a^2$?\n\n`$5`, $x_i$; $$\\sum_i x_i$$\n\n| a | b |\n|---|---|\n| 1 | 2 |"),
        v4.new_markdown_cell("## The data\n### deep\n\n![](gone.png) ![far](https://example.org/x.png) \\$3 to \\$4"),
        code("hidden = 1"), code("hidden_too = 2"),
        code("show", v4.new_output("stream", name="stdout", text="10%\r90%\r100%\nnext <b>\n"),
             v4.new_output("stream", name="stdout", text="and more\n")),
        code("table", rich(text__html=table.to_html())),
        v4.new_markdown_cell("## Pictures"),
        code("picture", rich(image__png="iVBORw0KGgo=", text__plain="<Figure size 9x9>")),
        code("vector", rich(image__svg_xml="<svg xmlns='http://www.w3.org/2000/svg'></svg>")),
        code("fails", v4.new_output("error", ename="E", evalue="v", traceback=["\x1b[31mE\x1b[0m: <v>"])),
    ])  # fmt: skip
    path = build_report([page], out=tmp_path / "out" / "report.html")
    text = path.read_text()
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    assert text.count("<math") == 5  # the title's, here and in both lists of contents, one in a line, one on its own
    assert len(re.findall('<math[^>]*display="block"', text)) == 1
    assert "<code>$5</code>" in text
    assert "$3 to $4" in text
    assert '<a href="#01-tiny">Can it be <math' in text
    assert '<a href="#01-tiny-the-data">The data</a>' in text
    assert ">deep</a>" not in text  # only sections are in the side bar
    assert "100%\nnext &lt;b&gt;\nand more" in text
    assert "90%" not in text
    assert text.count('<details class="code">') == 5  # the two silent cells share one with the cell that shows
    assert "a&lt;b" in text
    assert "data:image/png;base64,iVBORw0KGgo=" in text
    assert "E</span>: &lt;v&gt;" in text
    page = text.partition('<script type="application/json"')[0]  # what follows is data for later reports
    assert "example.org/x.png" not in re.sub(r'class="note">[^<]*', "", page)
    assert "1 min 15 s" not in text
    assert "75 s" in text
    assert "<dt>steps</dt><dd>9</dd>" in text


def test_the_report_asks_nothing_of_the_network(tmp_path):
    clip = load_dataset("sample")[0]
    remote = '<script src="https://cdn.example.org/a.js"></script><link href="//example.org/b.css"><p>kept'
    cells = [code("play(clip)", rich(text__html=play(clip)._repr_html_())), code("remote", rich(text__html=remote))]
    page = executed(tmp_path, "00_start", [v4.new_markdown_cell("# Start"), *cells])
    text = build_report([page], out=tmp_path / "report.html").read_text()
    tags = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", text)
    assert not [tag for tag in tags if "//" in tag]
    assert "kept" in text
    assert "default-src 'none'" in text
    assert "motionkitPlayer(root, payload)" in text


def test_plotly_is_carried_once_and_only_when_shown(tmp_path):
    import plotly.graph_objects as go

    figure = {"application/vnd.plotly.v1+json": go.Figure(go.Scatter(y=[1, 2])).to_dict()}
    plain = executed(tmp_path, "00_plain", [v4.new_markdown_cell("# Plain"), code("print(1)")])
    drawn = executed(tmp_path, "01_drawn", [v4.new_markdown_cell("# Drawn")]
                     + [code("f", v4.new_output("display_data", figure)) for _ in range(2)])  # fmt: skip
    without = build_report([plain], out=tmp_path / "a.html").read_text()
    assert "newPlot" not in without
    assert len(without) < 60_000
    text = build_report([plain, drawn], out=tmp_path / "b.html").read_text()
    assert text.count('Plotly.newPlot("plot-') == 2
    assert 3e6 < len(text) < 8e6  # one copy of the script is about five megabytes


def test_provenance_and_tables_come_from_the_runs(tmp_path):
    page = executed(tmp_path, "01_heatmap_vqgan", [v4.new_markdown_cell("# Tokens?"), code("1")])
    record = start_record("vqgan", "01_heatmap_vqgan", "laptop", seeds=(3,), dataset="sample", fingerprint="abc123")
    row = published("vqgan", "III").index[0]
    rows = [result_row(record, "III", row, "SSIM", 0.9), result_row(record, "III", "blank heatmap", "SSIM", 0.8)]
    save_results(tmp_path / "runs" / "one", rows, record.finished(perceptual="none at all"))
    (tmp_path / "empty").mkdir()
    text = build_report([page], [tmp_path / "runs", tmp_path / "empty"], tmp_path / "report.html").read_text()
    for fact in ("sample (abc123)", "none at all", record.device, record.commit, "<dt>seeds</dt><dd>3</dd>"):
        assert fact in text
    line = re.search(rf"<th>{re.escape(row)}</th>.*?</tr>", text)[0]
    assert re.search(r"<b>0.900</b><small>paper 0.975<sup>1</sup></small><small>−0.075</small>", line)
    assert "blank heatmap" in text
    assert "Against the papers" in text
    assert "Against the papers" not in build_report([page], out=tmp_path / "none.html").read_text()


def test_a_page_shows_the_record_of_its_own_run_only(tmp_path):
    page = executed(tmp_path, "01_heatmap_vqgan", [v4.new_markdown_cell("# Tokens?"), code("1")])
    notebook = nbformat.read(page, as_version=4)
    notebook.metadata["papermill"] |= {
        "start_time": "2026-01-02T03:00:00+00:00",
        "end_time": "2026-01-02T03:10:00+00:00",
    }
    nbformat.write(notebook, page)
    for seed, started in (
        (11, "2026-01-02T02:59:59.000"),
        (22, "2026-01-02T03:05:00.000"),
        (33, "2026-01-02T04:00:00.000"),
    ):
        record = start_record("vqgan", "01_heatmap_vqgan", "laptop", seeds=(seed,), dataset="sample")
        record = replace(record, started=f"{started}+00:00")
        save_results(tmp_path / "runs" / str(seed), [result_row(record, "X", "ours", "SSIM", 0.9)], record)
    text = build_report([page], [tmp_path / "runs"], tmp_path / "report.html").read_text()
    assert "<dt>seeds</dt><dd>22</dd>" in text.partition("<article")[2]
    text = build_report([page], [tmp_path / "runs" / "33"], tmp_path / "report.html").read_text()
    assert "<dt>seeds</dt>" not in text.partition("<article")[2]


def test_what_cannot_become_a_report_is_named(tmp_path):
    with pytest.raises(ValueError, match="no executed notebooks"):
        build_report([], out=tmp_path / "r.html")
    (tmp_path / "bad.ipynb").write_text("{")
    with pytest.raises(ValueError, match=r"bad.ipynb is no readable notebook"):
        build_report([tmp_path / "bad.ipynb"], out=tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_unknown_latex_costs_nothing_but_itself(tmp_path):
    page = executed(tmp_path, "01_a", [v4.new_markdown_cell("# A\n\n$\\frac{$ and $y$"), code("1")])
    text = build_report([page], out=tmp_path / "r.html").read_text()
    assert "<mi>y</mi>" in text


# ---- sweeps ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def sweep(tmp_path):
    """A sweep of two seeds and a failed third one."""
    folder = tmp_path / "sweeps" / "tiny_III"
    row = published("vqgan", "III").index[0]
    for seed in range(3):
        run = folder / f"{seed:012x}"
        state = {"state": "done", "parameters": {"seed": seed}, "varied": {"seed": seed}, "seconds": 30.0}
        if seed == 2:
            state |= {"state": "failed", "reason": "died", "cell": "cell 3 of 9 (Train)", "lines": "    <killed>\n"}
        else:
            record = start_record("vqgan", "01_heatmap_vqgan", "small", seeds=(seed,), dataset="sample",
                                  parameters={"seed": seed})  # fmt: skip
            rows = [
                result_row(record, "III", row, "SSIM", 0.9 + seed / 100),
                result_row(record, "III", "ours", "L1", 0.1),
            ]
            save_results(run / "small" / "01", rows, record.finished())
        run.mkdir(parents=True, exist_ok=True)
        (run / "run.json").write_text(json.dumps(state))
    return folder


def test_a_sweep_has_its_table_its_failures_and_its_provenance(tmp_path, sweep):
    page = executed(tmp_path, "00_a", [v4.new_markdown_cell("# A")])
    text = build_report([page], [sweep.parent], tmp_path / "r.html").read_text()
    assert '<h1 id="sweep-tiny-iii">Sweep tiny_III</h1>' in text
    assert "2 of 3 runs done" in text
    assert "seed=2: died in cell 3 of 9 (Train)" in text
    assert "&lt;killed&gt;" in text
    row = published("vqgan", "III").index[0]
    line = re.search(rf"<th>{re.escape(row)}</th>.*?</tr>", text)[0]
    assert "<b>0.9050</b><small>± 0.0635</small><small>(2 of 3)</small>" in line
    beside = re.findall(rf"<th>{re.escape(row)}</th>.*?</tr>", text)[1]
    assert "<small>paper 0.975" in beside
    assert "<small>2 of 3 seeds</small>" in beside
    assert '<span class="missing">missing</span><small>paper 31.23</small>' in beside  # printed, not run
    assert "<dt>runs</dt><dd>2</dd>" in text
    assert "<dt>seeds</dt><dd>0, 1</dd>" in text
    assert '<a href="#sweep-tiny-iii">' in text
    assert "Against the papers" not in text  # the sweep's runs are told of in its own section only


def test_the_report_prints_the_numbers_of_the_terminal(tmp_path, sweep):
    page = executed(tmp_path, "00_a", [v4.new_markdown_cell("# A")])
    plain = sweep.parent.parent / "plain"
    (sweep / "000000000000" / "small").rename(plain)
    text = build_report([page], [plain], tmp_path / "r.html").read_text()
    comparison = comparison_texts(compare("vqgan", "III", load_results(plain)))
    cells = re.findall(r"<b>([^<]*)</b>", text)
    assert sorted(cells) == sorted(ours for ours in comparison["ours"] if ours != "missing")


def test_a_damaged_record_of_a_sweeps_run_is_named(tmp_path, sweep):
    page = executed(tmp_path, "00_a", [v4.new_markdown_cell("# A")])
    (sweep / "000000000001" / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"000000000001/run.json: no record of a run"):
        build_report([page], [sweep], tmp_path / "r.html")


# ---- what changed ----------------------------------------------------------------------------------------------------


def version(folder, *, text="Some text.", picture="AAAA", value=0.5, printed="loss 1", seed=1, more=(), table_row="a"):
    import pandas as pd

    frame = pd.DataFrame({"name": [table_row, "b"], "value": [value, 7.0]}).set_index("name")
    page = executed(folder, "01_heatmap_vqgan", [
        v4.new_markdown_cell(f"# Title\n\n{text}"),
        v4.new_markdown_cell("## Results"),
        code("show()", v4.new_output("stream", name="stdout", text=printed),
             v4.new_output("stream", name="stderr", text=f"took {value} s")),
        code("table", rich(text__html=frame.to_html())),
        code("picture", rich(image__png=picture)),
        *more,
    ])  # fmt: skip
    record = start_record("vqgan", "01_heatmap_vqgan", "laptop", seeds=(seed,), dataset="sample", fingerprint="abc")
    rows = [result_row(record, "III", published("vqgan", "III").index[0], "SSIM", value)]
    rows += [result_row(record, "III", "blank", "SSIM", 0.25)]
    save_results(folder / "runs", rows, record.finished())
    return page, folder / "runs"


def report_of(folder, diff=None, **changes):
    page, runs = version(folder, **changes)
    return build_report([page], [runs], folder / "report.html", diff=diff)


def marks(text):
    """(kind, HTML) of the marked blocks."""
    return re.findall(r'<div class="mark (\w+)" id="[^"]*">(.*?)(?=<div class="mark|</article>)', text, re.DOTALL)


def test_equal_reports_have_no_changes(tmp_path):
    old = report_of(tmp_path / "old")
    text = report_of(tmp_path / "new", diff=old).read_text()
    assert "Nothing but the time." in text
    assert not marks(text)
    assert "<small class=" not in re.sub(r"<style>.*?</style>", "", text.partition("<article")[2])
    assert "Changes since" not in old.read_text()


@pytest.mark.parametrize(
    ("change", "kind", "shown"),
    [
        ({"text": "Some other text."}, "changed", "Some<ins> other</ins> text."),
        ({"text": "Some."}, "changed", "<del> text</del>"),
        ({"printed": "loss 2"}, "changed", "loss <del>1</del><ins>2</ins>"),
        ({"picture": "BBBB"}, "changed", "base64,BBBB"),
        ({"more": [code("new", rich(image__png="CCCC"))]}, "added", "base64,CCCC"),
    ],
)
def test_a_change_is_marked_in_its_place_and_alone(tmp_path, change, kind, shown):
    text = report_of(tmp_path / "new", diff=report_of(tmp_path / "old"), **change).read_text()
    found = marks(text)
    assert [k for k, _ in found] == [kind] * (2 if "more" in change else 1)  # the new cell's code is new as well
    assert shown in "".join(body for _, body in found)
    for anchor in re.findall(r'<span class="tag \w+">\w+</span> <a href="#([^"]*)"', text):
        assert f'id="{anchor}"' in text


def test_changed_cells_say_what_they_were_in_both_kinds_of_tables(tmp_path):
    text = report_of(tmp_path / "new", diff=report_of(tmp_path / "old"), value=0.75).read_text()
    assert '<td class="changed"><b>0.750</b>' in text
    assert '<small class="was">was 0.500</small>' in text
    assert '<td class="changed" title="was 0.5">0.75</td>' in text
    assert text.count('class="changed"') == 2  # ours beside the paper, and the notebook's
    assert "<td>7.00</td>" in text  # written otherwise, but the same number


def test_a_row_that_moved_is_no_change_and_a_new_row_is_new(tmp_path):
    text = report_of(tmp_path / "new", diff=report_of(tmp_path / "old"), table_row="c").read_text()
    (_, body), = marks(text)  # fmt: skip
    assert '<th class="added" title="added">c</th>' in body
    assert "<td>7.0</td>" in body


def test_provenance_and_parameters_are_compared(tmp_path):
    text = report_of(tmp_path / "new", diff=report_of(tmp_path / "old"), seed=2).read_text()
    box = re.search(r'<div class="box" id="box-01-heatmap-vqgan">.*?</div>', text, re.DOTALL)[0]
    assert '<dt>seeds</dt><dd class="changed">2<small class="was">was 1</small></dd>' in box
    assert box.count("class=") == 4  # box, dd, small, and the fold of parameters
    assert "provenance seeds</a>: <s>1</s> → 2" in text


def test_what_is_gone_is_shown_where_it_was(tmp_path):
    old = report_of(tmp_path / "old", more=[code("gone <b>", rich(text__plain="was <i>here</i>"))])
    text = report_of(tmp_path / "new", diff=old).read_text()
    ((kind, body),) = marks(text)
    assert kind == "removed"
    assert "<del>gone &lt;b&gt;</del>" in body
    assert "<del>was &lt;i&gt;here&lt;/i&gt;</del>" in body


def test_notebooks_and_tables_that_came_and_went_are_listed(tmp_path):
    first = executed(tmp_path / "a", "00_first", [v4.new_markdown_cell("# First")])
    second = executed(tmp_path / "a", "01_second", [v4.new_markdown_cell("# Second")])
    old = build_report([first], out=tmp_path / "old.html")
    text = build_report([second], out=tmp_path / "new.html", diff=old).read_text()
    assert re.search(r'<h3>Second</h3><ul><li><span class="tag added">added</span> <a href="#01-second">notebook', text)
    assert re.search(r'<h3>First</h3><ul><li><span class="tag removed">removed</span> notebook', text)


def test_an_older_report_can_be_compared_that_compared_itself(tmp_path):
    first = report_of(tmp_path / "1")
    second = report_of(tmp_path / "2", diff=first, value=0.75)
    assert "Nothing but the time." in report_of(tmp_path / "3", diff=second, value=0.75).read_text()


def with_contents(path, contents):
    path.write_text(f"<html><body>{embedded(contents)}</body></html>")
    return path


EMPTY = {"format": "motionkit report 1", "made": "", "notebooks": [], "tables": []}
TABLE = {"key": "a", "title": "", "facts": {}, "cells": [["a", "b"]]}
BLOCK = {"kind": "table", "section": "", "content": [[1]]}


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"<html>a page</html>",
        b"\xff\xfe\x00",
        b'<script type="application/json" id="motionkit-contents">{</script>',
        b'<script type="application/json" id="motionkit-contents">[]</script>',
        {"format": "motionkit report 1"},
        EMPTY | {"format": "other"},
        EMPTY | {"made": 3},
        EMPTY | {"notebooks": [{}]},
        EMPTY | {"tables": [TABLE]},
        EMPTY | {"notebooks": [{"key": "a", "title": "", "facts": {}, "parameters": {}, "blocks": [BLOCK]}]},
    ],
    ids=range(11),
)
def test_what_is_no_report_is_refused(tmp_path, contents):
    path = tmp_path / "old.html"
    if isinstance(contents, bytes):
        path.write_bytes(contents)
    else:
        with_contents(path, contents)
    with pytest.raises(ValueError, match=r"old.html is no report of motionkit"):
        report_of(tmp_path / "new", diff=path)
    assert not (tmp_path / "new" / "report.html").exists()


def test_nothing_of_an_earlier_report_can_act_in_the_new_one(tmp_path):
    evil = '</script><script>alert("x")</script><img src=x onerror=alert(1)>'
    contents = read_contents(report_of(tmp_path / "old"))
    page = contents["notebooks"][0]
    page["facts"] |= {"seeds": evil, evil: evil}
    page["parameters"] |= {"steps": evil}
    page["title"] = contents["made"] = evil
    page["blocks"] = [b | {"content": evil, "section": evil} for b in page["blocks"]] + [
        {"kind": kind, "section": evil, "content": evil} for kind in ("text", "table", evil)]  # fmt: skip
    contents["tables"][0]["cells"] += [[evil, evil, evil]]
    contents["tables"] += [contents["tables"][0] | {"key": evil, "title": evil}]
    text = report_of(tmp_path / "new", diff=with_contents(tmp_path / "evil.html", contents)).read_text()
    assert "alert(&quot;x&quot;)" in text  # it is shown,
    assert "<img src=x" not in text  # and does nothing
    assert '<script>alert("x")' not in text
    assert text.count("<script") == report_of(tmp_path / "again").read_text().count("<script")


def test_the_contents_of_a_report_are_read_back(tmp_path):
    fake = '<script type="application/json" id="motionkit-contents">{"format": "fake"}</script>'
    path = report_of(tmp_path / "old", text=fake)
    contents = read_contents(path)
    (page,) = contents["notebooks"]
    assert page["key"] == "01-heatmap-vqgan"
    assert [block["kind"] for block in page["blocks"]] == [
        "text", "text", "code", "printed", "other", "code", "table", "code", "picture"]  # fmt: skip
    assert page["blocks"][0]["content"].endswith(fake)
    assert page["blocks"][6]["content"] == [["", "value"], ["name", ""], ["a", "0.5"], ["b", "7.0"]]
    assert contents["tables"][0]["cells"] == [["2D VQ-GAN F8/512", "SSIM", "0.500"], ["blank", "SSIM", "0.250"]]


# ---- as a PDF --------------------------------------------------------------------------------------------------------


def fake_browser(folder, script, monkeypatch):
    folder.mkdir()
    (folder / "chromium").write_text(f"#!{sys.executable}\nimport sys, os, time\n{script}\n")
    (folder / "chromium").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


PRINTS = """\
out = [a.partition('=')[2] for a in sys.argv if a.startswith('--print-to-pdf=')][0]
open(out, 'w').write('%PDF-1 ' + sys.argv[-1])
"""


def test_a_browser_prints_the_pdf_whole(tmp_path, monkeypatch):
    (tmp_path / "a b.html").write_text("x")
    fake_browser(tmp_path / "bin", PRINTS, monkeypatch)
    path = write_pdf(tmp_path / "a b.html", tmp_path / "new" / "r.pdf")
    assert path.read_text() == f"%PDF-1 {(tmp_path / 'a b.html').as_uri()}#print"
    assert [p.name for p in path.parent.iterdir()] == ["r.pdf"]


def test_a_missing_browser_is_told_of_before_the_work(tmp_path, monkeypatch, capsys):
    executed(tmp_path, "00_a", [v4.new_markdown_cell("# A")])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit):
        cli.main(["report", "--runs", str(tmp_path), "--out", str(tmp_path / "r.pdf")])
    assert "none of chromium, chromium-browser" in capsys.readouterr().err
    assert not (tmp_path / "r.pdf").exists()


def test_a_browser_that_fails_or_hangs_leaves_the_old_pdf(tmp_path, monkeypatch):
    (tmp_path / "a.html").write_text("x")
    (tmp_path / "r.pdf").write_text("old")
    fake_browser(tmp_path / "bin", "print('no screen'); sys.exit(0)", monkeypatch)
    with pytest.raises(RuntimeError, match=r"chromium wrote no PDF of .*a.html; it said:\nno screen"):
        write_pdf(tmp_path / "a.html", tmp_path / "r.pdf")
    pids = tmp_path / "pids"
    (tmp_path / "bin" / "chromium").write_text(f"#!/bin/sh\n/bin/sleep 100 &\necho $$ $! > '{pids}'\nwait\n")
    with pytest.raises(RuntimeError, match="did not finish the PDF in 3 s"):
        write_pdf(tmp_path / "a.html", tmp_path / "r.pdf", timeout_s=3)
    assert (tmp_path / "r.pdf").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "bin", "pids", "r.pdf"]
    for _ in range(100):  # neither it nor its child lives on; a killed process may take a moment to go
        if not any(map(is_running, pids.read_text().split())):
            break
        time.sleep(0.05)
    else:
        pytest.fail("the browser's processes are still running")


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_report_command_writes_what_was_asked_for(tmp_path, monkeypatch, capsys):
    executed(tmp_path / "runs", "00_a", [v4.new_markdown_cell("# A")])
    fake_browser(tmp_path / "bin", PRINTS, monkeypatch)
    cli.main(["report", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "1" / "r.html"), "--pdf"])
    assert sorted(p.name for p in (tmp_path / "1").iterdir()) == ["r.html", "r.pdf"]
    assert len(capsys.readouterr().out.splitlines()) == 2
    cli.main(["report", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "2" / "r.pdf")])
    assert [p.name for p in (tmp_path / "2").iterdir()] == ["r.pdf"]
    with pytest.raises(SystemExit):
        cli.main(["report", "--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "gone")])
    assert "no such folder" in capsys.readouterr().err
