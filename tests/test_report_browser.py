"""The report in a real browser without a network: everything responds, nothing is asked for or complained about; what
changed is led to; and on paper, the same in pages. Screenshots are kept in ``test-artifacts/``."""

import re

import nbformat
import nbformat.v4 as v4
import pytest

from motionkit.data.catalogue import load_dataset
from motionkit.data.clip import MotionClip
from motionkit.plotting.motion import play
from motionkit.results import published, result_row, save_results, start_record
from motionkit.running.pdf import write_pdf
from motionkit.running.report import build_report

pytestmark = pytest.mark.browser

ROOT = ".motionkit-player"
PICTURE = "root => root.shadowRoot.querySelector('canvas').toDataURL()"


def notebook(folder, clip, end="the end"):
    """A notebook that shows one of everything."""
    import pandas as pd
    import plotly.graph_objects as go

    lines = [go.Scatter(y=[1, 3, 2], name="first"), go.Scatter(y=[2, 1, 3], name="second")]
    figure = {"application/vnd.plotly.v1+json": go.Figure(lines).to_dict()}
    wide = pd.DataFrame({f"a column with a name {k}": [k, k + 1] for k in range(12)})
    cells = [
        v4.new_markdown_cell("# Does it all work?\n\n$$\\frac{a}{b} = \\sum_i x_i$$"),
        v4.new_markdown_cell("## Motion"),
        *(v4.new_code_cell(f"play({k})", outputs=[v4.new_output("display_data", {"text/html": p._repr_html_()})])
          for k, p in enumerate([play(clip), play([clip, clip], autoplay=False)])),
        v4.new_markdown_cell("## A plot"),
        v4.new_code_cell("figure", outputs=[v4.new_output("display_data", figure)]),
        v4.new_markdown_cell("## A wide table"),
        v4.new_code_cell("table", outputs=[v4.new_output("display_data", {"text/html": wide.to_html()})]),
        v4.new_markdown_cell("## End\n\n" + "\n\n".join([f"Text until {end}."] * 30)),
    ]  # fmt: skip
    folder.mkdir(exist_ok=True)
    nbformat.write(v4.new_notebook(cells=cells), folder / "01_heatmap_vqgan.ipynb")
    return folder / "01_heatmap_vqgan.ipynb"


def results(folder, value):
    for seed in range(2):
        record = start_record("vqgan", "01_heatmap_vqgan", "small", seeds=(seed,), dataset="sample", fingerprint="abc")
        rows = [result_row(record, "III", row, column, value + seed / 100)
                for row in published("vqgan", "III").index[:4] for column in ("SSIM", "PSNR", "L1")]  # fmt: skip
        save_results(folder / str(seed), rows, record.finished())
    return folder


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """An earlier report and one that tells what changed."""
    folder = tmp_path_factory.mktemp("reports")
    whole = load_dataset("sample")[0]
    clip = MotionClip(whole.positions[:480], whole.fps, whole.skeleton, name=whole.name)
    old = build_report([notebook(folder / "a", clip)], [results(folder / "1", 0.5)], folder / "old.html")
    executed = notebook(folder / "b", clip, "the very end")
    return old, build_report([executed], [results(folder / "2", 0.6)], folder / "new.html", diff=old)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_plots_respond_and_skeletons_play(open_page, reports, artifacts, scheme):
    page = open_page(reports[0].as_uri(), color_scheme=scheme)
    first, second = page.locator(ROOT).all()
    first.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    before = [root.evaluate(PICTURE) for root in (first, second)]
    page.wait_for_timeout(600)
    assert [root.evaluate(PICTURE) != was for root, was in zip((first, second), before, strict=True)] == [True, False]
    plot = page.locator(".js-plotly-plot")
    plot.scroll_into_view_if_needed()
    area = plot.locator(".nsewdrag").bounding_box()
    shown = "plot => plot.layout.xaxis.range[1] - plot.layout.xaxis.range[0]"
    whole = plot.evaluate(shown)
    page.mouse.move(area["x"] + 0.3 * area["width"], area["y"] + 40)
    page.mouse.down()
    page.mouse.move(area["x"] + 0.7 * area["width"], area["y"] + 44, steps=5)
    page.mouse.up()
    page.wait_for_timeout(800)
    assert plot.evaluate(shown) < 0.6 * whole  # dragging over a part shows that part
    assert plot.locator(".scatterlayer .trace").count() == 2
    plot.locator(".legendtoggle").first.click()
    page.wait_for_timeout(800)
    hidden = "plot => plot.data.map(trace => trace.visible)"
    assert plot.evaluate(hidden) == ["legendonly", None]
    assert page.locator("math mfrac").count() == 1
    ink, ground = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    brightness = [sum(map(int, re.findall(r"\d+", color)[:3])) for color in (ink, ground)]
    assert (brightness[0] < brightness[1]) == (scheme == "light")
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=artifacts / f"report-{scheme}.png", full_page=True)


