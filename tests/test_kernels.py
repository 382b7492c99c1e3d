"""Warm kernels: like cold ones for the notebook, replaced when they die, and gone in the end."""

import io
import os
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import pytest
from papermill import engines, execute

from motionkit import cli
from motionkit.running import kernels
from motionkit.running.kernels import MAX_DEATHS, Kernel, KernelFailed, WarmKernels
from motionkit.running.notebooks import NotebookFailed, run_notebook
from motionkit.running.progress import Progress

SURROUNDINGS = """\
import os, signal, sys, threading
names = sorted(set(globals()) - {"names"})
print(*names, len(In), Out, _, ___, sep="\\n")
print(os.getcwd(), os.environ["MOTIONKIT_BATCH"], os.environ["FOR_KERNELS"], os.environ.get("MPLBACKEND"))
print(sys.executable, sys.path, os.path.basename(sys.argv[0]), sys.argv[1], signal.getsignal(signal.SIGINT))
print(sorted(t.name for t in threading.enumerate()), sys.flags, sys.getrecursionlimit(), sys.gettrace())
"""
LIBRARIES = """\
import matplotlib.pyplot as plt, numpy, pandas, torch
from tqdm.auto import tqdm
from motionkit.data.catalogue import load_dataset
print(torch.manual_seed(1).initial_seed(), torch.rand(3), torch.get_num_threads(), torch.get_default_dtype(), tqdm)
print(torch.is_grad_enabled(), numpy.geterr(), numpy.get_printoptions(), pandas.describe_option(_print_desc=False))
print(plt.get_backend(), dict(plt.rcParams), plt.get_fignums())
plt.plot([1, 3, 2]);
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "notebooks").mkdir()
    return tmp_path / "notebooks"


@pytest.fixture
def light(monkeypatch):
    """Kernels that import next to nothing: only the test of likeness needs the large libraries."""
    monkeypatch.setattr(kernels, "_modules", lambda: ["json"])


def write(folder, *sources, name="01_tiny"):
    cells = [v4.new_code_cell("n: int = 3  # count", metadata={"tags": ["parameters"]})]
    nbformat.write(
        v4.new_notebook(cells=cells + [v4.new_code_cell(source) for source in sources]), folder / f"{name}.ipynb"
    )
    return folder / f"{name}.ipynb"


def run(notebook, **settings):
    """The outputs of each cell, and their counts."""
    path = run_notebook(notebook, progress=Progress(io.StringIO()), **settings)
    cells = nbformat.read(path, as_version=4).cells
    return [cell.outputs for cell in cells], [cell.execution_count for cell in cells]


def text(outputs):
    return "".join(output.text for cell in outputs for output in cell if output.output_type == "stream")


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return (
        Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        if Path("/proc/self").exists()
        else True
    )


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


# ---- like a cold one -------------------------------------------------------------------------------------------------


def test_a_warm_kernel_is_like_a_cold_one_for_the_notebook(folder, tmp_path):
    asks = "import sys; print('motionkit.models.vqgan' in sys.modules)"
    notebook = write(folder, SURROUNDINGS, LIBRARIES, "del sys; n", asks)
    env = {"FOR_KERNELS": "yes"}
    cold, cold_counts = run(notebook, out_folder=tmp_path / "cold", parameters={"n": 4}, env=env)
    with WarmKernels(folder, env) as warm_kernels:
        warm, warm_counts = run(notebook, out_folder=tmp_path / "warm", parameters={"n": 4}, kernels=warm_kernels)
    assert (text(cold[-1:]), text(warm[-1:])) == ("False\n", "True\n")  # or nothing is compared here
    assert warm_counts == cold_counts == [1, 2, 3, 4, 5, 6]
    assert str(folder.resolve()) in text(cold)
    assert cold[:-1] == warm[:-1]


def test_each_kernel_is_used_once(folder, tmp_path, light):
    notebook = write(folder, "import os; print(os.getpid(), 'left_over' in globals()); left_over = 1")
    with WarmKernels(folder) as warm_kernels:
        said = [text(run(notebook, out_folder=tmp_path, kernels=warm_kernels)[0]).split() for _ in range(3)]
    assert len({pid for pid, _ in said}) == 3
    assert {left_over for _, left_over in said} == {"False"}


def test_kernels_must_fit_the_notebook(folder, tmp_path):
    notebook = write(folder)
    elsewhere = WarmKernels(tmp_path)  # never entered: nothing starts
    with pytest.raises(ValueError, match=f"the kernels work in {tmp_path}, not in the notebook's folder {folder}"):
        run_notebook(notebook, out_folder=tmp_path / "out", kernels=elsewhere)
    with pytest.raises(ValueError, match="env comes too late"):
        run_notebook(notebook, out_folder=tmp_path / "out", kernels=WarmKernels(folder), env={"A": "1"})
    with pytest.raises(ValueError, match="ahead is 0"):
        WarmKernels(folder, ahead=0)
    assert not list((tmp_path / "out").iterdir())


# ---- ahead of time ---------------------------------------------------------------------------------------------------


def test_the_next_one_is_prepared_when_one_is_taken_and_no_more_than_asked(folder, light):
    with WarmKernels(folder, ahead=2, most=3) as warm_kernels:
        first = warm_kernels.take()
        assert len(warm_kernels._waiting) == 2
        second = warm_kernels.take()
        assert len(warm_kernels._waiting) == 1
        third = warm_kernels.take()
        assert not warm_kernels._waiting
        assert len({first.pid, second.pid, third.pid}) == 3
        for kernel in (first, second, third):
            kernel.end()
    with pytest.raises(ValueError, match="closed"):
        warm_kernels.take()


def test_threads_that_share_them_get_one_each(folder, light):
    with WarmKernels(folder, ahead=2, most=4) as warm_kernels, ThreadPoolExecutor(4) as threads:
        taken = [future.result() for future in [threads.submit(warm_kernels.take) for _ in range(4)]]
        assert len({kernel.pid for kernel in taken}) == 4
        assert not warm_kernels._waiting
        for kernel in taken:
            kernel.end(now=True)


def test_one_that_dies_while_it_waits_or_grows_old_is_replaced(folder, light, monkeypatch):
    with WarmKernels(folder) as warm_kernels:
        waiting = warm_kernels._waiting[0].result().kernel
        os.kill(waiting.pid, signal.SIGKILL)
        assert wait_until(lambda: waiting.exit_code is not None)
        taken = warm_kernels.take()
        assert taken.pid != waiting.pid
        assert taken.exit_code is None
        old = warm_kernels._waiting[0].result().kernel
        stamp = kernels._code_stamp()
        monkeypatch.setattr(kernels, "_code_stamp", lambda: stamp + 1)
        second = warm_kernels.take()
        assert second.pid != old.pid
        assert wait_until(lambda: old.exit_code is not None)
        for kernel in (taken, second):
            kernel.end(now=True)


def test_the_stamp_of_the_code_changes_with_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "_PACKAGE", tmp_path)
    (tmp_path / "models").mkdir()
    stamps = [kernels._code_stamp()]
    (tmp_path / "models" / "new.py").write_text("a = 1")
    stamps.append(kernels._code_stamp())
    os.utime(tmp_path / "models" / "new.py", ns=(1, 1))
    stamps.append(kernels._code_stamp())
    assert len(set(stamps)) == 3
    (tmp_path / "notes.txt").write_text("no code")
    assert kernels._code_stamp() == stamps[-1]


def test_one_that_dies_while_it_imports_is_replaced(folder, tmp_path, monkeypatch):
    (folder / "dies_once.py").write_text(
        "import os, pathlib\nmark = pathlib.Path('died')\nif not mark.exists(): mark.touch(); os._exit(7)"
    )
    (folder / "dies.py").write_text("import os; os._exit(7)")
    monkeypatch.setattr(kernels, "_modules", lambda: ["dies_once"])
    with WarmKernels(folder, most=1) as warm_kernels:
        kernel = warm_kernels.take()
        assert (folder / "died").exists()
        assert kernel.exit_code is None
        kernel.end()
    monkeypatch.setattr(kernels, "_modules", lambda: ["json", "dies"])
    message = rf"{MAX_DEATHS} kernels in a row .* died while it imported dies \(exit code 7\)"
    with WarmKernels(folder, most=1) as warm_kernels:
        with pytest.raises(KernelFailed, match=message):
            warm_kernels.take()
        notebook, out = write(folder, "print('does without')"), io.StringIO()
        executed = run_notebook(notebook, out_folder=tmp_path, kernels=warm_kernels, progress=Progress(out))
    assert "a cold kernel is started, because 3 kernels" in out.getvalue()
    assert "does without" in executed.read_text()


def test_what_cannot_be_imported_is_told_once_and_left_to_the_notebook(folder, tmp_path, monkeypatch):
    (folder / "broken.py").write_text("def f(:\n")
    (folder / "wants.py").write_text("import motionkit.gone")
    (folder / "optional.py").write_text("import surely_not_installed")
    monkeypatch.setattr(kernels, "_modules", lambda: ["broken", "wants", "optional", "json"])
    notebook = write(folder, "print('fine')", "import broken")
    with WarmKernels(folder, most=2) as warm_kernels:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            with pytest.raises(NotebookFailed, match="SyntaxError") as failure:
                run_notebook(notebook, out_folder=tmp_path, kernels=warm_kernels, progress=Progress(io.StringIO()))
        said = [str(warning.message) for warning in told if warning.category is UserWarning]
        assert len(said) == 2
        assert said[0].startswith("broken cannot be imported; notebooks that need it will fail: SyntaxError: ")
        assert "wants cannot be imported" in said[1]
        assert "No module named 'motionkit.gone'" in said[1]
        assert "cell 3 of 3" in failure.value.cell
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warm_kernels.take().end(now=True)


def test_kernels_import_the_kit_but_not_what_runs_it():
    modules = kernels._modules()
    assert {"torch", "pandas", "matplotlib.pyplot", "motionkit.models", "motionkit.models.vqgan"} <= set(modules)
    assert "motionkit.plotting.charts" in modules
    assert not {"motionkit.cli", "motionkit.__main__", "motionkit.running.notebooks"} & set(modules)


# ---- the end ---------------------------------------------------------------------------------------------------------


def test_nothing_runs_on_and_open_files_are_closed(folder, tmp_path, light):
    unclosed = write(folder, "file = open('unclosed.txt', 'w'); file.write('all of it')")
    unended = write(
        folder, "import os, subprocess\nprint(os.getpid(), subprocess.Popen(['sleep', '600']).pid)", name="02"
    )
    with WarmKernels(folder) as warm_kernels:
        run(unclosed, out_folder=tmp_path, kernels=warm_kernels)
        pids = [*text(run(unended, out_folder=tmp_path, kernels=warm_kernels)[0]).split()]
        unused = warm_kernels._waiting[0].result().kernel.pid
        assert is_running(unused)
    assert (folder / "unclosed.txt").read_text() == "all of it"
    for pid in [*map(int, pids), unused]:
        assert wait_until(lambda pid=pid: not is_running(pid))


def test_closing_does_not_wait_for_imports(folder, monkeypatch):
    (folder / "slow.py").write_text("import pathlib, time\npathlib.Path('began').touch()\ntime.sleep(600)")
    monkeypatch.setattr(kernels, "_modules", lambda: ["slow"])
    with WarmKernels(folder):
        assert wait_until((folder / "began").exists)


def test_who_waits_for_a_kernel_while_they_are_closed_is_told(folder, monkeypatch):
    (folder / "slow.py").write_text("import pathlib, time\npathlib.Path('began').touch()\ntime.sleep(600)")
    monkeypatch.setattr(kernels, "_modules", lambda: ["slow"])
    with ThreadPoolExecutor(2) as threads:
        with WarmKernels(folder) as warm_kernels:
            waiting = [threads.submit(warm_kernels.take) for _ in range(2)]  # the second waits for a thread besides
            assert wait_until(lambda: (folder / "began").exists() and not warm_kernels._waiting)
        for future in waiting:
            with pytest.raises(ValueError, match="closed"):
                future.result()


INTERRUPTED = """
import sys
from pathlib import Path
from motionkit.running import kernels
from motionkit.running.notebooks import run_notebook
kernels._modules = lambda: ["json"]
notebook, other, out = sys.argv[1:4]
with kernels.WarmKernels(Path(notebook).parent) as warm:
    try:
        run_notebook(notebook, out_folder=out, kernels=warm)
    except KeyboardInterrupt:
        print("stopped", sorted(p.name for p in Path(out).iterdir()), flush=True)
    print(run_notebook(other, out_folder=out, kernels=warm).name, flush=True)
