"""Notebooks by name, their profiles and their parameters: names and types are checked before anything starts.

Notebooks live in ``notebooks/``, their profiles in ``notebooks/parameters/<notebook>.<profile>.yaml``. The profile
``small`` is the notebook's own parameters cell.
"""

from __future__ import annotations

import ast
import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import motionkit

if TYPE_CHECKING:  # imported where it is needed: it takes a second, because of a library for addresses behind it
    import nbformat

OWN_PROFILE = "small"


# ---- finding notebooks and their profiles ----------------------------------------------------------------------------


def notebooks_folder() -> Path:
    """The folder of the notebooks: beside the package in a checkout, else ``notebooks/`` in the current folder."""
    tried = [Path(motionkit.__file__).resolve().parent.parent / "notebooks", Path.cwd() / "notebooks", Path.cwd()]
    for folder in tried:
        if any(folder.glob("[0-9][0-9]*_*.ipynb")):
            return folder
    raise FileNotFoundError(
        "no notebooks found; run this in a checkout of motionkit, or in a folder that holds its notebooks. "
        f"Looked in: {', '.join(map(str, tried))}"
    )


def find_notebook(name: str | Path) -> Path:
    """A notebook by its path, its name, or the beginning of its name: ``"01"`` is ``01_...``, not ``01b_...``."""
    path = Path(name)
    if path.suffix == ".ipynb" and path.is_file():
        return path.resolve()
    if path.suffix == ".ipynb" and path.parent != Path("."):
        raise FileNotFoundError(f"there is no notebook {path}")
    folder = notebooks_folder()
    names = sorted(p.stem for p in folder.glob("*.ipynb"))
    wanted = path.name.removesuffix(".ipynb")
    # the name itself, else its whole number, else any beginning
    found = (
        [stem for stem in names if stem == wanted]
        or [stem for stem in names if stem.startswith(f"{wanted}_")]
        or [stem for stem in names if stem.startswith(wanted)]
    )
    if len(found) == 1:
        return folder / f"{found[0]}.ipynb"
    if found:
        raise ValueError(f"notebook {wanted!r} is ambiguous: {', '.join(found)}")
    raise FileNotFoundError(f"no notebook {wanted!r} in {folder};{nearest(wanted, names)} it holds {', '.join(names)}")


