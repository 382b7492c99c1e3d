"""A real browser without a network opens what a reader opens: the player and the report work, ask for nothing, and say
nothing wrong. Screenshots are kept in ``test-artifacts/``."""

import json

import nbformat
import nbformat.v4 as v4
import numpy as np
import pytest

from motionkit.data.catalogue import load_dataset
from motionkit.data.clip import MotionClip
from motionkit.plotting.motion import play
from motionkit.running.report import build_report
from motionkit.widgets.pickers import OcclusionGrid

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def clip():
    whole = load_dataset("sample")[0]
    return MotionClip(whole.positions[:480], whole.fps, whole.skeleton, name=whole.name)


# What the canvas shows, as text to compare.
PICTURE = "root => root.shadowRoot.querySelector('canvas').toDataURL()"
ROOT = ".motionkit-player"


def settle(page):
    page.wait_for_timeout(250)


def test_the_player_plays_pauses_and_obeys_keys(open_page, clip, tmp_path, artifacts):
    page = open_page(play(clip, autoplay=False).save_html(tmp_path / "player.html"))
    root = page.locator(ROOT)
    settle(page)
    still = root.evaluate(PICTURE)
    settle(page)
    assert root.evaluate(PICTURE) == still  # paused means still
    page.locator(".box").focus()
    page.keyboard.press(" ")
    page.wait_for_timeout(600)
    assert root.evaluate(PICTURE) != still
    page.keyboard.press(" ")
    settle(page)
    stopped = root.evaluate(PICTURE)
    settle(page)
    assert root.evaluate(PICTURE) == stopped
    for key, expected in [("Home", "0.00 / 4.00 s · frame 0"), ("ArrowRight", "0.02 / 4.00 s · frame 2"),
                          ("Shift+ArrowRight", "0.18 / 4.00 s · frame 22"), ("ArrowLeft", "0.17 / 4.00 s · frame 20"),
                          ("End", "3.98 / 4.00 s · frame 478")]:  # fmt: skip
        page.keyboard.press(key)
        settle(page)
        assert page.locator(".clock").inner_text() == expected, key
    page.screenshot(path=artifacts / "player.png")


def test_the_view_turns_zooms_follows_and_comes_back(open_page, clip, tmp_path):
    page = open_page(play(clip, autoplay=False).save_html(tmp_path / "player.html"))
    root, canvas = page.locator(ROOT), page.locator("canvas")
    settle(page)
    pictures = [root.evaluate(PICTURE)]
    place = canvas.bounding_box()
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)  # not yet clicked: the wheel belongs to the page
    settle(page)
    assert root.evaluate(PICTURE) == pictures[0]
    page.mouse.down()
    page.mouse.move(x + 120, y + 30, steps=4)
    page.mouse.up()
    settle(page)
    pictures.append(root.evaluate(PICTURE))
    page.mouse.wheel(0, -300)
    settle(page)
    pictures.append(root.evaluate(PICTURE))
    for button in ("trail", "follow"):
        page.locator(f".{button}").click()
        settle(page)
        pictures.append(root.evaluate(PICTURE))
    assert len(set(pictures)) == 5
    page.locator(".trail").click()
    page.locator(".follow").click()
    page.locator(".home").click()
    settle(page)
    assert root.evaluate(PICTURE) == pictures[0]