"""


def waiting_driver(folder, tmp_path):
    """A process whose notebook sleeps; its kernel's id."""
    notebook = write(folder, "import os, pathlib, time\npathlib.Path('pid.txt').write_text(str(os.getpid()))",
                     "pathlib.Path('began').touch(); time.sleep(600)")  # fmt: skip
    other = write(folder, "print(1)", name="02_other")
    command = [sys.executable, "-c", INTERRUPTED, str(notebook), str(other), str(tmp_path / "out")]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert wait_until((folder / "began").exists, 60.0)
    return driver, int((folder / "pid.txt").read_text())


def test_ctrl_c_ends_the_kernel_and_leaves_no_file_and_the_next_run_works(folder, tmp_path):
    driver, pid = waiting_driver(folder, tmp_path)
    driver.send_signal(signal.SIGINT)
    out, errors = driver.communicate(timeout=60)
    assert out.splitlines() == ["stopped []", "02_other.ipynb"], errors
    assert driver.returncode == 0
    assert "Traceback" not in errors
    assert not is_running(pid)


def test_kernels_end_when_their_driver_is_killed(folder, tmp_path):
    driver, pid = waiting_driver(folder, tmp_path)
    driver.kill()
    driver.communicate(timeout=60)
    assert wait_until(lambda: not is_running(pid))


