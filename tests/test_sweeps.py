"""Sweeps on tiny notebooks made here: refused before they start, recorded as they end, continued where they were."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import psutil
import pytest

from motionkit import cli
from motionkit.results import record
from motionkit.running import executors, kernels, sweep_plan, sweep_run, sweeps
from motionkit.running.configs_check import refused_settings
from motionkit.running.executors import WorkerLost, shares
from motionkit.running.sweep_plan import plan_runs, read_sweep
from motionkit.running.sweep_progress import SweepProgress, last_line
from motionkit.running.sweep_run import Locked, RunState, end_kernels, locked
from motionkit.running.sweeps import describe_plan, planned_table, prepare_sweep, run_sweep

PARAMETERS = """\
mode: str = "good"  # what happens
steps: int = 3  # of it
widths: list[int] = [1, 2]  # of what
lr: float = 1e-3  # of training
seed: int = 0  # of chance
dataset: str = ""  # of clips
runs: str = "runs"  # where results go
"""
CONFIGS = """\
if steps > 10:
    raise ValueError(f"steps must be at most 10, got {steps}")
"""
WORK = """\
import os, time
from pathlib import Path
with Path(runs, "starts.txt").open("a") as file:
    print(os.environ["OMP_NUM_THREADS"], file=file)
if mode == "raises" and not Path("mended").exists():
    raise RuntimeError(f"seed {seed} is bad")
if mode == "exits":
    os._exit(3)
if mode == "hangs" and not Path("mended").exists():
    print("hanging", flush=True)
    time.sleep(600)