def test_two_players_on_one_page_do_not_disturb_each_other(open_page, clip, tmp_path, artifacts):
    second = (clip.positions, clip.skeleton, 30.0)
    body = play([clip, second], autoplay=False)._repr_html_() + play([clip, second], layout="overlay")._repr_html_()
    path = tmp_path / "two.html"
    path.write_text(f"<!doctype html><meta charset='utf-8'><link rel='icon' href='data:,'><body>{body}{body}")
    page = open_page(path, viewport={"width": 1000, "height": 2200})
    roots = page.locator(ROOT)
    assert roots.count() == 4  # the same output twice is two players of its own
    settle(page)
    before = [roots.nth(k).evaluate(PICTURE) for k in range(4)]
    page.wait_for_timeout(500)
    after = [roots.nth(k).evaluate(PICTURE) for k in range(4)]
    assert [a != b for a, b in zip(before, after, strict=True)] == [False, True, False, True]
    page.screenshot(path=artifacts / "two_players.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_player_suits_its_background_and_is_sharp_on_fine_screens(open_page, clip, tmp_path, artifacts, scheme):
    path = play(clip, autoplay=False).save_html(tmp_path / "player.html")
    page = open_page(path, color_scheme=scheme, device_scale_factor=2)
    settle(page)
    width, shown, corner = page.locator(ROOT).evaluate("""root => {
        const canvas = root.shadowRoot.querySelector('canvas');
        return [canvas.width, canvas.clientWidth, canvas.getContext('2d').getImageData(900, 40, 1, 1).data[0]] }""")
    assert width == 2 * shown
    assert (corner > 200) == (scheme == "light")
    page.screenshot(path=artifacts / f"player_{scheme}.png")


def test_a_reader_who_asked_for_calm_gets_a_still_player(open_page, clip, tmp_path):
    page = open_page(play(clip).save_html(tmp_path / "player.html"), reduced_motion="reduce")
    settle(page)
    assert page.locator(ROOT).get_attribute("data-playing") == "false"


@pytest.fixture(scope="module")
def report(tmp_path_factory, clip):
    import plotly.graph_objects as go

    folder = tmp_path_factory.mktemp("report")
    figure = {"application/vnd.plotly.v1+json": go.Figure(go.Scatter(y=[1, 3, 2])).to_dict()}
    player = {"text/html": play(clip)._repr_html_()}
    cells = [
        v4.new_markdown_cell("# Does it move?\n\n$$\\frac{a}{b}$$"),
        v4.new_markdown_cell("## The player"),
        v4.new_code_cell("play(clip)", outputs=[v4.new_output("display_data", player)]),
        v4.new_markdown_cell("## A plot\n" + "\n\n".join(["Some text."] * 40)),
        v4.new_code_cell("figure", outputs=[v4.new_output("display_data", figure)]),
    ]
    nbformat.write(v4.new_notebook(cells=cells), folder / "00_moves.ipynb")
    return build_report([folder / "00_moves.ipynb"], out=folder / "report.html")


def test_the_report_moves_folds_and_leads_to_its_sections(open_page, report, artifacts):
    page = open_page(report)
    page.screenshot(path=artifacts / "report.png")
    root = page.locator(ROOT)
    root.scroll_into_view_if_needed()
    settle(page)
    before = root.evaluate(PICTURE)
    page.wait_for_timeout(500)
    assert root.evaluate(PICTURE) != before
    assert page.locator("math mfrac").count() == 1
    assert page.locator(".js-plotly-plot .main-svg").count() > 0
    assert not page.get_by_text("play(clip)").is_visible()
    page.get_by_role("button", name="Show all code").click()
    assert page.get_by_text("play(clip)").is_visible()
    page.locator("nav").get_by_text("A plot").click()
    page.wait_for_timeout(900)
    assert page.locator("h2", has_text="A plot").bounding_box()["y"] < 120
    assert page.locator("nav a.here").inner_text() == "A plot"


def test_the_report_fits_a_narrow_screen(open_page, report, artifacts):
    page = open_page(report, viewport={"width": 390, "height": 800})
    settle(page)
    page.screenshot(path=artifacts / "report_narrow.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not page.locator("nav").is_visible()
    page.get_by_role("button", name="Contents").click()
    page.locator("nav").get_by_text("The player").click()
    settle(page)
    assert not page.locator("nav").is_visible()


def test_confidence_fades_a_limb(open_page, tmp_path, clip):
    sure = np.ones(clip.positions.shape[:2], np.float32)
    clips = [MotionClip(clip.positions, clip.fps, clip.skeleton, confidence=c) for c in (sure, 0 * sure)]
    pages = [open_page(play(c, autoplay=False).save_html(tmp_path / f"{k}.html")) for k, c in enumerate(clips)]
    ink = []
    for page in pages:
        settle(page)
        ink.append(
            page.locator(ROOT).evaluate("""root => {
            const canvas = root.shadowRoot.querySelector('canvas');
            const data = canvas.getContext('2d').getImageData(0, 30, canvas.width, canvas.height - 80).data;
            let count = 0;
            for (let i = 0; i < data.length; i += 4) if (Math.abs(data[i] - data[i + 2]) > 60) count++;
            return count }""")
        )
    assert ink[0] > 500
    assert ink[1] == 0


# A widget's page without a kernel: its traits in a plain object, and a kernel that answers strokes as ours does.
OCCLUSION = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><style>%s</style><div></div>
<script type="module">%s
const [state, heard] = [%s, {}];
const model = { get: (name) => state[name], on: (name, call) => (heard[name] = call), save_changes: () => {
  const { cells, is_missing } = state.stroke;
  state.missing = state.missing.map((row) => [...row]);
  for (const [joint, frame] of cells) state.missing[joint][frame] = is_missing ? state.most : 0;
  heard["change:missing"]();
}, set: (name, value) => (state[name] = value) };
window.state = state;
render({ model, el: document.querySelector("div") });</script>"""


def test_gaps_are_painted_by_mouse_and_by_keyboard(open_page, tmp_path, artifacts):
    traits = {"joints": ["hip", "left_knee", "right_knee"], "sides": ["center", "left", "right"], "most": 3,
              "missing": [[0] * 12, [0] * 12, [0, 1] * 6], "frame": 4, "joint": 1, "stroke": {}}  # fmt: skip
    render = OcclusionGrid._esm.replace("export default { render };", "")
    path = tmp_path / "occlusion.html"
    path.write_text(OCCLUSION % (OcclusionGrid._css, render, json.dumps(traits)), encoding="utf-8")
    page = open_page(path, viewport={"width": 300, "height": 90})
    settle(page)

    def cell(joint, frame):
        return page.locator(".cell").nth(12 * joint + frame)

    def at(joint, frame):
        box = cell(joint, frame).bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def stroke():
        return page.evaluate("[state.stroke.cells, state.stroke.is_missing]")

    assert page.locator(".partly").count() == 6
    cell(0, 2).click()
    assert stroke() == [[[0, 2]], True]
    page.mouse.move(*at(0, 4))
    page.mouse.down()
    page.mouse.move(*at(1, 8))  # a fast hand: one step
    page.mouse.move(600, 300)  # and beyond the edge
    assert page.locator(".lost").count() == 1 + 8  # shown before it is sent
    assert stroke() == [[[0, 2]], True]
    page.mouse.up()
    assert stroke() == [[[0, 4], [0, 5], [1, 6], [1, 7], [1, 8], [1, 9], [2, 10], [2, 11]], True]
    cell(0, 2).click()  # what is missing is given back
    assert stroke() == [[[0, 2]], False]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press(" ")
    assert stroke() == [[[1, 3]], True]
    page.get_by_role("button", name="right_knee", exact=True).click()
    assert stroke() == [[[2, frame] for frame in range(12)], True]  # not all of it was missing
    page.get_by_role("button", name="right_knee", exact=True).click()
    assert stroke()[1] is False
    page.get_by_role("button", name="frame 5: lose it, or give it back").click()
    assert stroke() == [[[0, 5], [1, 5], [2, 5]], True]
    assert page.locator(".lost").count() == page.evaluate("state.missing.flat().filter((n) => n === 3).length")
    assert page.evaluate("state.stroke.number") == 7
    assert page.locator(".now").all_inner_texts() == ["", "left_knee"]
    page.screenshot(path=artifacts / "occlusion.png")
