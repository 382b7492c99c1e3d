"""The report: what it shows, where it comes from, that it stands alone; and what changed against an earlier one."""

import re

import nbformat
import nbformat.v4 as v4
import pytest

from motionkit.data.catalogue import load_dataset
from motionkit.plotting.motion import play
from motionkit.results import published, result_row, save_results, start_record
from motionkit.running.report import build_report


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
    assert "example.org/x.png" not in re.sub(r'class="note">[^<]*', "", text)
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
    assert "Plotly" not in without
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
