"""Run a notebook from start to end with other parameters."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from jupyter_client.utils import run_sync
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill import execute_notebook
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, NotebookExecutionManager, papermill_engines
from papermill.exceptions import PapermillExecutionError
from papermill.iorw import write_ipynb

from motionkit.running.kernels import Kernel, KernelFailed, WarmKernels
from motionkit.running.parameters import (
    OWN_PROFILE,
    cell_titles,
    check_parameters,
    find_notebook,
    read_profile,
)
from motionkit.running.progress import Progress, plain

SAVE_EVERY_S = 10.0  # how often the notebook is written while it runs


class NotebookFailed(RuntimeError):
    """A notebook stopped before its end.

    ``reason`` is "raised" (a cell did), "died" (the kernel did) or "timed out"; ``lines`` are the last of the
    traceback; ``executed`` is the notebook as far as it came.
    """

    def __init__(self, notebook: str, cell: str, lines: str, executed: Path, reason: str) -> None:
        super().__init__(f"notebook {notebook} failed in {cell}:\n{lines}\nexecuted as far as it came: {executed}")
        self.notebook, self.cell, self.lines, self.executed = notebook, cell, lines, executed
        self.reason: Literal["raised", "died", "timed out"] = reason

    def __reduce__(self) -> tuple[Any, ...]:  # or it could not leave the process it was raised in
        return NotebookFailed, (self.notebook, self.cell, self.lines, self.executed, self.reason)


class _Written(NotebookExecutionManager):
    """Writes the notebook now and then, not twice a cell: pictures make one writing take longer than many cells."""

    def save(self, nb: Any = None, **_: Any) -> None:
        self.nb = nb or self.nb
        if (self.now() - self.last_save_time).total_seconds() >= SAVE_EVERY_S:
            super().save()


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


class _Engine(Engine):
    @classmethod
    def execute_notebook(
        cls, nb: Any, kernel_name: str, output_path: str, profile: str, progress: Progress, kernel: Kernel,
        timeout_s: float | None, **_: Any,
    ) -> Any:  # fmt: skip
        nb.metadata["motionkit"] = {"profile": profile}  # beside papermill's record of parameters and times
        manager = _Written(nb, output_path, progress_bar=False)
        manager.notebook_start()
        # outputs may come late on a busy machine, after papermill's usual 4 s
        client = _Client(manager, progress, km=kernel, timeout=timeout_s, iopub_timeout=60)
        try:
            client.execute()
        except Exception:
            manager.notebook_complete()
            write_ipynb(manager.nb, output_path)  # papermill itself writes what ends, or raises in a cell
            raise
        finally:
            run_sync(_drop_tasks)()
            if client.kc is not None:
                client.kc.stop_channels()
        manager.notebook_complete()
        return manager.nb


async def _drop_tasks() -> None:
    """After Ctrl-C the tasks that wait for the cell are still there, and would complain in the next run."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


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
    kernels: WarmKernels | None = None,
    env: Mapping[str, str] | None = None,
) -> Path:
    """Run a notebook from start to end; returns the executed one, ``<out_folder>/<notebook>.ipynb``.

    notebook: path, name, or the beginning of its name.
    profile: ``small`` (the notebook's own values), or a file of ``notebooks/parameters/``.
    parameters: single values that override the profile's.
    timeout_s: longest time for one cell; unlimited by default.
    kernels: take a kernel of these, which is ready at once, instead of starting one. They must work in the notebook's
        folder.
    env: further variables of the kernel's environment, where it is started here.

    The kernel is the running interpreter, works in the notebook's folder and sees ``MOTIONKIT_BATCH=1``. It ends in
    the background, and at once on Ctrl-C, which leaves no file behind.

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
    if kernels is not None and kernels.folder != source.parent:
        raise ValueError(f"the kernels work in {kernels.folder}, not in the notebook's folder {source.parent}")
    if kernels is not None and env is not None:
        raise ValueError("env comes too late for kernels that are started; give it to WarmKernels")
    running = folder / f".{source.stem}.{os.getpid()}.running.ipynb"
    progress = progress or Progress()
    progress._write(f"{source.stem} (profile {profile})\n")
    started = time.monotonic()
    kernel = Kernel.start(source.parent, env) if kernels is None else _take(kernels, progress)
    is_idle = False
    try:
        execute_notebook(
            str(source),
            str(running),
            parameters=values,
            engine_name="motionkit",
            language="python",
            kernel_name="python3",
            progress_bar=False,
            profile=profile,
            progress=progress,
            kernel=kernel,
            timeout_s=timeout_s,
        )
        is_idle = True
    except (PapermillExecutionError, DeadKernelError, KernelFailed, CellTimeoutError) as error:
        is_idle = isinstance(error, PapermillExecutionError)
        os.replace(running, failed)
        reason, lines = _explain(error, kernel)
        raise NotebookFailed(source.stem, progress.where, lines, failed, reason) from None
    except BaseException:
        running.unlink(missing_ok=True)
        raise
    finally:
        kernel.end(now=not is_idle)
    os.replace(running, done)
    failed.unlink(missing_ok=True)
    progress._write(f"  done in {time.monotonic() - started:.0f} s: {done}\n")
    return done


def _take(kernels: WarmKernels, progress: Progress) -> Kernel:
    try:
        return kernels.take()
    except KernelFailed as error:  # the notebook may do without what kills kernels that import all of the kit
        progress._write(f"  a cold kernel is started, because {error}\n")
        return Kernel.start(kernels.folder, kernels.env)


def _explain(error: Exception, kernel: Kernel, count: int = 12) -> tuple[str, str]:
    """Reason and last lines of a failure."""
    if isinstance(error, PapermillExecutionError):
        lines = [line for line in plain("\n".join(error.traceback)).splitlines() if line.strip()]
        return "raised", "\n".join(f"    {line}" for line in lines[-count:])
    if isinstance(error, CellTimeoutError):
        return "timed out", f"    {str(error).strip().splitlines()[0]}"
    if isinstance(error, KernelFailed):
        return "died", f"    {error}"
    code = kernel.exit_code
    how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
    hint = "; was the memory used up?" if code == -9 else ""
    return "died", f"    the kernel died {how}{hint}"
