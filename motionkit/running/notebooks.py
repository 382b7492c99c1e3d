"""Run a notebook from start to end with other parameters: names and types are checked before anything starts.

Notebooks live in ``notebooks/``, their profiles in ``notebooks/parameters/<notebook>.<profile>.yaml``. The profile
``small`` is the notebook's own parameters cell.
"""

from __future__ import annotations

import ast
import difflib
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from io import TextIOBase
from pathlib import Path
from typing import Any

import nbformat
import yaml
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill import execute_notebook
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

import motionkit

OWN_PROFILE = "small"
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class NotebookFailed(RuntimeError):
    """A notebook stopped before its end. ``executed`` is the notebook as far as it came."""

    def __init__(self, notebook: str, cell: str, lines: str, executed: Path) -> None:
        super().__init__(f"notebook {notebook} failed in {cell}:\n{lines}\nexecuted as far as it came: {executed}")
        self.notebook, self.cell, self.lines, self.executed = notebook, cell, lines, executed


# ---- finding notebooks and their profiles ----------------------------------------------------------------------------


def notebooks_folder() -> Path:
    """The folder of the notebooks: beside the package in a checkout, else ``notebooks/`` in the current folder."""
    tried = [Path(motionkit.__file__).resolve().parent.parent / "notebooks", Path.cwd() / "notebooks", Path.cwd()]
    for folder in tried:
        if any(folder.glob("[0-9][0-9]_*.ipynb")):
            return folder
    raise FileNotFoundError(
        "no notebooks found; run this in a checkout of motionkit, or in a folder that holds its notebooks. "
        f"Looked in: {', '.join(map(str, tried))}"
    )


def find_notebook(name: str | Path) -> Path:
    """A notebook by its path, its name, or the beginning of its name (``"01"``)."""
    path = Path(name)
    if path.suffix == ".ipynb" and path.is_file():
        return path.resolve()
    if path.suffix == ".ipynb" and path.parent != Path("."):
        raise FileNotFoundError(f"there is no notebook {path}")
    folder = notebooks_folder()
    names = sorted(p.stem for p in folder.glob("*.ipynb"))
    wanted = path.name.removesuffix(".ipynb")
    found = [stem for stem in names if stem == wanted] or [stem for stem in names if stem.startswith(wanted)]
    if len(found) == 1:
        return folder / f"{found[0]}.ipynb"
    if found:
        raise ValueError(f"notebook {wanted!r} is ambiguous: {', '.join(found)}")
    raise FileNotFoundError(f"no notebook {wanted!r} in {folder};{_nearest(wanted, names)} it holds {', '.join(names)}")