print(f"loss {0.5 / steps:.2f}")
"""
STILL = """\
import motionkit.results.record, motionkit.running.kernels
motionkit.results.record.code_version = lambda: "still"
motionkit.running.kernels._modules = lambda: ["json"]
motionkit.running.kernels._code_stamp = lambda: 0
import motionkit.running.sweeps
motionkit.running.sweeps.refused_settings = lambda *_: {}  # another process, tested by itself
from motionkit.cli import main
main()
"""


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    """One version of the code, kernels that import nothing heavy, runs in a temporary folder."""
    for module in (record, executors):
        monkeypatch.setattr(module, "code_version", lambda: "still")
    monkeypatch.setattr(kernels, "_modules", lambda: ["json"])
    monkeypatch.setattr(kernels, "_code_stamp", lambda: 0)
    monkeypatch.chdir(tmp_path)


def write(folder, text, name="tiny.yaml"):
    cells = [
        v4.new_markdown_cell("# Is it tiny?"),
        v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        v4.new_code_cell(CONFIGS, metadata={"tags": ["configs"]}),
        v4.new_markdown_cell("## Work"),
        v4.new_code_cell(WORK),
    ]
    nbformat.write(v4.new_notebook(cells=cells), folder / "01_tiny.ipynb")
    (folder / name).write_text("notebook: 01_tiny.ipynb\n" + text)
    return folder / name


def prepare(folder, text, **options):
    return prepare_sweep(write(folder, text), **options)


def silent():
    return SweepProgress(io.StringIO())


# ---- reading and planning --------------------------------------------------------------------------------------------


def test_a_grid_becomes_its_combinations_with_seeds_running_fastest(tmp_path):
    sweep = read_sweep(write(tmp_path, "grid: {steps: [1, 2], lr: [1e-3, 1]}\nseeds: [0, 5]\nparameters: {mode: x}"))
    runs = plan_runs(sweep)
    assert [tuple(run.varied.values()) for run in runs] == [
        (steps, lr, seed) for steps in (1, 2) for lr in (1e-3, 1.0) for seed in (0, 5)
    ]
    assert all(run.settings["mode"] == "x" and run.settings["widths"] == [1, 2] for run in runs)
    assert runs[0].label == "steps=1 lr=0.001 seed=0"
    assert len({run.id for run in runs}) == 8


def test_a_list_of_rows_is_taken_as_it_is_and_seeds_alone_are_enough(tmp_path):
    rows = plan_runs(read_sweep(write(tmp_path, "grid:\n  - {steps: 1}\n  - {steps: 2, widths: [4]}\n")))
    assert [run.varied for run in rows] == [{"steps": 1}, {"steps": 2, "widths": [4]}]
    alone = plan_runs(read_sweep(write(tmp_path, "seeds: [3, 4]")))
    assert [run.varied for run in alone] == [{"seed": 3}, {"seed": 4}]


def test_the_id_follows_everything_a_result_depends_on_and_nothing_else(tmp_path, monkeypatch):
    file = write(tmp_path, "seeds: [0]")
    first = plan_runs(read_sweep(file))[0].id
    assert plan_runs(read_sweep(write(tmp_path, "grid: {seed: [0]}", "other.yaml")))[0].id == first
    monkeypatch.setattr(sweep_plan, "fingerprint", lambda clips: "other content")
    assert plan_runs(read_sweep(file))[0].id == first  # this notebook is told to use no data set
    ids = {first}
    for text in ("seeds: [1]", "seeds: [0]\nparameters: {lr: 2e-3}", "seeds: [0]\nparameters: {dataset: sample}"):
        ids.add(plan_runs(read_sweep(write(tmp_path, text)))[0].id)
    monkeypatch.setattr(sweep_plan, "fingerprint", lambda clips: "again other content")
    ids.add(plan_runs(read_sweep(write(tmp_path, "seeds: [0]\nparameters: {dataset: sample}")))[0].id)
    notebook = nbformat.read(tmp_path / "01_tiny.ipynb", 4)
    notebook.cells[0].source = "# Is it still tiny?"  # text is not code
    nbformat.write(notebook, tmp_path / "01_tiny.ipynb")
    file.write_text("notebook: 01_tiny.ipynb\nseeds: [0]")
    assert plan_runs(read_sweep(file))[0].id == first
    notebook.cells[-1].source += "\nprint(1)"
    nbformat.write(notebook, tmp_path / "01_tiny.ipynb")
    ids.add(plan_runs(read_sweep(file))[0].id)
    monkeypatch.setattr(record, "code_version", lambda: "newer")
    ids.add(plan_runs(read_sweep(file))[0].id)
    assert len(ids) == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sseds: [1]", "tiny.yaml, line 2, sseds: unknown key; did you mean 'seeds'?"),
        ("seeds: [1]\nseeds: [2]", "tiny.yaml, line 2, seeds: stands a second time in line 3"),
        (
            "grid:\n  stpes: [1]",
            "line 3, grid: stpes: notebook 01_tiny has no parameter 'stpes'; did you mean 'steps'?",
        ),
        ("grid:\n  steps: [1, two]", "line 3, grid: steps: parameter 'steps' of notebook 01_tiny is 'two' (str)"),
        ("grid:\n  steps: 4", "line 3, grid: steps: expected a list of values, such as [1, 2]; is 4"),
        ("grid: {widths: [1, 2]}", "'widths' of notebook 01_tiny is 1 (int); expected list[int]"),
        ("grid: {steps: []}", "grid: steps: expected a list of values"),
        ("grid: {}", "grid: expected lists of values by name, or a list of rows"),
        ("profile: small", "grid: expected lists of values by name, or a list of rows"),
        ("grid: {steps: [1, 2, 1]}", "grid: steps: 1 stands twice"),
        ("grid: [{steps: 1}, {lr: 1}, {steps: 1}]", "two runs are the same: steps=1 and steps=1"),
        ("grid: [{steps: 3}, {lr: 1e-3}]", "two runs are the same: steps=3 and lr=0.001"),
        ("grid: {steps: [1]}\nparameters: {steps: 2}", "grid: 'steps' is given in parameters already"),
        ("grid: {seed: [1]}\nseeds: [2]", "grid: 'seed' is given in seeds already"),
        ("parameters: {seed: 1}\nseeds: [2]", "seeds: 'seed' is given in parameters already"),
        ("seeds: 3", "seeds: expected a list, such as [0, 1, 2]; is 3"),
        ("seeds: [1, 1]", "seeds: 1 stands twice"),
        ("seeds: [one]", "parameter 'seed' of notebook 01_tiny is 'one' (str); expected int"),
        ("seeds: [1]\nparameters: {runs: x}", "parameters: runs: not to be set here: the sweep gives each run its own"),
        ("seeds: [1]\nparameters: [steps]", "line 3, parameters: expected `name: value`, found ['steps']"),
        ("seeds: [1]\nprofile: smal", "notebook 01_tiny has no profile 'smal'; did you mean 'small'?"),
        ("seeds: [1]\ntimeout_s: soon", "line 3, timeout_s: expected seconds above 0; is 'soon'"),
        ("seeds: [1]\ntimeout_s: 0", "timeout_s: expected seconds above 0; is 0"),
        ("seeds: [1]\nfills: {paper: vqgan}", "fills: expected {paper: NAME, table: NUMBER}"),
        ("seeds: [1]\nfills: {paper: vqgam, table: III}", "unknown paper: 'vqgam'; did you mean 'vqgan'?"),
        ("seeds: [1]\nparameters: {dataset: sampel}", "dataset 'sampel': no data set"),
        ("seeds: [1", "is no valid YAML"),
    ],
)
def test_what_is_wrong_in_a_sweep_file_is_said_with_its_place(tmp_path, text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        plan_runs(read_sweep(write(tmp_path, text)))


def test_a_sweep_file_needs_a_notebook_that_is_there_and_a_known_name(tmp_path):
    write(tmp_path, "seeds: [1]")
    (tmp_path / "tiny.yaml").write_text("seeds: [1]")
    with pytest.raises(ValueError, match="needs a line `notebook: NAME`"):
        read_sweep(tmp_path / "tiny.yaml")
    (tmp_path / "tiny.yaml").write_text("- 1")
    with pytest.raises(ValueError, match="expected lines `name: value`"):
        read_sweep(tmp_path / "tiny.yaml")
    with pytest.raises(FileNotFoundError, match="did you mean 'vqgan_III'"):
        read_sweep("vqgan_IIII")


def test_combinations_that_the_configs_refuse_are_named_before_anything_starts(tmp_path):
    with pytest.raises(ValueError, match="2 of 3 runs are impossible") as error:
        prepare(tmp_path, "grid: {steps: [11, 3, 12]}")
    assert "steps=12: ValueError: steps must be at most 10, got 12" in str(error.value)
    assert "steps=3" not in str(error.value)
    assert not (tmp_path / "runs").exists()


def test_cells_before_the_configs_that_fail_are_shown(tmp_path):
    file = write(tmp_path, "seeds: [1]")
    notebook = nbformat.read(tmp_path / "01_tiny.ipynb", 4)
    notebook.cells.insert(1, v4.new_code_cell("import no_such_module"))
    nbformat.write(notebook, tmp_path / "01_tiny.ipynb")
    with pytest.raises(ValueError, match=r"01_tiny.ipynb: the cells before its configs fail:[\s\S]*no_such_module"):
        prepare_sweep(file)


def test_the_sweeps_of_the_kit_are_possible():
    settings = {}
    for file in sorted((sweep_plan.notebooks_folder() / "sweeps").glob("*.yaml")):
        sweep = read_sweep(file)
        points = tuple({**point, "dataset": "sample"} for point in sweep.points)  # other data may not be here
        sweep = replace(sweep, points=points)
        settings.setdefault(sweep.notebook, []).extend(run.settings for run in plan_runs(sweep))
    assert settings
    assert not any(refused_settings(notebook, several) for notebook, several in settings.items())


# ---- running ---------------------------------------------------------------------------------------------------------


def starts(planned):
    """How often each run began, by what varies."""
    return {
        run.label: len((planned.folder_of(run) / "starts.txt").read_text().split())
        for run in planned.runs
        if (planned.folder_of(run) / "starts.txt").exists()
    }


def test_failures_are_recorded_the_others_complete_and_only_they_are_repeated(tmp_path, monkeypatch):
    # long enough for every cell but the one that hangs, on a busy machine too
    text = "grid: [{mode: raises}, {mode: good}, {mode: exits}, {mode: hangs}, {steps: 5}]\ntimeout_s: 20"
    planned = prepare(tmp_path, text)
    out = io.StringIO()
    run_sweep(planned, workers=2, progress=SweepProgress(out))
    ended = {run.label: planned.states[run.id] for run in planned.runs}
    reasons = [state.reason or state.state for state in ended.values()]
    assert reasons == ["raised", "done", "died", "timed out", "done"]
    assert "RuntimeError: seed 0 is bad" in ended["mode=raises"].lines
    assert ended["mode=hangs"].cell == "cell 4 of 4 (Work)"
    for run in planned.runs:
        folder = planned.folder_of(run)
        assert RunState.read(folder) == planned.states[run.id]
        assert json.loads((folder / "run.json").read_text())["parameters"]["runs"] == str(folder)
        failed = planned.states[run.id].state == "failed"
        assert (folder / f"01_tiny{'.failed' * failed}.ipynb").exists()
        assert (folder / "log.txt").read_text().count(planned.states[run.id].reason) >= failed
    assert out.getvalue().count("done ") == 2
    assert "raised in cell 4 of 4 (Work): RuntimeError: seed 0 is bad" in out.getvalue()
    assert "loss 0.10" in (planned.folder_of(planned.runs[4]) / "log.txt").read_text()

    again = prepare(tmp_path, text)
    assert "timed out" in describe_plan(again)
    assert run_sweep(again, workers=2, progress=silent()) == planned.states
    assert set(starts(again).values()) == {1}
    (tmp_path / "mended").touch()
    run_sweep(again, workers=2, retry_failed=True, progress=silent())
    assert again.states[again.runs[2].id].reason == "died", again.states[again.runs[2].id].lines
    assert starts(again) == {"mode=raises": 2, "mode=good": 1, "mode=exits": 2, "mode=hangs": 2, "steps=5": 1}
    assert [again.states[run.id].state for run in again.runs] == ["done", "done", "failed", "done", "done"]
    assert (planned.folder_of(again.runs[0]) / "01_tiny.ipynb").exists()
    assert not (planned.folder_of(again.runs[0]) / "01_tiny.failed.ipynb").exists()
    assert not kernels_of(tmp_path)


def kernels_of(folder):
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in process.environ().get(sweep_run.MARK, ""):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def start_driver(folder, *options):
    return subprocess.Popen(
        [sys.executable, "-c", STILL, "sweep", "tiny.yaml", *options], cwd=folder, stderr=subprocess.PIPE, text=True
    )


def hangs(folder):
    return [log for log in folder.glob("runs/sweeps/tiny/*/log.txt") if "hanging" in log.read_text()]


def test_a_killed_driver_leaves_no_kernel_and_an_interrupted_one_goes_on_where_it_was(tmp_path):
    write(tmp_path, "grid: [{mode: good}, {mode: hangs}]")
    driver = start_driver(tmp_path)
    wait_for(lambda: hangs(tmp_path))
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    wait_for(lambda: not kernels_of(tmp_path))
    done = prepare_sweep(tmp_path / "tiny.yaml")
    assert [done.states[r.id].state if r.id in done.states else "missing" for r in done.runs] == ["done", "missing"]
    written = (done.folder_of(done.runs[0]) / "run.json").read_text()

    hangs(tmp_path)[0].write_text("")
    driver = start_driver(tmp_path)
    wait_for(lambda: hangs(tmp_path))
    with pytest.raises(ValueError, match=f"is being run already, by process {driver.pid} on"):
        run_sweep(done, progress=silent())
    driver.send_signal(signal.SIGINT)
    _, said = driver.communicate()
    assert driver.returncode == 130
    assert "stopped; the same command goes on where it was" in said
    assert "Traceback" not in said
    assert not kernels_of(tmp_path)
    assert not list(tmp_path.glob("runs/sweeps/tiny/*/.*.ipynb"))

    (tmp_path / "mended").touch()
    planned = prepare_sweep(tmp_path / "tiny.yaml")
    assert [planned.states[r.id].state if r.id in planned.states else "missing" for r in planned.runs] == [
        "done",
        "missing",
    ]
    run_sweep(planned, progress=silent())
    assert {state.state for state in planned.states.values()} == {"done"}
    assert starts(planned) == {"mode=good": 1, "mode=hangs": 3}
    assert (planned.folder_of(planned.runs[0]) / "run.json").read_text() == written


def test_the_command_says_by_its_exit_code_that_runs_failed(tmp_path, monkeypatch, capsys):
    planned = prepare(tmp_path, "grid: [{mode: raises}, {mode: good}]")
    monkeypatch.setattr(sweeps, "_workers", lambda *_: FakeWorkers({"mode=raises": "failed"}))
    with pytest.raises(SystemExit) as ended:
        cli.main(["sweep", "tiny.yaml"])
    assert f"1 of 2 runs failed; see log.txt of {planned.runs[0].id}" in str(ended.value)
    cli.main(["sweep", "tiny.yaml", "--dry-run"])
    assert re.search(r"raises\s+failed \(raised\)", capsys.readouterr().out)
    with pytest.raises(SystemExit):
        cli.main(["sweep", "tiny.yaml", "--workers", "0"])
    assert "--workers 0: expected at least 1" in capsys.readouterr().err


# ---- the driver, with workers that pretend ---------------------------------------------------------------------------


class FakeWorkers:
    """Two workers; ``outcomes`` says by label how a run ends: done, failed, lost (so many times) or an exception."""

    def __init__(self, outcomes=None):
        self.outcomes, self.jobs, self.order, self.stopped = dict(outcomes or {}), {}, [], False

    def __str__(self):
        return "2 pretended workers"

    def idle(self):
        return [name for name in ("a", "b") if name not in self.jobs]

    def start(self, worker, job):
        assert worker not in self.jobs
        self.jobs[worker] = job
        self.order.append(job.run)

    def ended(self, wait_s):
        worker = next(iter(self.jobs))
        job = self.jobs[worker]
        label = " ".join(f"{name}={value}" for name, value in job.varied.items())
        outcome = self.outcomes.get(label, "done")
        if outcome == "Ctrl-C":
            raise KeyboardInterrupt
        del self.jobs[worker]
        if isinstance(outcome, int):
            self.outcomes[label] = outcome - 1 or "done"
            outcome = WorkerLost("gone")
        if outcome in ("done", "failed"):
            reason = "raised" if outcome == "failed" else ""
            state = RunState(
                job.run, outcome, job.notebook, job.profile, {}, job.varied, "then", 2.0, worker, reason=reason
            )
            Path(job.folder).mkdir(parents=True, exist_ok=True)
            state.write(Path(job.folder))
            outcome = state
        return [(job, outcome)]

    def stop(self, driver):
        self.stopped = True

    def close(self):
        self.closed = True


def drive(planned, monkeypatch, outcomes=None, **options):
    workers = FakeWorkers(outcomes)
    monkeypatch.setattr(sweeps, "_workers", lambda *_: workers)
    out = io.StringIO()
    run_sweep(planned, progress=SweepProgress(out), **options)
    assert workers.closed
    return workers, out.getvalue()


def test_a_run_whose_worker_is_lost_is_tried_once_more_and_then_recorded(tmp_path, monkeypatch):
    planned = prepare(tmp_path, "seeds: [0, 1, 2, 3]")
    workers, said = drive(planned, monkeypatch, {"seed=1": 1, "seed=2": 9})
    ids = {run.label: run.id for run in planned.runs}
    assert [workers.order.count(ids[f"seed={seed}"]) for seed in range(4)] == [1, 2, 2, 1]
    assert [planned.states[ids[f"seed={seed}"]].state for seed in range(4)] == ["done", "done", "failed", "done"]
    lost = RunState.read(planned.folder / ids["seed=2"])
    assert (lost.reason, lost.state) == ("worker lost", "failed")
    assert said.count("was lost (gone); the run is tried once more") == 2


def test_an_error_of_a_worker_itself_is_recorded(tmp_path, monkeypatch):
    planned = prepare(tmp_path, "seeds: [0, 1]")
    drive(planned, monkeypatch, {"seed=0": OSError("disk is full")})
    states = [RunState.read(planned.folder_of(run)) for run in planned.runs]
    assert [state.state for state in states] == ["failed", "done"]
    assert "OSError: disk is full" in states[0].lines


def test_an_interrupted_sweep_stops_its_workers_and_records_nothing_of_them(tmp_path, monkeypatch):
    planned = prepare(tmp_path, "seeds: [0, 1, 2, 3]")
    workers = FakeWorkers({"seed=2": "Ctrl-C"})
    monkeypatch.setattr(sweeps, "_workers", lambda *_: workers)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(planned, progress=silent())
    assert workers.stopped
    assert workers.closed
    left = [run.varied["seed"] for run in planned.runs if not RunState.read(planned.folder_of(run))]
    assert left == [2, 3]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    workers, _ = drive(prepare_sweep("tiny.yaml"), monkeypatch)
    assert len(workers.order) == 2


def test_a_sweep_with_other_runs_keeps_those_it_shares(tmp_path, monkeypatch):
    drive(prepare(tmp_path, "seeds: [0, 1]"), monkeypatch)
    workers, said = drive(prepare(tmp_path, "seeds: [0, 1, 2]"), monkeypatch)
    assert len(workers.order) == 1
    assert "before: 2 done; 1 to run" in said
    plan = json.loads((tmp_path / "runs" / "sweeps" / "tiny" / "sweep.json").read_text())
    assert [varied["seed"] for varied in plan["runs"].values()] == [0, 1, 2]


def test_a_dry_run_tells_the_time_from_finished_runs(tmp_path, monkeypatch):
    planned = prepare(tmp_path, "seeds: [0, 1]")
    assert "2 missing, with 1 worker time unknown" in describe_plan(planned, 1)
    assert not (tmp_path / "runs").exists()
    drive(planned, monkeypatch)
    longer = prepare(tmp_path, "seeds: [0, 1, 2, 3, 4]")
    assert list(planned_table(longer)["state"]) == ["done", "done", "missing", "missing", "missing"]
    assert "3 missing, with 2 workers about 4.0 s" in describe_plan(longer, 2)  # 2 s a run, two after each other
    other = prepare_sweep(write(tmp_path, "seeds: [9]", "other.yaml"))
    assert "about 2.0 s" in describe_plan(other)  # the same notebook and profile in a sweep beside it


# ---- one run ---------------------------------------------------------------------------------------------------------


def test_a_run_that_another_process_ended_meanwhile_is_taken_not_repeated(tmp_path, monkeypatch):
    def run_notebook(*_, **__):
        raise AssertionError("it was run again")

    monkeypatch.setattr(sweep_run, "run_notebook", run_notebook)
    state = RunState("id", "done", "01", "small", {}, {}, "2026-01-01", 1.0, "another")
    job = sweep_run.Job("id", "01", "small", {}, {}, str(tmp_path / "id"), "me")
    (tmp_path / "id").mkdir()
    state.write(tmp_path / "id")
    assert sweep_run.run_job(job, "here", {}) == state
    # a repetition of exactly this attempt is wanted: now it does start
    failed = sweep_run.run_job(replace(job, replaces="2026-01-01"), "here", {})
    assert "it was run again" in failed.lines
    assert RunState.read(tmp_path / "id").worker == "here"


def test_a_damaged_record_is_named(tmp_path):
    assert RunState.read(tmp_path) is None
    (tmp_path / "run.json").write_text('{"state": "done"')
    with pytest.raises(ValueError, match=r"run.json: no record of a run"):
        RunState.read(tmp_path)


def test_a_lock_names_its_holder_and_falls_with_it(tmp_path):
    code = f"""