def read_profile(notebook: Path, profile: str) -> tuple[dict[str, Any], str]:
    """The parameters of a profile and where they stand. ``small`` may have no file: the notebook's own values."""
    file = notebook.parent / "parameters" / f"{notebook.stem}.{profile}.yaml"
    if not file.is_file():
        if profile == OWN_PROFILE:
            return {}, f"the parameters cell of {notebook.name}"
        others = [p.name.split(".")[-2] for p in sorted(file.parent.glob(f"{notebook.stem}.*.yaml"))]
        known = list(dict.fromkeys([OWN_PROFILE, *others]))
        raise ValueError(
            f"notebook {notebook.stem} has no profile {profile!r};{nearest(profile, known)} it has {', '.join(known)}"
        )
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{file.name} is no valid YAML: {error}") from None
    if values is None:
        values = {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ValueError(f"{file.name}: expected lines `name: value`, found {type(values).__name__}")
    return values, file.name


def nearest(name: str, known: list[str]) -> str:
    """For the middle of a message: " did you mean '...'?", or nothing where no known name is close."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" did you mean {close[0]!r}?" if close else ""


# ---- parameters ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: ``name: annotation = default  # help``."""

    name: str
    annotation: str
    default: Any
    help: str


def notebook_parameters(notebook: Path | nbformat.NotebookNode) -> dict[str, Parameter]:
    """What the cell tagged ``parameters`` declares, in order.

    The cell is read as Python: papermill's own inspection overlooks annotations such as ``str | None`` and values
    over several lines.

    Raises ``ValueError`` where a value is no literal (papermill would not update what is derived from it).
    """
    name_of_file = notebook.name if isinstance(notebook, Path) else "notebook"
    cells = _cells(notebook) if isinstance(notebook, Path) else notebook.cells
    sources = ["".join(cell["source"]) for cell in cells
               if cell["cell_type"] == "code" and "parameters" in cell["metadata"].get("tags", ())]  # fmt: skip
    if not sources:
        return {}
    lines = sources[0].splitlines()
    found = {}
    for node in ast.parse(sources[0]).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            name, annotation = node.target.id, ast.unparse(node.annotation)
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name, annotation = node.targets[0].id, ""
        else:
            continue
        try:
            default = ast.literal_eval(node.value)
        except ValueError:
            raise ValueError(
                f"{name_of_file}: parameter {name!r} is {ast.unparse(node.value)}, which is no plain value; "
                f"derived values belong below the parameters cell"
            ) from None
        comment = lines[node.end_lineno - 1][node.end_col_offset :].partition("#")[2].strip()
        found[name] = Parameter(name, annotation or type(default).__name__, default, comment)
    return found


def check_parameters(notebook: Path, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``values`` as the notebook wants them. ``where`` names their origin in the message.

    Whole numbers are taken for floats, lists for tuples, and text such as ``1e-3`` (which YAML leaves as text) for
    floats. Raises ``ValueError`` with the nearest valid name, or with the type that is expected.
    """
    known = notebook_parameters(notebook) if values else {}
    checked = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(
                f"{where}: notebook {notebook.stem} has no parameter {name!r};{nearest(name, list(known))} "
                f"it has {', '.join(known) or 'none'}"
            )
        parameter = known[name]
        try:
            checked[name] = _fit(value, ast.parse(parameter.annotation, mode="eval").body)
        except TypeError:
            raise ValueError(
                f"{where}: parameter {name!r} of notebook {notebook.stem} is {value!r} ({type(value).__name__}); "
                f"expected {parameter.annotation}, such as {parameter.default!r}"
            ) from None
    return checked


def _fit(value: Any, annotation: ast.expr) -> Any:
    """The value in the annotated type, or ``TypeError``."""
    match annotation:
        case ast.Constant(value=None) | ast.Name(id="None" | "NoneType"):
            if value is None:
                return None
        case ast.Name(id="Any" | "object"):
            return value
        case ast.Name(id="bool"):
            if isinstance(value, bool):
                return value
        case ast.Name(id="int"):
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        case ast.Name(id="float"):
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return float(value)
            if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", value):
                return float(value)
        case ast.Name(id="str"):
            if isinstance(value, str):
                return value
        case ast.Name(id="list" | "tuple" | "dict" as name):
            kind = {"list": list, "tuple": tuple, "dict": dict}[name]
            if isinstance(value, kind) or (isinstance(value, (list, tuple)) and kind is not dict):
                return kind(value)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            for choice in (left, right):
                try:
                    return _fit(value, choice)
                except TypeError:
                    continue
        case ast.Subscript(value=ast.Name(id="list" | "tuple" as name), slice=inner):
            if isinstance(value, (list, tuple)):
                wanted = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                repeated = name == "list" or (len(wanted) == 2 and isinstance(wanted[1], ast.Constant))
                if repeated or len(wanted) == len(value):
                    pairs = [(item, wanted[0] if repeated else wanted[i]) for i, item in enumerate(value)]
                    return (list if name == "list" else tuple)(_fit(item, kind) for item, kind in pairs)
        case ast.Subscript(value=ast.Name(id="dict")):
            if isinstance(value, dict):
                return value
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            if value in ast.literal_eval(inner if isinstance(inner, ast.Tuple) else ast.Tuple([inner], ast.Load())):
                return value
        case _:
            return value  # an annotation this check does not know: the notebook itself will tell
    raise TypeError


def _cells(notebook: Path) -> list[dict[str, Any]]:
    try:
        return json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{notebook} is no readable notebook: {type(error).__name__}: {error}") from None


def read_notebook(notebook: Path) -> nbformat.NotebookNode:
    """The notebook in a file. Raises ``ValueError`` if it is none."""
    import nbformat

    try:
        return nbformat.read(notebook, as_version=4)
    except Exception as error:  # nbformat raises many kinds for a damaged file
        raise ValueError(f"{notebook} is no readable notebook: {type(error).__name__}: {error}") from None


def cell_titles(notebook: nbformat.NotebookNode) -> dict[int, str]:
    """For each code cell with content, by index: the heading above it, else its first line."""
    titles, heading = {}, ""
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            for line in cell.source.splitlines():
                if match := re.match(r"#{1,6}\s+(.*)", line):
                    heading = match[1].strip().rstrip("#").strip()
        elif cell.cell_type == "code" and cell.source.strip():
            tags = cell.metadata.get("tags", ())
            if "parameters" in tags or "injected-parameters" in tags:
                titles[index] = "parameters"
                continue
            titles[index] = heading or cell.source.strip().splitlines()[0][:60]
    return titles


def parse_settings(settings: tuple[str, ...], option: str = "--set") -> dict[str, object]:
    """``name=value`` pairs, the values read as YAML: numbers, true and false, [lists], null, else text.

    option: where they were given, for the message of the ``ValueError``.

    >>> parse_settings(("steps=20", "dataset=cmu", "widths=[8, 16]"))
    {'steps': 20, 'dataset': 'cmu', 'widths': [8, 16]}
    """
    parsed = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"{option} {setting!r}: expected name=value")
        try:
            parsed[name.strip()] = yaml.safe_load(value) if value.strip() else ""
        except yaml.YAMLError as error:
            raise ValueError(f"{option} {setting!r}: the value cannot be read: {error}") from None
    return parsed
