"""Shared by all tests: shape checks on, one thread, no live widgets, a private cache, one place for tolerances; and one
browser, with the folder its screenshots are kept in."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
import torch
from jaxtyping import config as jaxtyping_config
from jaxtyping import install_import_hook

# Before the first import of the package: every annotated shape is then enforced at every call.
install_import_hook("motionkit", "shape_checks.check")

os.environ["MOTIONKIT_BATCH"] = "1"  # widgets draw a still picture instead of live controls
_cache = tempfile.TemporaryDirectory(prefix="motionkit-test-cache-")  # kept alive, removed when the session ends
os.environ["MOTIONKIT_CACHE"] = _cache.name

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell started the tests in the background. Processes that tests interrupt would inherit the deafness.
    signal.signal(signal.SIGINT, signal.default_int_handler)

torch.set_num_threads(1)  # two threads on two busy cores are slower and erratic

# Relative and absolute tolerance for "equal up to rounding", by element type.
TOLERANCES = {
    torch.float64: {"rtol": 1e-10, "atol": 1e-12},
    torch.float32: {"rtol": 1e-5, "atol": 1e-6},
    torch.bfloat16: {"rtol": 2e-2, "atol": 1e-2},
    torch.float16: {"rtol": 2e-3, "atol": 1e-3},
}


@pytest.fixture(scope="session")
def tolerance():
    """``tolerance(torch.float32)`` -> keyword arguments of ``torch.testing.assert_close`` or ``numpy.testing``."""
    return lambda dtype=torch.float32: dict(TOLERANCES[dtype])


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of full data sets named by MOTIONKIT_DATA; tests that need it are skipped without one."""
    name = os.environ.get("MOTIONKIT_DATA")
    if not name:
        pytest.skip("MOTIONKIT_DATA is not set: no folder of full data sets")
    folder = Path(name)
    if not folder.is_dir():
        pytest.skip(f"MOTIONKIT_DATA={name} is not a folder")
    return folder


@pytest.fixture
def unchecked():
    """Shape checks off for one test: what a user meets, who gets the library's own error messages."""
    jaxtyping_config.update("jaxtyping_disable", True)
    yield
    jaxtyping_config.update("jaxtyping_disable", False)


def pytest_make_parametrize_id(val, argname):
    """Bytes are named by their argument: archives hold the time they were made, and names must not change with it."""
    return argname if isinstance(val, bytes) else None


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium. Without one a test is skipped, or fails where MOTIONKIT_BROWSER=required."""
    missing = "no chromium on the PATH" if CHROMIUM is None else ""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing = "playwright is not installed"
    if missing:
        is_required = os.environ.get("MOTIONKIT_BROWSER") == "required"
        (pytest.fail if is_required else pytest.skip)(f"the browser tests need Chromium and playwright: {missing}")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Opens a file with the network off; at the end of the test nothing may have failed, been asked for or said."""
    opened, complaints = [], []

    def open_page(path, **settings):
        context = browser.new_context(offline=True, **{"viewport": {"width": 1100, "height": 800}} | settings)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url[:90]}"))
        page.on("request", lambda request: complaints.append(request.url)
                if not request.url.startswith(("file:", "data:", "blob:")) else None)  # fmt: skip
        page.goto(path if isinstance(path, str) else path.as_uri())
        opened.append(context)
        return page

    yield open_page
    for context in opened:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Where screenshots and server logs are kept for a reader: ``test-artifacts/`` beside the tests, not in git."""
    folder = Path(__file__).parent.parent / "test-artifacts"
    folder.mkdir(exist_ok=True)
    return folder
