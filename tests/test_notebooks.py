"""What every notebook keeps to, so that it reads easily, runs in a batch, and its check cells really check."""

from __future__ import annotations

import ast
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
    assert [path.stem[:2] for path in NOTEBOOKS[:2]] == ["00", "01"]


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
