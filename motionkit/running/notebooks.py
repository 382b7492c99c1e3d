"""Run a notebook from start to end with other parameters."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill import execute_notebook
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

from motionkit.running.kernels import Kernel
from motionkit.running.parameters import (
    OWN_PROFILE,
    cell_titles,
    check_parameters,
    find_notebook,
    read_notebook,
    read_profile,
)
from motionkit.running.progress import Progress, plain


class NotebookFailed(RuntimeError):
    """A notebook stopped before its end. ``executed`` is the notebook as far as it came."""

    def __init__(self, notebook: str, cell: str, lines: str, executed: Path) -> None:
        super().__init__(f"notebook {notebook} failed in {cell}:\n{lines}\nexecuted as far as it came: {executed}")
        self.notebook, self.cell, self.lines, self.executed = notebook, cell, lines, executed


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
            kernel_manager_class=Kernel,
            # the kernel's folder, not this process's: several notebooks may run at once
            resources={"metadata": {"path": folder}},
            timeout=timeout_s,
        )
        return client.execute(env={**os.environ, "MOTIONKIT_BATCH": "1"})


papermill_engines.register("motionkit", _Engine)
# Names are checked here before a run, by a reader that knows more annotations than papermill's.
logging.getLogger("papermill").addFilter(lambda record: "unknown parameter" not in record.getMessage())


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
    notebook = read_notebook(executed)
    notebook.metadata["motionkit"] = {"profile": profile}
    nbformat.write(notebook, executed)


def _last_lines(error: Exception, count: int = 12) -> str:
    if isinstance(error, PapermillExecutionError):
        text = "\n".join(error.traceback)
        lines = [line for line in plain(text).splitlines() if line.strip()]
        return "\n".join(f"    {line}" for line in lines[-count:])
    if isinstance(error, DeadKernelError):
        return "    the kernel died (out of memory, or the process was killed)"
    return f"    {str(error).strip().splitlines()[0]}"
