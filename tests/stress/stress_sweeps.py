"""Sweeps under violence: python tests/stress/stress_sweeps.py [failures] [kills] [dask] [speed]

failures: 15 runs, of which some raise, exit or hang; the others complete.
kills: the driver of a sweep is killed (SIGKILL) 20 times at random moments; nothing is repeated, lost or half-written.
dask: a scheduler and two workers started by hand; one is killed, and one run kills its workers.
speed: independent runs with 1 and 2 workers.

Minutes, not seconds; not part of the test suite. Ends with exit code 1 if anything is not as it should be.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import psutil

PARAMETERS = """\
mode: str = "good"  # what happens
work: float = 0.3  # seconds it takes
seed: int = 0  # which of them it is
runs: str = "runs"  # where results go
"""
WORK = """\
import os, signal, time
from pathlib import Path
with Path(runs, "starts.txt").open("a") as file:
    print(os.getpid(), file=file)
if mode == "raises":
    raise RuntimeError(f"seed {seed} is bad")
if mode == "exits":
    os._exit(3)
if mode == "hangs":
    time.sleep(600)
if mode == "kills":
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(5)
if mode == "waits":  # as for a GPU
    time.sleep(work)
    work = 0
until = time.process_time() + work
while time.process_time() < until:
    sum(i * i for i in range(1000))