# ---- running ---------------------------------------------------------------------------------------------------------


def test_a_kernel_that_does_not_start_is_a_failed_run(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "get_kernel_dict", lambda: {"argv": [sys.executable, "-c", "raise SystemExit(4)"]})
    with pytest.raises(NotebookFailed, match=r"ended while it started \(exit code 4\)") as failure:
        run_notebook(write(folder), out_folder=tmp_path / "out", progress=Progress(io.StringIO()))
    assert (failure.value.reason, failure.value.cell) == ("died", "start")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["01_tiny.failed.ipynb"]


def test_a_short_run_writes_the_notebook_once(folder, tmp_path, monkeypatch):
    written = []
    for module in (engines, execute):
        write_ipynb = module.write_ipynb
        monkeypatch.setattr(module, "write_ipynb", lambda nb, path, f=write_ipynb: (written.append(path), f(nb, path)))
    run(write(folder, "1", "2", "3"), out_folder=tmp_path)
    assert len(written) == 1


def test_a_long_run_can_be_watched(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("motionkit.running.notebooks.SAVE_EVERY_S", 0.0)
    notebook = write(folder, "print('before')", f"import pathlib; print(*pathlib.Path({str(tmp_path)!r}).glob('.01*'))",
                     "import pathlib; print('before' in pathlib.Path(path).read_text())")  # fmt: skip
    nb = nbformat.read(notebook, as_version=4)
    nb.cells[
        3
    ].source = f"path, = pathlib.Path({str(tmp_path)!r}).glob('.01*.ipynb'); print('before' in path.read_text())"
    nbformat.write(nb, notebook)
    assert text(run(notebook, out_folder=tmp_path)[0]).endswith("True\n")


def test_the_command_runs_several_notebooks_in_kernels_of_one_pool(folder, tmp_path, monkeypatch, light):
    paths = [write(folder, "import os; print('pid', os.getpid())", name=name) for name in ("00_first", "01_second")]
    taken = []
    take = WarmKernels.take
    monkeypatch.setattr(WarmKernels, "take", lambda self: (taken.append(take(self)), taken[-1])[1])
    cli.main(["run", *map(str, paths), "--out", str(tmp_path / "out")])
    assert len(taken) == 2
    for kernel, path in zip(taken, paths, strict=True):
        outputs = [cell.outputs for cell in nbformat.read(tmp_path / "out" / path.name, as_version=4).cells]
        assert text(outputs) == f"pid {kernel.pid}\n"
        assert kernel.exit_code == 0  # asked to end, not killed, and gone when the command is over


def test_a_cold_kernel_ends_by_itself_too(folder):
    kernel = Kernel.start(folder)
    assert is_running(kernel.pid)
    kernel.end(now=True)
    kernel.end()  # once is enough
    kernel.wait_for_end()
    assert kernel.exit_code == -signal.SIGKILL


def test_two_clients_of_a_kernel_never_give_their_messages_the_same_name(folder):
    kernel = Kernel.start(folder)
    try:
        names = []
        for _ in range(2):
            client = kernel.client()
            client.start_channels()
            names.append([client.kernel_info() for _ in range(3)])
            client.stop_channels()
    finally:
        kernel.end(now=True)
        kernel.wait_for_end()
    assert not set(names[0]) & set(names[1])