def read_profile(notebook: Path, profile: str) -> tuple[dict[str, Any], str]:
    """The parameters of a profile and where they stand. ``small`` may have no file: the notebook's own values."""
    file = notebook.parent / "parameters" / f"{notebook.stem}.{profile}.yaml"
    if not file.is_file():
        if profile == OWN_PROFILE:
            return {}, f"the parameters cell of {notebook.name}"
        others = [p.name.split(".")[-2] for p in sorted(file.parent.glob(f"{notebook.stem}.*.yaml"))]
        known = list(dict.fromkeys([OWN_PROFILE, *others]))
        raise ValueError(
            f"notebook {notebook.stem} has no profile {profile!r};{_nearest(profile, known)} it has {', '.join(known)}"
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


def _nearest(name: str, known: list[str]) -> str:
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
    cells = (_read(notebook) if isinstance(notebook, Path) else notebook).cells
    cells = [cell for cell in cells if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", ())]
    if not cells:
        return {}
    lines = cells[0].source.splitlines()
    found = {}
    for node in ast.parse(cells[0].source).body:
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
    known = notebook_parameters(notebook)
    checked = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(
                f"{where}: notebook {notebook.stem} has no parameter {name!r};{_nearest(name, list(known))} "
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


def _read(notebook: Path) -> nbformat.NotebookNode:
    try:
        return nbformat.read(notebook, as_version=4)
    except Exception as error:  # nbformat raises many kinds for a damaged file
        raise ValueError(f"{notebook} is no readable notebook: {type(error).__name__}: {error}") from None


# ---- running ---------------------------------------------------------------------------------------------------------


class Progress:
    """Prints where a run stands: the cell, its heading, what the cell prints, and how long it took."""

    def __init__(self, out: TextIOBase | None = None, every_s: float = 15.0, max_lines: int = 40) -> None:
        self.out = sys.stderr if out is None else out
        self.every_s = every_s  # how often a progress bar is repeated where lines cannot be rewritten
        self.max_lines = max_lines  # of one cell; the executed notebook has them all
        self.where = "start"
        self._open = False  # the current line has no newline yet
        self._partial = ""  # what was printed since the last end of line, and by which stream
        self._source = "stdout"
        self._last_bar = 0.0

    def begin(self, number: int, count: int, title: str) -> None:
        self.where = f"cell {number} of {count} ({title})"
        self._started = self._last_bar = time.monotonic()
        self._num_lines = 0
        self._partial = ""
        self._open = True
        self._write(f"  [{number:>{len(str(count))}}/{count}] {title}")

    def end(self) -> None:
        took = time.monotonic() - self._started
        self._flush_partial()
        if (more := self._num_lines - self.max_lines) > 0:
            self._write(f"      | and {more} more lines in the executed notebook\n")
        self._write(f"{'' if self._open else '        took'}  {took:.1f} s\n")
        self._open = False

    def stream(self, text: str, source: str = "stdout") -> None:
        """Passes printed lines through. Progress bars (carriage returns) rewrite one line, or appear now and then."""
        if source != self._source:
            self._flush_partial()
        self._source = source
        for piece in re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", self._partial + _ANSI.sub("", text)):
            self._partial = ""
            if piece.endswith("\n"):
                self._line(piece.rstrip("\r\n"))
            else:
                self._partial = piece
                self._bar(piece.rstrip("\r"))
                if piece.endswith("\r"):
                    self._partial = ""

    def _bar(self, text: str) -> None:
        if not text.strip():
            return
        if self.out.isatty():
            self._close()
            self._write(f"\r\x1b[2K      | {text[: max(20, _columns() - 10)]}")
        elif time.monotonic() - self._last_bar > self.every_s:
            self._last_bar = time.monotonic()
            self._num_lines -= 1  # a training that runs for hours keeps telling
            self._line(text)

    def _line(self, text: str) -> None:
        if text.strip():
            self._num_lines += 1
            if self._num_lines > self.max_lines:
                return
            self._close()
            clear = "\r\x1b[2K" if self.out.isatty() else ""
            self._write(f"{clear}      | {text}\n")

    def _flush_partial(self) -> None:
        partial, self._partial = self._partial.strip("\r"), ""
        self._line(partial)

    def _close(self) -> None:
        if self._open:
            self._write("\n")
            self._open = False

    def _write(self, text: str) -> None:
        self.out.write(text)
        self.out.flush()


def _columns() -> int:
    try:
        return os.get_terminal_size(2).columns
    except OSError:
        return 100


class _Kernel(AsyncKernelManager):
    """A kernel of the running interpreter, whatever kernels are installed, reached through sockets in a folder."""

    def __init__(self, **settings: Any) -> None:
        if os.name == "posix":
            # Not TCP: no open port, no warning about it. The folder's path must be short: a socket's is limited.
            self._sockets = tempfile.TemporaryDirectory(prefix="mk-", ignore_cleanup_errors=True)
            settings |= {"transport": "ipc", "connection_file": os.path.join(self._sockets.name, "kernel.json")}
        super().__init__(**settings)

    @property
    def kernel_spec(self) -> KernelSpec:
        if self._kernel_spec is None:
            self._kernel_spec = KernelSpec(**get_kernel_dict())
        return self._kernel_spec


class _Client(PapermillNotebookClient):
    def __init__(self, nb_man: Any, progress: Progress, **settings: Any) -> None:
        super().__init__(nb_man, **settings)
        self.progress = progress
        self._titles = cell_titles(self.nb)

    def execute_cell(self, cell: Any, cell_index: int, **settings: Any) -> Any:
        if cell.cell_type != "code" or not cell.source.strip():
            return cell
        indices = list(self._titles)
        self.progress.begin(indices.index(cell_index) + 1, len(indices), self._titles[cell_index])
        try:
            return super().execute_cell(cell, cell_index, **settings)
        finally:
            self.progress.end()

    def process_message(self, *arguments: Any, **settings: Any) -> Any:
        output = super().process_message(*arguments, **settings)
        if output and output.output_type == "stream":
            self.progress.stream("".join(output.text), output.name)
        return output


class _Engine(NBClientEngine):
    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, progress: Progress, folder: str, timeout_s: float | None, **_: Any
    ) -> Any:
        client = _Client(
            nb_man,
            progress,
            kernel_name=kernel_name,
            kernel_manager_class=_Kernel,
            # the kernel's folder, not this process's: several notebooks may run at once
            resources={"metadata": {"path": folder}},
            timeout=timeout_s,
        )
        return client.execute(env={**os.environ, "MOTIONKIT_BATCH": "1"})


papermill_engines.register("motionkit", _Engine)
# Names are checked here before a run, by a reader that knows more annotations than papermill's.
logging.getLogger("papermill").addFilter(lambda record: "unknown parameter" not in record.getMessage())


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


def run_notebook(
    notebook: str | Path,
    *,
    profile: str = OWN_PROFILE,
    parameters: Mapping[str, Any] | None = None,
    out_folder: str | Path,
    timeout_s: float | None = None,
    progress: Progress | None = None,
) -> Path:
    """Run a notebook from start to end; returns the executed one, ``<out_folder>/<notebook>.ipynb``.

    notebook: path, name, or the beginning of its name.
    profile: ``small`` (the notebook's own values), or a file of ``notebooks/parameters/``.
    parameters: single values that override the profile's.
    timeout_s: longest time for one cell; unlimited by default.

    The kernel is the running interpreter, works in the notebook's folder and sees ``MOTIONKIT_BATCH=1``.

    Raises ``ValueError`` for an unknown profile, parameter or type before anything starts, and ``NotebookFailed`` when
    a cell raises, the kernel dies or the time is up; what ran so far is kept as ``<notebook>.failed.ipynb``.
    """
    source = find_notebook(notebook)
    from_profile, where = read_profile(source, profile)
    values = check_parameters(source, from_profile, where)
    values |= check_parameters(source, parameters or {}, "parameters")
    folder = Path(out_folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    done, failed = folder / f"{source.stem}.ipynb", folder / f"{source.stem}.failed.ipynb"
    if done == source:
        raise ValueError(f"out_folder {folder} holds the notebook itself; choose another folder")
    running = folder / f".{source.stem}.{os.getpid()}.running.ipynb"
    progress = progress or Progress()
    progress._write(f"{source.stem} (profile {profile})\n")
    started = time.monotonic()
    try:
        execute_notebook(
            str(source),
            str(running),
            parameters=values,
            engine_name="motionkit",
            language="python",
            kernel_name="python3",
            progress_bar=False,
            progress=progress,
            folder=str(source.parent),
            timeout_s=timeout_s,
        )
    except (PapermillExecutionError, DeadKernelError, CellTimeoutError) as error:
        os.replace(running, failed)
        raise NotebookFailed(source.stem, progress.where, _last_lines(error), failed) from None
    except BaseException:
        running.unlink(missing_ok=True)
        raise
    _note_profile(running, profile)
    os.replace(running, done)
    failed.unlink(missing_ok=True)
    progress._write(f"  done in {time.monotonic() - started:.0f} s: {done}\n")
    return done


def _note_profile(executed: Path, profile: str) -> None:
    """Write the profile into the executed notebook, beside papermill's record of parameters and times."""
    notebook = _read(executed)
    notebook.metadata["motionkit"] = {"profile": profile}
    nbformat.write(notebook, executed)


def _last_lines(error: Exception, count: int = 12) -> str:
    if isinstance(error, PapermillExecutionError):
        text = "\n".join(error.traceback)
        lines = [line for line in _ANSI.sub("", text).splitlines() if line.strip()]
        return "\n".join(f"    {line}" for line in lines[-count:])
    if isinstance(error, DeadKernelError):
        return "    the kernel died (out of memory, or the process was killed)"
    return f"    {str(error).strip().splitlines()[0]}"