Path(runs, "value.txt").write_text(str(seed))
"""
# The version of the code is held still, so that nobody's commit starts the sweep anew; kernels import nothing heavy.
STILL = """\
import motionkit.results.record, motionkit.running.kernels
motionkit.results.record.code_version = lambda: "stress"
import motionkit.running.executors
motionkit.running.executors.code_version = motionkit.results.record.code_version
motionkit.running.kernels._modules = lambda: ["json"]
motionkit.running.kernels._code_stamp = lambda: 0
"""
DRIVER = STILL + "from motionkit.cli import main\nmain()\n"


def prepare(folder: Path, rows: str, seeds: list[int], timeout_s: float = 60) -> None:
    cells = [
        v4.new_markdown_cell("# What happens?"),
        v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        v4.new_code_cell(WORK),
    ]
    nbformat.write(v4.new_notebook(cells=cells), folder / "01_fake.ipynb")
    (folder / "fake.yaml").write_text(
        f"notebook: 01_fake.ipynb\ngrid: [{rows}]\nseeds: {seeds}\ntimeout_s: {timeout_s}\n"
    )


def start_sweep(folder: Path, *options: str, env: dict[str, str] | None = None) -> subprocess.Popen:
    command = [sys.executable, "-c", DRIVER, "sweep", "fake.yaml", *options]
    with open(folder / "driver.txt", "a") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=env)


def records(folder: Path) -> dict[str, str]:
    """The text of each record, by run id; damaged ones raise."""
    texts = {}
    for file in sorted(folder.glob("runs/sweeps/fake/*/run.json")):
        texts[file.parent.name] = file.read_text()
        json.loads(texts[file.parent.name])
    return texts


def starts(folder: Path, run: str) -> list[str]:
    file = folder / "runs" / "sweeps" / "fake" / run / "starts.txt"
    return file.read_text().split() if file.exists() else []


def kernels_of(folder: Path, driver: int | str = "") -> list[int]:
    """Of any driver, or of the one with this number."""
    found = []
    for process in psutil.process_iter():
        try:
            if re.match(f"{driver or '[0-9]+'}:{folder}", process.environ().get("MOTIONKIT_SWEEP", "")):
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def states(folder: Path) -> dict[str, int]:
    """How many runs are done, and how many failed for each reason."""
    counts: dict[str, int] = {}
    for text in records(folder).values():
        state = json.loads(text)
        counts[state["reason"] or state["state"]] = counts.get(state["reason"] or state["state"], 0) + 1
    return dict(sorted(counts.items()))


def failures(folder: Path) -> None:
    prepare(folder, "{work: 0.1}, {work: 0.3}, {mode: raises}, {mode: exits}, {mode: hangs}", [0, 1, 2], timeout_s=5)
    code = start_sweep(folder, "--workers", "2").wait()
    print(f"failures: exit code {code}, {states(folder)}")
    assert code == 1
    assert states(folder) == {"died": 3, "done": 6, "raised": 3, "timed out": 3}
    for text in records(folder).values():
        state = json.loads(text)
        assert state["state"] == "done" or (state["cell"].startswith("cell 3 of 3") and state["lines"].strip()), text
    before = records(folder)
    assert start_sweep(folder, "--workers", "2").wait() == 1
    assert records(folder) == before  # a second call repeats nothing
    assert not kernels_of(folder)


def kills(folder: Path, count: int = 20) -> None:
    random.seed(0)
    killed = sweeps = 0
    moments = {"without kernels": 0, "with kernels": 0}
    while killed < count:
        sweeps += 1
        here = folder / str(sweeps)
        here.mkdir()
        prepare(here, "{work: 0.2}, {work: 0.5}", [0, 1, 2, 3, 4, 5])
        seen: dict[str, tuple[str, list[str]]] = {}
        while len(seen) < 12 or killed == count:
            driver = start_sweep(here, "--workers", "2")
            try:
                if killed < count and random.random() < 0.8:  # else while it starts, perhaps
                    wait_for_kernels(here, driver)
                code = driver.wait(random.uniform(0.0, 5.0) if killed < count else None)
            except subprocess.TimeoutExpired:
                had = kernels_of(here, driver.pid)
                driver.send_signal(signal.SIGKILL)
                code = driver.wait()
                killed += 1
                moments["with kernels" if had else "without kernels"] += 1
            check_progress(here, seen)
            if code != -signal.SIGKILL:
                assert code == 0, (here / "driver.txt").read_text()
                assert len(seen) == 12
                break
        check_end(here, seen)
    print(f"kills: driver killed {killed} times ({moments}) in {sweeps} sweeps of 12 runs; all complete")


def wait_for_kernels(folder: Path, driver: subprocess.Popen) -> None:
    while driver.poll() is None and not kernels_of(folder, driver.pid):
        time.sleep(0.02)


def check_progress(folder: Path, seen: dict[str, tuple[str, list[str]]]) -> None:
    """No record is lost or changed, and what has one was not started again."""
    now = records(folder)
    for run, (text, begun) in seen.items():
        assert now.get(run) == text, f"record of {run} changed"
        assert starts(folder, run) == begun, f"{run} was repeated"
    for run, text in now.items():
        assert json.loads(text)["state"] == "done", text
        seen.setdefault(run, (text, starts(folder, run)))


def check_end(folder: Path, seen: dict[str, tuple[str, list[str]]]) -> None:
    for run, (text, _) in seen.items():
        here = folder / "runs" / "sweeps" / "fake" / run
        assert (here / "value.txt").read_text() == str(json.loads(text)["varied"]["seed"])
        cells = [c for c in nbformat.read(here / "01_fake.ipynb", 4).cells if c.cell_type == "code"]
        assert all(cell.execution_count for cell in cells), f"{run}: executed notebook is not whole"
        assert not [*here.glob(".*.part"), *here.glob(".*.running.ipynb")], f"{run}: leftovers"
    deadline = time.monotonic() + 10
    while (left := kernels_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left, f"kernels that outlived their sweep: {left}"


def dask(folder: Path) -> None:
    prepare(folder, "{work: 0.5}, {work: 1.0}, {work: 1.5}, {mode: raises}", [0, 1, 2])
    with open(folder / "fake.yaml") as file:
        text = file.read().replace("mode: raises}]", "mode: raises}, {mode: kills}]")
    (folder / "fake.yaml").write_text(text)
    (folder / "still.py").write_text(STILL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    tool, log = [sys.executable, "-m", "distributed.cli"], open(folder / "dask.txt", "w")  # noqa: SIM115
    port = address.rpartition(":")[2]
    scheduler = [f"{tool[-1]}.dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    options = ["--nthreads", "1", "--no-dashboard", "--preload", "still.py", "--nanny"]
    started = [subprocess.Popen([*tool[:2], *scheduler], cwd=folder, stdout=log, stderr=log)]
    try:
        time.sleep(3)
        for name in ("one", "two"):
            worker = [f"{tool[-1]}.dask_worker", address, "--name", name, *options]
            started.append(subprocess.Popen([*tool[:2], *worker], cwd=folder, stdout=log, stderr=log))
        time.sleep(10)
        driver, give_up = start_sweep(folder, "--scheduler", address), time.monotonic() + 90
        while len(records(folder)) < 2 or not kernels_of(folder):
            assert driver.poll() is None, "the driver ended"
            assert time.monotonic() < give_up, "no worker came to work"
            time.sleep(0.05)
        victim = psutil.Process(kernels_of(folder)[0]).parent()
        victim.kill()
        code = driver.wait()
        print(f"dask: a worker killed by hand, exit code {code}, {states(folder)}")
        assert code == 1
        assert states(folder) == {"done": 9, "raised": 3, "worker lost": 3}, (folder / "driver.txt").read_text()
        seen: dict[str, tuple[str, list[str]]] = {}
        for run, text in records(folder).items():
            if json.loads(text)["state"] == "done":
                seen[run] = (text, starts(folder, run))
        check_end(folder, seen)
    finally:
        for process in started:
            for child in [*psutil.Process(process.pid).children(recursive=True), process]:
                child.kill()
            process.wait()
        log.close()


def speed(folder: Path) -> None:
    env = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    for mode in ("good", "waits"):
        prepare(folder, f"{{mode: {mode}, work: 4.0}}", list(range(8)))
        took: dict[int, list[float]] = {1: [], 2: []}
        for repetition in range(3):
            for workers in took:
                out = folder / f"{mode}-{workers}-{repetition}"
                assert start_sweep(folder, "--workers", str(workers), "--out", str(out), env=env).wait() == 0
                ended = [json.loads(file.read_text()) for file in out.glob("*/run.json")]
                begun = sorted(datetime.fromisoformat(state["started"]) for state in ended)
                last = max(datetime.fromisoformat(s["started"]) + timedelta(seconds=s["seconds"]) for s in ended)
                took[workers].append((last - begun[0]).total_seconds())  # the driver's own start aside
                threads = ended[0]["threads"]
                print(f"speed: {mode}, {workers} workers of {threads} threads, 8 runs: {took[workers][-1]:.1f} s")
        one, two = (sorted(times)[1] for times in took.values())
        print(f"speed: {mode}: medians {one:.1f} s and {two:.1f} s: {one / two:.2f} times as fast")


if __name__ == "__main__":
    parts = {"failures": failures, "kills": kills, "dask": dask, "speed": speed}
    for part in sys.argv[1:] or parts:
        with tempfile.TemporaryDirectory(prefix=f"sweep-{part}-") as temporary:
            clock = time.monotonic()
            try:
                parts[part](Path(temporary).resolve())
            except BaseException:
                for log in sorted(Path(temporary).glob("**/d*k.txt")) + sorted(Path(temporary).glob("**/driver.txt")):
                    print(log.read_text()[-6000:], file=sys.stderr)
                raise
            print(f"{part}: as it should be ({time.monotonic() - clock:.0f} s)", flush=True)
