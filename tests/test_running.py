"""Running notebooks and building the report, on tiny notebooks made here."""

import io
import pickle
import re
import sys
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import pytest

from motionkit import cli
from motionkit.running import parameters
from motionkit.running.notebooks import NotebookFailed, run_notebook
from motionkit.running.parameters import (
    cell_titles,
    check_parameters,
    find_notebook,
    notebook_parameters,
    parse_settings,
)
from motionkit.running.progress import Progress

PARAMETERS = """\
steps: int = 3  # training steps
rate: float = 1e-3
name: str | None = None  # nothing, or who
widths: tuple[int, ...] = (8, 16)
use_ema: bool = False
plain = "text"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of notebooks that stands for the project's."""
    folder = tmp_path / "notebooks"
    (folder / "parameters").mkdir(parents=True)
    monkeypatch.setattr(parameters, "notebooks_folder", lambda: folder)
    return folder


def write(folder, name="01_tiny", cells=(), profiles=None):
    parameters = v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell("# Is it tiny?"), parameters, *cells])
    nbformat.write(notebook, folder / f"{name}.ipynb")
    for profile, text in (profiles or {}).items():
        (folder / "parameters" / f"{name}.{profile}.yaml").write_text(text)
    return folder / f"{name}.ipynb"


def printed(path):
    """What the cells of an executed notebook printed."""
    cells = nbformat.read(path, as_version=4).cells
    return "".join(o.text for c in cells if c.cell_type == "code" for o in c.outputs if o.output_type == "stream")


# ---- finding ---------------------------------------------------------------------------------------------------------


def test_a_notebook_is_found_by_path_name_and_beginning(folder):
    first, second = write(folder, "01_tiny"), write(folder, "01b_other")
    assert find_notebook(first) == first.resolve()
    assert find_notebook("01_tiny") == find_notebook("01_") == find_notebook("01_tiny.ipynb") == first
    assert find_notebook("01b") == second
    assert find_notebook("01") == first  # a whole number wins over one that goes on with a letter
    with pytest.raises(ValueError, match="ambiguous: 01_tiny, 01b_other"):
        find_notebook("0")
    with pytest.raises(FileNotFoundError, match="did you mean '01_tiny'"):
        find_notebook("01_tinny")
    with pytest.raises(FileNotFoundError, match=r"no notebook .*gone"):
        find_notebook(folder / "gone.ipynb")


