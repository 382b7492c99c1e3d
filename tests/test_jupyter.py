"""Notebooks live, as a reader sees them: JupyterLab and dashboards in a real browser. Every cell runs, the explorer
answers to the keyboard, nothing fails or complains, and no host but this one is asked for anything. Screenshots and the
servers' logs are kept in ``test-artifacts/``."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import nbformat.v4 as v4
import psutil
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(280)]

# A new notebook joins by one line: its name, and the slider of its explorers that is moved.
NOTEBOOKS = [
    ("00_start_here", "frame"),
    ("01_heatmap_vqgan", "frame"),
]
FOLDER = Path(__file__).parent.parent / "notebooks"
MOTIONKIT = [sys.executable, "-m", "motionkit.cli"]
OPTIONS = ["--port", "18888", "--no-browser", "--jupyter"]
LOCAL = {"localhost", "127.0.0.1"}

ERRORS = '[data-mime-type="application/vnd.jupyter.error"], [data-mime-type="application/vnd.jupyter.stderr"]'
NUM_RAN = (
    "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].filter(p => /[0-9]/.test(p.textContent)).length"
)
IDLE = ".jp-Notebook-ExecutionIndicator[data-status='idle']"


def end_with_parent() -> None:
    """A server ends even where the tests are killed before they can end it (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1 is PR_SET_PDEATHSIG


class Server:
    """``motionkit <command> <notebook>`` on a port of its own, over a copy of the notebooks. code: of a new notebook's
    only cell."""

    def __init__(self, command: str, notebook: str, folder: Path, log: Path, *settings: str, code: str = "") -> None:
        shutil.copytree(FOLDER, folder / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        if code:
            kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
            new = v4.new_notebook(cells=[v4.new_code_cell(code)], metadata=kernel)
            nbformat.write(new, folder / "notebooks" / f"{notebook}.ipynb")
        self.notebooks, self.settings = folder / "notebooks", folder / "jupyter"
        places = {
            f"JUPYTER_{name}_DIR": str(folder / "jupyter" / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")
        }
        decoy = self.settings / "data" / "kernels" / "python3"  # registered by something else; not to be used
        decoy.mkdir(parents=True)
        (decoy / "kernel.json").write_text('{"argv": ["false"], "display_name": "decoy", "language": "python"}')
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [*MOTIONKIT, command, f"notebooks/{notebook}.ipynb", *OPTIONS, *settings],
                # MOTIONKIT_BATCH stays set, as it is in all tests: the command must make widgets live all the same
                env=os.environ | places | {"OMP_NUM_THREADS": "1", "MOTIONKIT_CACHE": str(folder / "cache")},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        self.url = self._wait_for_url(log)

    def _wait_for_url(self, log: Path) -> str:
        for _ in range(600):
            found = re.search(r"http://(?:localhost|127\.0\.0\.1):\d+/\S*token=\w+", log.read_text())
            if found:
                return found[0]
            assert self.process.poll() is None, f"the server ended at once:\n{log.read_text()}"
            time.sleep(0.1)
        self.stop()
        pytest.fail(f"the server did not start in a minute:\n{log.read_text()}")

    def stop(self) -> list[psutil.Process]:
        """End the server as ``kill`` does; what of it is still alive afterwards is returned, and killed."""
        family = []
        if self.process.poll() is None:
            server = psutil.Process(self.process.pid)
            family = [server, *server.children(recursive=True)]
            self.process.send_signal(signal.SIGTERM)
            self.process.poll()
        _, alive = psutil.wait_procs(family, timeout=20)
        for process in alive:
            process.kill()
        self.process.wait(timeout=10)
        return alive


@pytest.fixture
def serve(tmp_path, artifacts):
    """Starts a server; at the end of the test neither it nor any kernel of it is left."""
    servers = []

    def serve(command: str, notebook: str, *settings: str, code: str = "") -> Server:
        log = artifacts / f"{command}_{notebook}.log"
        servers.append(Server(command, notebook, tmp_path, log, *settings, code=code))
        return servers[-1]

    yield serve
    assert not [process for server in servers for process in server.stop()], "processes outlived the server"


@pytest.fixture
def open_page(browser):
    """Opens an address; at the end of the test nothing may have failed, been said, or been asked of another host."""
    complaints, context = [], browser.new_context(viewport={"width": 1280, "height": 1000})

    def stay_here(route) -> None:
        if urlsplit(route.request.url).hostname in LOCAL:
            return route.continue_()
        complaints.append(f"asked for {route.request.url[:120]}")
        return route.abort()

    def note_failure(request) -> None:
        if "ERR_ABORTED" not in (request.failure or ""):  # which is what leaving a page does to open requests
            complaints.append(f"failed: {request.failure} {request.url[:120]}")

    def note_socket(socket) -> None:
        if urlsplit(socket.url).hostname not in LOCAL:
            complaints.append(f"connected to {socket.url[:120]}")

    def open_page(url: str):
        context.route(re.compile("^https?:"), stay_here)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(f"console: {said.text}") if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(f"page error: {error}"))
        page.on("response", lambda got: complaints.append(f"{got.status}: {got.url}") if got.status >= 400 else None)
        page.on("requestfailed", note_failure)
        page.on("websocket", note_socket)
        page.on("request", lambda asked: page.asked.append(asked.url))
        page.asked = []
        page.goto(url, wait_until="commit")  # a dashboard loads for as long as its notebook runs
        return page

    yield open_page
    context.close()
    assert complaints == []


def wait_for(page, condition: str, seconds: float, what: str) -> None:
    """Until the JavaScript expression is true; looked at from here, because a page under load forgets its timers."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        page.wait_for_timeout(200)


def run_all(page) -> None:
    """Run All from the menu; again while JupyterLab answers that the kernel is still initializing."""
    for _ in range(30):
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.wait_for_timeout(1000)
        if page.locator(".jp-CodeCell .jp-InputPrompt").first.text_content() != "[ ]:":
            return
    pytest.fail("the kernel did not start")


PIXELS = """img => { const c = document.createElement('canvas'); c.width = img.naturalWidth;
    c.height = img.naturalHeight; c.getContext('2d').drawImage(img, 0, 0); return c.toDataURL() }"""


def wait_until(page, condition, what: str) -> None:
    """Until a function without arguments is true; ten seconds at most."""
    for _ in range(100):
        if condition():
            return
        page.wait_for_timeout(100)
    pytest.fail(what)


def move_sliders(page, name: str, screenshot: Path) -> None:
    """Each slider of this name one step by keyboard: the figure after it changes, and comes back with the slider."""
    sliders = page.locator(".widget-slider", has=page.get_by_text(name, exact=True)).all()
    assert sliders
    for slider in sliders:
        move_slider(page, slider, name)
        page.screenshot(path=screenshot)


def move_slider(page, slider, name: str) -> None:
    handle, readout = slider.locator(".noUi-handle"), slider.locator(".widget-readout")
    handle.scroll_into_view_if_needed()
    figure = slider.locator("xpath=following::img[contains(@class, 'widget-image')]").first
    before, number = figure.evaluate(PIXELS), int(readout.inner_text())
    handle.focus()
    page.keyboard.press("ArrowRight")
    complaint = f"the figure does not follow slider {name!r}"
    wait_until(page, lambda: int(readout.inner_text()) == number + 1 and figure.evaluate(PIXELS) != before, complaint)
    page.keyboard.press("ArrowLeft")
    complaint = f"the figure does not come back with slider {name!r}"
    wait_until(page, lambda: int(readout.inner_text()) == number and figure.evaluate(PIXELS) == before, complaint)


def replace_token(page, screenshot: Path) -> None:
    """A token is chosen by arrow key and by mouse, replaced by a nearest code, and put back: the picture follows."""
    grid = page.locator(".motionkit-tokens")
    if not grid.count():
        return
    figure = grid.locator("xpath=preceding::img[contains(@class, 'widget-image')]").last
    chosen = grid.locator("button.chosen")
    grid.scroll_into_view_if_needed()
    titles, pictures = [chosen.get_attribute("title")], [figure.evaluate(PIXELS)]

    def follows() -> bool:
        return chosen.get_attribute("title") != titles[-1] and figure.evaluate(PIXELS) != pictures[-1]

    inward = "ArrowRight" if "column 1" in titles[0] else "ArrowLeft"
    for choose in (lambda: page.keyboard.press(inward), grid.locator("button:not(.chosen)").nth(5).click):
        chosen.focus()
        choose()
        wait_until(page, follows, f"the picture does not follow from {titles[-1]} to {chosen.get_attribute('title')}")
        titles.append(chosen.get_attribute("title"))
        pictures.append(figure.evaluate(PIXELS))
    page.locator(".motionkit-thumbnails").last.locator("button").first.click()
    wait_until(page, follows, "the picture does not change with the token")
    assert chosen.get_attribute("title").endswith(", replaced")
    wait_until(page, page.get_by_text("with your tokens").is_visible, "the picture is not said to be of your tokens")
    figure.evaluate("img => img.scrollIntoView()")
    page.screenshot(path=screenshot)
    page.get_by_role("button", name="undo").click()
    wait_until(page, lambda: figure.evaluate(PIXELS) == pictures[-1], "undo does not bring the picture back")
    wait_until(page, lambda: chosen.get_attribute("title") == titles[-1], "undo does not bring the token back")


@pytest.mark.parametrize(("notebook", "slider"), NOTEBOOKS)
def test_a_notebook_runs_in_jupyterlab_and_its_explorer_obeys_the_keyboard(
    serve, open_page, artifacts, notebook, slider
):
    server = serve("lab", notebook)
    path = server.notebooks / f"{notebook}.ipynb"
    stored, cells = path.read_bytes(), nbformat.read(path, as_version=4).cells
    num_cells = sum(cell.cell_type == "code" for cell in cells)
    page = open_page(server.url)
    page.locator(IDLE).wait_for(timeout=60_000)
    assert page.locator(".jp-DirListing-item", has_text=notebook).count() == 1  # it works in the notebooks' folder
    run_all(page)
    try:
        wait_for(page, f"{NUM_RAN} === {num_cells} || document.querySelector('{ERRORS}, .jp-Dialog')", 200, "Run All")
    finally:
        page.screenshot(path=artifacts / f"lab_{notebook}_ran.png")
    assert page.locator(ERRORS).all_inner_texts() == []
    told = page.locator(".jp-Dialog, .Toastify__toast").all_inner_texts()
    assert [text for text in told if "still initializing" not in text] == []  # no news, no questions
    assert page.evaluate(NUM_RAN) == num_cells
    move_sliders(page, slider, artifacts / f"lab_{notebook}.png")
    replace_token(page, artifacts / f"lab_{notebook}_tokens.png")
    assert path.read_bytes() == stored  # nothing is saved unasked
    assert not [url for url in page.asked if re.search("/lab/api/(news|update|extensions)", url)]
    assert {path.name for path in (server.settings / "config").rglob("*")} <= {"migrated"}


@pytest.mark.parametrize(("notebook", "slider"), NOTEBOOKS)
def test_a_notebook_is_a_dashboard_without_code(serve, open_page, artifacts, notebook, slider):
    pytest.importorskip("voila")
    # idle so long, a kernel goes; a busy machine takes some seconds to connect a page to one
    soon = ("MappingKernelManager.cull_idle_timeout=15", "MappingKernelManager.cull_interval=1")
    server = serve("dashboard", notebook, *soon)
    page = open_page(server.url)
    try:
        page.locator("img.widget-image").first.wait_for(timeout=200_000)
    finally:
        page.screenshot(path=artifacts / f"dashboard_{notebook}_start.png")
    assert page.locator(ERRORS).all_inner_texts() == []
    assert not page.get_by_text("import torch").count()
    move_sliders(page, slider, artifacts / f"dashboard_{notebook}.png")
    replace_token(page, artifacts / f"dashboard_{notebook}_tokens.png")
    kernels = psutil.Process(server.process.pid).children()
    assert len(kernels) == 1
    assert psutil.wait_procs(kernels, timeout=18)[1] == kernels  # while the page is open, the kernel stays
    page.goto("about:blank")  # the reader leaves, and the kernel does not stay
    assert psutil.wait_procs(kernels, timeout=45)[1] == []


IMPUTATION = """
import torch
from motionkit.data.catalogue import load_dataset
from motionkit.data.clip import convert_clip
from motionkit.data.skeleton import AMASS_18
from motionkit.data.windows import cut_windows, thin
from motionkit.models.hg_vae import HGVAE, HGVAEConfig
from motionkit.models.imputation import leftovers_of
from motionkit.representation.pelvis_frame import clip_to_pelvis_frame
from motionkit.widgets.imputation_explorer import explore_imputation

clips = [convert_clip(clip_to_pelvis_frame(clip), AMASS_18) for clip in load_dataset("sample")]
windows = thin(cut_windows(clips, length=50, stride=25, fps=25.0), 4)
torch.manual_seed(0)
model = HGVAE(HGVAEConfig(levels=((54, 12), (8, 16), (1, 24)), trunk_features=16)).eval()
model.nodes.standardize(windows.positions)
leftovers = leftovers_of(model, windows.positions)
explore_imputation(windows, model, leftovers, windows.positions.mean(0))
"""


def test_gaps_are_painted_filled_and_given_back_and_new_motion_plays(serve, open_page, artifacts):
    server = serve("lab", "imputation", code=IMPUTATION)
    page = open_page(server.url)
    page.locator(IDLE).wait_for(timeout=60_000)
    run_all(page)
    picture, grid = page.locator("img.widget-image").first, page.locator(".motionkit-occlusion")
    picture.wait_for(timeout=120_000)
    assert page.locator(ERRORS).all_inner_texts() == []
    page.get_by_text("spread drawn").wait_for(timeout=60_000)  # it comes by itself
    page.get_by_role("button", name="clear").click()
    wait_until(page, lambda: grid.locator(".lost").count() == 0, "the grid is not clear")
    clear = picture.evaluate(PIXELS)

    def paint() -> None:  # a drag over three joints and some frames, in one stroke
        cells = [grid.get_by_role("button", name=name, exact=True) for name in
                 ("left_knee, frame 20: seen", "spine2, frame 30: seen")]  # fmt: skip
        (x0, y0), (x1, y1) = [(box["x"] + 4, box["y"] + 6) for box in (cell.bounding_box() for cell in cells)]
        page.mouse.move(x0, y0)
        page.mouse.down()
        page.mouse.move(x1, y1, steps=2)
        page.mouse.up()

    grid.scroll_into_view_if_needed()
    paint()
    wait_until(page, lambda: picture.evaluate(PIXELS) != clear, "the picture does not follow the brush")
    wait_until(page, lambda: grid.locator(".lost").count() == 11, "the brush does not take what it passes")
    wait_until(page, page.get_by_text("1% missing").is_visible, "it is not said how much is missing")
    painted = picture.evaluate(PIXELS)
    steps = page.locator(".widget-slider", has=page.get_by_text("steps", exact=True)).locator(".noUi-handle")
    steps.focus()
    page.keyboard.press("Home")
    wait_until(page, lambda: picture.evaluate(PIXELS) != painted, "the picture does not follow the steps")
    page.keyboard.press("End")
    grid.get_by_role("button", name="head", exact=True).click()
    wait_until(page, lambda: grid.locator(".lost").count() == 61, "the joint is not lost throughout")
    page.get_by_text("spread drawn").wait_for(timeout=60_000)
    page.screenshot(path=artifacts / "lab_imputation.png")
    grid.locator("button.lost").first.focus()
    page.keyboard.press(" ")
    wait_until(page, lambda: grid.locator(".lost").count() == 60, "the keyboard gives nothing back")
    for count in (61, 11, 0):
        page.get_by_role("button", name="undo").click()
        wait_until(page, lambda count=count: grid.locator(".lost").count() == count, "undo does not give back")
    page.get_by_role("tab", name="generate").click()
    player = page.locator(".motionkit-player, [data-playing]").first
    player.wait_for(timeout=10_000)
    page.screenshot(path=artifacts / "lab_imputation_generate.png")