def test_each_entry_of_the_contents_leads_to_its_place(open_page, reports):
    page = open_page(reports[1].as_uri(), reduced_motion="reduce")
    links = page.locator(".side nav a").all()
    assert [link.inner_text() for link in links] == [
        "Changes", "Against the papers", "Does it all work?", "Motion", "A plot", "A wide table", "End"]  # fmt: skip
    for link in links[:-1]:  # the last one is too near the end to reach the top
        link.click()
        page.wait_for_timeout(100)
        place = page.locator(f"[id='{link.get_attribute('href')[1:]}']").bounding_box()
        assert 0 <= place["y"] < 120, link.inner_text()
        assert link.get_attribute("aria-current") == "true"


def test_the_list_of_changes_leads_to_the_marks(open_page, reports, artifacts):
    page = open_page(reports[1].as_uri(), reduced_motion="reduce")
    text = page.locator(".changes li", has_text="text").last
    text.get_by_role("link").click()
    page.wait_for_timeout(100)
    mark = page.locator(".mark.changed").last
    assert 0 <= mark.bounding_box()["y"] < 200
    mark.get_by_text("what changed").click()
    assert mark.locator("ins").first.inner_text().strip() == "very"
    cell = page.locator("td.changed").first
    assert "was 0.505" in cell.inner_text()
    assert page.locator("td.changed").count() == 12
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=artifacts / "report-changes.png", full_page=True)


def test_it_fits_a_narrow_screen(open_page, reports, artifacts):
    page = open_page(reports[1].as_uri(), viewport={"width": 390, "height": 800})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not page.locator(".side nav").is_visible()
    page.screenshot(path=artifacts / "report-narrow.png", full_page=True)


def test_laid_out_for_paper_it_has_stills_and_fits_the_width(open_page, reports, artifacts):
    page = open_page(f"{reports[1].as_uri()}#print", viewport={"width": 760, "height": 1100}, reduced_motion="reduce")
    page.locator("html.printing").wait_for()
    page.emulate_media(media="print")
    stills = page.locator(".stills")
    pictures = [[still.get_attribute("src") for still in box.locator("img").all()] for box in stills.all()]
    assert [len(set(box)) for box in pictures] == [4, 4]  # four different moments of each
    assert not page.locator(ROOT).first.is_visible()
    assert not page.locator(".side").is_visible()
    assert page.locator(".contents").is_visible()
    # plots are fitted a moment after the rest
    page.wait_for_function(
        "[...document.querySelectorAll('main *')].every(e => e.getBoundingClientRect().right <= 682)", timeout=10_000
    )
    assert page.locator(".more > pre").first.is_visible()  # what is folded on the screen is open on paper
    page.screenshot(path=artifacts / "report-paper.png", full_page=True)


def test_a_reader_who_prints_gets_paper_and_then_the_screen_back(open_page, reports):
    page = open_page(reports[0].as_uri())
    page.wait_for_timeout(300)
    before = page.evaluate("document.body.innerHTML.length")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".stills img").count() == 2
    assert not page.locator(ROOT).first.is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator(".stills").count() == 0
    assert page.locator(ROOT).first.is_visible()
    assert abs(page.evaluate("document.body.innerHTML.length") - before) < 200  # but for empty style attributes


def test_the_pdf_has_pages_links_an_outline_and_the_stills(browser, reports, artifacts):
    path = write_pdf(reports[1], artifacts / "report.pdf")
    data = path.read_bytes()
    assert len(re.findall(rb"/Type /Page\b", data)) >= 4
    assert b"/Outlines" in data
    assert len(re.findall(rb"/Subtype /Link", data)) > 10
    assert len(re.findall(rb"/Subtype /Image", data)) >= 8
    boxes = re.findall(rb"/MediaBox \[([^\]]*)\]", data)
    assert {tuple(round(float(edge)) for edge in box.split()) for box in boxes} == {(0, 0, 595, 842)}  # A4
