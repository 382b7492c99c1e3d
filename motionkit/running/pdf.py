"""A PDF of a page, printed by a browser without a window."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from motionkit.data.atomic import written_whole

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
# no sandbox: in most containers there is none to be had, and the page may not ask for anything anyway
FLAGS = ["--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars",
         "--no-pdf-header-footer", "--generate-pdf-document-outline", "--force-device-scale-factor=2",
         "--window-size=760,1100", "--virtual-time-budget=20000", "--force-prefers-reduced-motion"]  # fmt: skip


def find_browser() -> str:
    """The path of a Chromium or one of its kin; ``FileNotFoundError`` with what to install if there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise FileNotFoundError(
            f"a PDF needs a browser, and none of {', '.join(BROWSERS)} is installed. "
            "For example: apt install chromium. Without one, open the HTML report in any browser and print it."
        )
    return found


def write_pdf(page: str | Path, out: str | Path, timeout_s: float = 300.0) -> Path:
    """Print an HTML file into a PDF and return the PDF's path. The page is told by the address's ``#print``.

    The PDF is written whole or not at all; the browser and all its processes end with this function.

    Raises ``FileNotFoundError`` without a browser, ``RuntimeError`` if it fails or needs longer than ``timeout_s``.
    """
    browser, page, out = find_browser(), Path(page).resolve(strict=True), Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(out.resolve()) as aside, _folder() as profile:
        command = [browser, *FLAGS, f"--user-data-dir={profile}", f"--print-to-pdf={aside}", f"{page.as_uri()}#print"]
        said = _run(command, timeout_s, profile)
        if not aside.is_file() or aside.read_bytes()[:5] != b"%PDF-":
            last = "\n".join(said.splitlines()[-5:])
            raise RuntimeError(f"{Path(browser).name} wrote no PDF of {page}; it said:\n{last}")
    return out


def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="motionkit-pdf-", ignore_cleanup_errors=True)


def _run(command: list[str], timeout_s: float, home: str) -> str:
    """What the browser printed; it gets a process group of its own, so that its helpers can be ended with it."""
    with tempfile.TemporaryFile(dir=home) as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{Path(command[0]).name} did not finish the PDF in {timeout_s:g} s") from None
        finally:
            _end(process)
        log.seek(0)
        return log.read().decode(errors="replace")


def _end(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # all of them have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