import time
from pathlib import Path
from motionkit.running.sweep_run import locked
with locked(Path({str(tmp_path / "lock")!r})):
    print("held", flush=True)
    time.sleep(600)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    holder.stdout.readline()
    with pytest.raises(Locked, match=f"process {holder.pid} on"), locked(tmp_path / "lock"):
        pass
    holder.kill()
    holder.communicate()
    with locked(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} on")


def test_only_kernels_that_lost_their_driver_are_ended(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    owners = {"orphan": gone.pid, "ours": os.getpid(), "elsewhere": gone.pid}
    processes = {}
    for name, owner in owners.items():
        folder = tmp_path / "other" if name == "elsewhere" else tmp_path
        env = {**os.environ, sweep_run.MARK: f"{owner}:{folder}"}
        processes[name] = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=env)
    try:
        assert end_kernels(tmp_path) == 1
        assert [processes[name].poll() is None for name in owners] == [False, True, True]
        assert end_kernels(tmp_path, own=True) == 1
        assert processes["elsewhere"].poll() is None
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


# ---- workers ---------------------------------------------------------------------------------------------------------


def test_cores_and_gpus_are_shared_out(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    four = shares(4, 10, ["GPU-a", "GPU-b", "3", "4"])
    assert {env["OMP_NUM_THREADS"] for env in four} == {env["MKL_NUM_THREADS"] for env in four} == {"2"}
    assert [env["CUDA_VISIBLE_DEVICES"] for env in four] == ["GPU-a", "GPU-b", "3", "4"]
    assert [env["CUDA_VISIBLE_DEVICES"] for env in shares(3, 2, ["0", "1"])] == ["0", "1", "0"]
    assert shares(3, 2, [])[0]["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # what the user says counts
    assert shares(4, 64, [])[0]["OMP_NUM_THREADS"] == "3"


def test_gpus_keep_the_names_that_were_given(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert executors.available_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-x")
    assert executors.available_gpus() == ["5", "GPU-x"]


def test_a_dask_scheduler_runs_the_same_sweep(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    planned = prepare(tmp_path, "grid: [{mode: good}, {mode: raises}]")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=3, processes=False, dashboard_address=None, protocol="tcp", host="127.0.0.1"
    ) as cluster:
        run_sweep(planned, scheduler=cluster.scheduler_address, progress=silent())
        monkeypatch.setattr(executors, "code_version", iter(["theirs", "ours", "ours"]).__next__)
        fresh = prepare_sweep("tiny.yaml", Path("elsewhere"))
        with pytest.raises(ValueError, match=r"is of no use: its motionkit is theirs, here it is ours"):
            run_sweep(fresh, scheduler=cluster.scheduler_address, progress=silent())
    assert [planned.states[run.id].state for run in planned.runs] == ["done", "failed"]
    assert planned.states[planned.runs[0].id].threads == 3
    assert (planned.folder_of(planned.runs[0]) / "starts.txt").read_text().split() == ["3"]
    monkeypatch.setattr(distributed, "Client", lambda *_, **__: (_ for _ in ()).throw(OSError("timed out")))
    with pytest.raises(ValueError, match="no dask scheduler answers there"):
        run_sweep(prepare_sweep("tiny.yaml", Path("third")), scheduler="tcp://127.0.0.1:9", progress=silent())


@pytest.mark.parametrize(
    ("queue_system", "lines"),
    [
        ("slurm", ["-p long", "-A me", "--cpus-per-task=6", "--gres=gpu:2", "-t 10:00:00"]),
        ("pbs", ["-q long", "-A me", "-l select=1:ncpus=6:mem=20GB:ngpus=2", "-l walltime=10:00:00"]),
    ],
)
def test_job_scripts_ask_for_what_was_said(queue_system, lines, capsys, tmp_path):
    pytest.importorskip("dask_jobqueue")
    options = ["--cores", "6", "--memory", "20GB", "--gpus", "2", "--walltime", "10:00:00", "--queue", "long"]
    command = ["sweep-script", queue_system, "--scheduler", "tcp://host:8786", "--account", "me", *options]
    cli.main(command)
    text = capsys.readouterr().out
    mark = {"slurm": "#SBATCH", "pbs": "#PBS"}[queue_system]
    assert {f"{mark} {line}" for line in lines} <= set(text.splitlines())
    job_id = {"slurm": "$SLURM_JOB_ID", "pbs": "$PBS_JOBID"}[queue_system]
    worker = next(line for line in text.splitlines() if "dask_worker tcp://host:8786 " in line)
    assert f"--name motionkit-{job_id} --nthreads 6 " in worker
    assert "--lifetime 35700s" in worker  # five minutes before the queue ends it
    cli.main([*command, "--out", str(tmp_path / "worker.sh")])
    assert (tmp_path / "worker.sh").read_text() == text
    for walltime in ("10h", "0:10:00"):
        with pytest.raises(SystemExit):
            cli.main([*command, "--walltime", walltime])
        assert f"--walltime '{walltime}'" in capsys.readouterr().err


# ---- progress --------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_rewrites_where_runs_stand_and_a_file_repeats_it(tmp_path, monkeypatch):
    planned = prepare(tmp_path, "seeds: [0, 1, 2]")
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: now[0])
    for out in (Terminal(), io.StringIO()):
        progress = SweepProgress(out)
        progress.open(planned, 3, "2 workers", typical_s=None)
        for run in planned.runs[:2]:
            planned.folder_of(run).mkdir(parents=True, exist_ok=True)
            (planned.folder_of(run) / "log.txt").write_text(
                f"  [3/5] Train\n      | step 7 loss 0.{run.varied['seed']}25\n"
            )
            os.utime(planned.folder_of(run) / "log.txt", (now[0] + 1, now[0] + 1))
            progress.started(run, "a worker", planned.folder_of(run))
        now[0] += 61
        progress.update()
        assert "[0/3] 0 done, 2 running, 3 to go, time left unknown" in out.getvalue()
        assert "seed=1  1 min 1 s  step 7 loss 0.125" in out.getvalue()
        state = RunState(planned.runs[0].id, "done", "01_tiny", "small", {}, {}, "then", 100.0, "a worker")
        progress.ended(planned.runs[0], state)
        # 39 s remain of the one that runs, 100 s for the one that waits, on two workers
        assert progress.seconds_left() == pytest.approx((39 + 100) / 2)
        progress.update()
        progress.close()
        erased = out.getvalue().count("\x1b[3F\x1b[J")
        assert erased == (1 if out.isatty() else 0)
        assert out.getvalue().count("[1/3] done   seed=0  1 min 40 s") == 1
        now[0] += 1000


def test_an_old_log_says_nothing_of_a_run_that_begins(tmp_path):
    log = tmp_path / "log.txt"
    assert last_line(log) == ""
    log.write_text("  [3/5] Train\n      | loss 0.125\n\n")
    assert last_line(log) == "loss 0.125"
    os.utime(log, (1, 1))
    assert last_line(log, since=2) == ""