def test_without_notebooks_the_error_says_where_they_were_sought(tmp_path, monkeypatch):
    monkeypatch.setattr(parameters.motionkit, "__file__", str(tmp_path / "site" / "motionkit" / "__init__.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "notebooks"))):
        parameters.notebooks_folder()
    (tmp_path / "notebooks").mkdir()
    write_to = tmp_path / "notebooks" / "00_start.ipynb"
    nbformat.write(v4.new_notebook(), write_to)
    assert parameters.notebooks_folder() == tmp_path / "notebooks"


# ---- parameters ------------------------------------------------------------------------------------------------------


def test_parameters_are_read_with_types_defaults_and_help(folder):
    found = notebook_parameters(write(folder))
    assert list(found) == ["steps", "rate", "name", "widths", "use_ema", "plain"]
    assert (found["steps"].annotation, found["steps"].default, found["steps"].help) == ("int", 3, "training steps")
    assert (found["name"].annotation, found["name"].default) == ("str | None", None)
    assert found["plain"].annotation == "str"


def test_a_derived_value_among_the_parameters_is_refused(folder):
    cell = v4.new_code_cell("a: int = 3\nb: int = 2 * a", metadata={"tags": ["parameters"]})
    path = folder / "02_derived.ipynb"
    nbformat.write(v4.new_notebook(cells=[cell]), path)
    with pytest.raises(ValueError, match=r"02_derived.ipynb: parameter 'b' is 2 \* a"):
        notebook_parameters(path)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"rate": 1}, {"rate": 1.0}),
        ({"rate": "1e-4"}, {"rate": 1e-4}),  # YAML reads this number as text
        ({"widths": [4, 8, 16]}, {"widths": (4, 8, 16)}),
        ({"name": None}, {"name": None}),
        ({"name": "x", "use_ema": True}, {"name": "x", "use_ema": True}),
    ],
)
def test_values_are_taken_as_the_notebook_wants_them(folder, given, taken):
    checked = check_parameters(write(folder), given, "here")
    assert checked == taken
    assert [type(v) for v in checked.values()] == [type(v) for v in taken.values()]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stps": 3}, "here: notebook 01_tiny has no parameter 'stps'; did you mean 'steps'?"),
        ({"steps": 3.5}, "parameter 'steps' of notebook 01_tiny is 3.5 (float); expected int, such as 3"),
        ({"steps": True}, "is True (bool); expected int"),
        ({"rate": "fast"}, "is 'fast' (str); expected float"),
        ({"use_ema": 1}, "is 1 (int); expected bool"),
        ({"name": 4}, "expected str | None"),
        ({"widths": [4, "x"]}, "expected tuple[int, ...]"),
        ({"plain": 4}, "expected str, such as 'text'"),
    ],
)
def test_wrong_names_and_types_are_refused(folder, given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_parameters(write(folder), given, "here")


def test_settings_of_the_command_line():
    assert parse_settings(("a=1", "b=x=y", "c=[1, 2]", "d=true", "e=", "f=null")) == {
        "a": 1, "b": "x=y", "c": [1, 2], "d": True, "e": "", "f": None}  # fmt: skip
    for wrong in ("steps", "=3", "a=[1"):
        with pytest.raises(ValueError, match=re.escape(f"--set {wrong!r}")):
            parse_settings((wrong,))


# ---- running ---------------------------------------------------------------------------------------------------------

SHOW = """\
import os, sys
print(steps, rate, name, widths, plain)
print(os.getcwd()); print(sys.executable); print(os.environ["MOTIONKIT_BATCH"])
"""
PROGRESS_BAR = r"""
import sys
for k in range(5): sys.stderr.write(f"\r{k + 1}/5 done"); sys.stderr.flush()
"""


def test_a_run_takes_the_profile_then_the_parameters_in_this_interpreter(folder, tmp_path):
    write(folder, cells=[v4.new_markdown_cell("## Show"), v4.new_code_cell(SHOW), v4.new_code_cell(PROGRESS_BAR)],
          profiles={"laptop": "steps: 9\nrate: 1e-5\nplain: from file\n"})  # fmt: skip
    out = io.StringIO()
    here = Path.cwd()
    executed = run_notebook("01", profile="laptop", parameters={"steps": 7, "widths": [1]}, out_folder=tmp_path / "out",
                            progress=Progress(out))  # fmt: skip
    assert executed == tmp_path / "out" / "01_tiny.ipynb"
    assert [p.name for p in executed.parent.iterdir()] == ["01_tiny.ipynb"]  # no half-written file stays
    lines = printed(executed).splitlines()
    assert lines[0] == "7 1e-05 None (1,) from file"
    assert Path(lines[1]) == folder.resolve()
    assert lines[2:4] == [sys.executable, "1"]
    assert nbformat.read(executed, as_version=4).metadata["motionkit"] == {"profile": "laptop"}
    assert Path.cwd() == here
    shown = out.getvalue()
    assert "01_tiny (profile laptop)" in shown
    assert re.search(r"\[3/4\] Show", shown)
    assert "| 7 1e-05 None (1,) from file" in shown
    assert shown.count("done") == 2  # the bar's last state, and the end of the run
    assert "5/5 done" in shown


def test_a_wrong_profile_is_refused_before_anything_starts(folder, tmp_path):
    write(folder, profiles={"laptop": "stps: 4\n", "full": "- a\n", "broken": "a: [1\n"})
    for profile, message in [
        ("laptop", "01_tiny.laptop.yaml: notebook 01_tiny has no parameter 'stps'"),
        ("lptop", "has no profile 'lptop'; did you mean 'laptop'? it has small, broken, full, laptop"),
        ("full", "01_tiny.full.yaml: expected lines"),
        ("broken", "01_tiny.broken.yaml is no valid YAML"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            run_notebook("01", profile=profile, out_folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("code", "reason", "message", "timeout_s"),
    [
        ("numbers = [1]\nnumbers[3]", "raised", "IndexError: list index out of range", None),
        ("import os; os._exit(3)", "died", "the kernel died with exit code 3", None),
        ("import os; os.kill(os.getpid(), 9)", "died", "died by signal 9; was the memory used up", None),
        ("import time; time.sleep(60)", "timed out", "timed out", 2),
    ],
)
def test_a_failure_names_notebook_cell_and_reason_and_keeps_what_ran(
    folder, tmp_path, code, reason, message, timeout_s
):
    write(folder, cells=[v4.new_code_cell("print('before')"), v4.new_markdown_cell("## Train\ntext"),
                         v4.new_code_cell(code), v4.new_code_cell("print('after')")])  # fmt: skip
    with pytest.raises(NotebookFailed, match=message) as failure:
        run_notebook("01", out_folder=tmp_path, progress=Progress(io.StringIO()), timeout_s=timeout_s)
    assert "notebook 01_tiny failed in cell 3 of 4 (Train)" in str(failure.value)
    assert failure.value.reason == reason
    assert str(pickle.loads(pickle.dumps(failure.value))) == str(failure.value)  # it comes back from other machines
    assert failure.value.executed == tmp_path / "01_tiny.failed.ipynb"
    assert "before" in printed(failure.value.executed)
    assert "after" not in printed(failure.value.executed)
    assert not (tmp_path / "01_tiny.ipynb").exists()


def test_the_executed_notebook_never_replaces_its_source(folder):
    write(folder)
    with pytest.raises(ValueError, match="holds the notebook itself"):
        run_notebook("01", out_folder=folder)


def test_cells_are_called_by_the_heading_above_them():
    cells = [v4.new_code_cell("x = 1\ny = 2"), v4.new_markdown_cell("# Title\n\n## The data"), v4.new_code_cell(""),
             v4.new_code_cell("z = 3"), v4.new_code_cell("q: int = 1", metadata={"tags": ["parameters"]})]  # fmt: skip
    assert cell_titles(v4.new_notebook(cells=cells)) == {0: "x = 1", 3: "The data", 4: "parameters"}


def test_progress_passes_lines_through_and_repeats_bars_now_and_then():
    out = io.StringIO()
    progress = Progress(out, every_s=1e9)
    progress.begin(2, 10, "Train")
    progress.stream("\x1b[32m 10%\x1b[0m\r 20%\r", "stderr")
    progress.stream("loss ")
    progress.stream("0.5\nlast")
    progress.end()
    assert out.getvalue().splitlines()[:3] == ["  [ 2/10] Train", "      | loss 0.5", "      | last"]
    assert "%" not in out.getvalue()
    progress = Progress(out := io.StringIO(), max_lines=3)
    progress.begin(1, 1, "Table")
    progress.stream("".join(f"line {k}\n" for k in range(10)))
    progress.end()
    assert "line 2\n      | and 7 more lines in the executed notebook" in out.getvalue()


def test_a_cell_that_prints_for_hours_keeps_telling():
    progress = Progress(out := io.StringIO(), max_lines=3, every_s=0.0)
    progress.begin(1, 1, "Training")
    progress.stream("".join(f"step {i}\n" for i in range(10)))
    progress.end()
    assert "step 9\n" in out.getvalue()
    assert "more lines" not in out.getvalue()


# ---- commands --------------------------------------------------------------------------------------------------------


def test_run_then_report_from_the_command_line(folder, tmp_path, monkeypatch, capsys):
    write(folder, "00_first", [v4.new_code_cell("print('steps', steps)")])
    write(folder, "01_second", [v4.new_code_cell("print(name)\nif name == 'boom': raise RuntimeError('no')")])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(["run", "00", "01", "--set", "stps=4"])
    assert "did you mean 'steps'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    cli.main(["run", "00", "01", "--set", "steps=4", "name=me"])
    cli.main(["report", "--profile", "small"])
    text = (tmp_path / "report" / "index.html").read_text()
    assert "steps 4" in text
    assert "report/index.html" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", "01", "--set", "name=boom", "--out", "elsewhere"])
    assert "RuntimeError: no" in str(stop.value)
    with pytest.raises(SystemExit):
        cli.main(["report", "07", "--profile", "small"])
    assert "it holds 00_first, 01_second" in capsys.readouterr().err
