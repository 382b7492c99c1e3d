"""What every notebook keeps to, so that it reads easily, runs in a batch, and its check cells really check."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import nbformat
import pytest

from motionkit.running.parameters import check_parameters, notebook_parameters, read_profile

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PROFILES = sorted((FOLDER / "parameters").glob("*.yaml"))


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def tags(cell: nbformat.NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", ()))


def test_there_are_notebooks():
    assert [path.stem[:3] for path in NOTEBOOKS[:2]] == ["00_", "01_"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_short_and_defines_nothing(path):
    cells = code_cells(path)
    source = "\n".join(cell.source for cell in cells)
    lines = [line for line in source.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(cells) <= 20
    assert len(lines) <= 120
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    assert not [node.name for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_first_cells_are_question_imports_parameters(path):
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith("# ")
    assert cells[0].source.splitlines()[0].endswith("?")
    first, second = code_cells(path)[:2]
    assert all(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(first.source).body)
    assert "parameters" in tags(second)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_parameter_has_a_type_and_a_comment(path):
    parameters = notebook_parameters(path)
    assert parameters
    declared = {
        node.target.id
        for cell in code_cells(path)
        if "parameters" in tags(cell)
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.AnnAssign)
    }
    assert declared == set(parameters)
    assert all(parameter.help for parameter in parameters.values())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_only_check_cells_keep_an_output_and_each_has_one(path):
    checked = [cell for cell in code_cells(path) if "nbval-check-output" in tags(cell)]
    assert checked
    for cell in code_cells(path):
        assert ("keep_output" in tags(cell)) == ("nbval-check-output" in tags(cell)) == bool(cell.outputs), cell.source


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_profiles_name_known_parameters_with_the_right_types(path):
    stem, profile = path.stem.split(".")
    notebook = FOLDER / f"{stem}.ipynb"
    values, where = read_profile(notebook, profile)
    checked = check_parameters(notebook, values, where)
    assert checked
    assert checked.get("profile", profile) == profile


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.parametrize("profile", ["laptop", "full"])
def test_every_notebook_has_the_profiles(path, profile):
    assert (FOLDER / "parameters" / f"{path.stem}.{profile}.yaml").is_file()
    # small is what Run All does, the notebook's own cell: a file would be a second copy, and could differ
    assert not (FOLDER / "parameters" / f"{path.stem}.small.yaml").exists()


def configured(path: Path, profile: str, runs: Path) -> dict:
    """What the cells up to the configs define at a profile; the working directory must be the notebook's folder."""
    values, where = read_profile(path, profile)
    namespace = {}
    for cell in code_cells(path):
        is_import = all(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(cell.source).body)
        if is_import or tags(cell) & {"parameters", "configs"}:
            exec(cell.source, namespace)
        if "parameters" in tags(cell):
            namespace |= check_parameters(path, values, where) | {"runs": str(runs)}
    return namespace


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.parametrize("profile", ["small", "laptop", "full"])
def test_the_configs_of_every_profile_can_be_built(path, profile, monkeypatch, tmp_path, unchecked):
    monkeypatch.chdir(path.parent)
    namespace = configured(path, profile, tmp_path)
    assert namespace["record"].profile == profile  # so results of different profiles lie in different folders
    assert namespace["record"].notebook == path.stem
    assert any("configs" in tags(cell) for cell in code_cells(path))


def named_run(path: Path, part: str) -> list[str]:
    """What the notebook names a training's folder after, as written, for the one that ``part`` is named after."""
    calls = [node for cell in code_cells(path) for node in ast.walk(ast.parse(cell.source))
             if isinstance(node, ast.Call) and ast.unparse(node.func) == "run_id"]  # fmt: skip
    (found,) = [parts for call in calls if part in (parts := [ast.unparse(argument) for argument in call.args])]
    return found


@pytest.mark.parametrize("profile", ["small", "laptop", "full"])
def test_two_notebooks_train_one_model_once(profile, monkeypatch, tmp_path, unchecked):
    """04b takes the HG-VAE that 04 has trained: its folder is found only where all that it is named after is equal."""
    monkeypatch.chdir(FOLDER)
    first, second = FOLDER / "04_hg_vae.ipynb", FOLDER / "04b_motion_from_latents.ipynb"
    shared = set(notebook_parameters(first)) & set(notebook_parameters(second))
    assert {"dataset", "unseen", "levels", "num_steps", "batch_size", "most_lost", "seed"} < shared
    one, other = (configured(path, profile, tmp_path) for path in (first, second))
    assert {name: one[name] for name in shared} == {name: other[name] for name in shared}
    assert one["configs"]["HG-VAE"] == other["config"]
    assert one["train_config"] == other["train_config"]
    assert named_run(first, "most_lost")[1:] == named_run(second, "most_lost")[1:]
    assert named_run(first, "most_lost")[0] == "name"
    assert named_run(second, "most_lost")[0] == "'HG-VAE'"
    assert other["folder"].with_name(first.stem) == one["folder"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_saves_a_record_with_all_its_parameters(path):
    last = [cell.source for cell in code_cells(path) if "save_results(" in cell.source]
    assert len(last) == 1
    assert f'notebook_parameters(Path("{path.name}"))' in last[0]
    assert {"profile", "runs"} <= set(notebook_parameters(path))


# ---- the README's table ----------------------------------------------------------------------------------------------

spec = importlib.util.spec_from_file_location("times", FOLDER.parent / ".ci" / "times.py")
times = importlib.util.module_from_spec(spec)
spec.loader.exec_module(times)


def test_the_readme_lists_every_notebook_with_the_time_its_record_tells():
    text = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{path.stem}` |" in text for path in NOTEBOOKS)
    assert text == times.with_times(text, FOLDER.parent / "figures"), "run: python .ci/times.py"


def test_times_come_from_the_records_and_only_the_last_cell_changes(tmp_path):
    folder = tmp_path / "07_new" / "laptop"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text('{"duration_s": 581.2}')
    lines = ["| notebook | laptop |", "|---|---|", "| `07_new` | Why? | 3 s |", "| `07b_more` | Who? | 3 s |"]
    text = "\n".join([*lines, "| `08_old` | How? | 3 s |", "more | 3 s |", ""])
    expected = (
        text.replace("Why? | 3 s", "Why? | 10 min").replace("Who? | 3 s", "Who? | –").replace("How? | 3 s", "How? | –")
    )
    assert times.with_times(text, tmp_path) == expected
    assert [times.in_words(s) for s in (0.2, 4.3, 89, 95, 5399, 12600)] == [
        "1 s",
        "4 s",
        "89 s",
        "2 min",
        "90 min",
        "3.5 h",
    ]
