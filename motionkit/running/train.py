"""Run a notebook's training as a plain script: no Jupyter and no kernel, alone or as one of many processes.

What runs is the notebook from its beginning to the cell tagged ``train`` (the last one, if several are), in one
namespace that stands for a module, with the parameters set after the cell tagged ``parameters``. Cells tagged ``show``
are left out: pictures, and scores that need no training. What comes after the training is left to ``motionkit run``
with the same parameters: its own training cell finds the finished checkpoints, since they lie in the same folder
whatever trained them, and so it only evaluates.

Every process of a run (torchrun, ``fabric run``, srun) runs the same cells in the notebook's folder; ``fit`` makes
them one run. So a cell up to the training must do the same in each of them and write no files but through ``fit``.
Only rank 0 prints; of an error one process tells, the first that met it.

torchrun's own restarts (``--max-restarts``) continue from the last checkpoint, but need its processes to forget the
first attempt: set ``TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1``. srun needs
``--ntasks-per-node``, or to start one torchrun a machine.
"""

from __future__ import annotations

import linecache
import logging
import os
import signal
import sys
import threading
import time
import traceback
import types
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from motionkit.fitting.processes import ProcessLost, process_rank
from motionkit.running.parameters import (
    OWN_PROFILE,
    cell_titles,
    check_parameters,
    find_notebook,
    read_notebook,
    read_profile,
)

INTERRUPTED = 130  # exit code of a run that was interrupted and can be continued
GRACE_S = 2.0  # how long a process outside of training outlives a SIGTERM, to tell what went wrong


@dataclass(frozen=True)
class Cell:
    """A code cell: its number among the notebook's, its heading, its tags and what it does."""

    number: int
    title: str
    tags: frozenset[str]
    source: str
    where: str  # stands in tracebacks in place of a file

    def compiled(self) -> types.CodeType:
        """Raises ``ValueError`` for what only a notebook understands, such as ``%magic`` and ``!command``."""
        lines = self.source.splitlines(keepends=True)
        linecache.cache[self.where] = (len(self.source), None, lines, self.where)  # so that tracebacks show lines
        try:
            return compile(self.source, self.where, "exec", dont_inherit=True)
        except SyntaxError as error:
            line = (error.text or "").strip()
            raise ValueError(f"{self.where}, line {error.lineno}: no plain Python: {line!r} ({error.msg})") from None


class CellFailed(RuntimeError):
    """A cell raised. The message is the traceback from the cell on."""

    def __init__(self, cell: Cell, error: Exception) -> None:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != cell.where:
            trace = trace.tb_next
        lines = "".join(traceback.format_exception(type(error), error, trace))
        super().__init__(f"{cell.where} failed\n{lines.rstrip()}")
        self.cell = cell


def training_cells(notebook: Path) -> list[Cell]:
    """The cells that training needs, in order. Raises ``ValueError`` if no cell is tagged ``train``."""
    content = read_notebook(notebook)
    cells = []
    for number, (index, title) in enumerate(cell_titles(content).items(), start=1):
        tags = frozenset(content.cells[index].metadata.get("tags", ()))
        cells.append(
            Cell(number, title, tags, content.cells[index].source, f"{notebook.name}, cell {number} ({title})")
        )
    ends = [place for place, cell in enumerate(cells, start=1) if "train" in cell.tags]
    if not ends:
        raise ValueError(f"notebook {notebook.stem} trains nothing: none of its cells is tagged 'train'")
    return [cell for cell in cells[: ends[-1]] if "show" not in cell.tags]


def train_notebook(
    notebook: str | Path, *, profile: str = OWN_PROFILE, parameters: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Run the cells of a notebook that its training needs, in this process; returns what the cells defined.

    notebook, profile, parameters: as for ``run_notebook``.

    Raises ``ValueError`` for an unknown profile, parameter or type, and for a cell that is no plain Python, before
    anything starts; ``CellFailed`` where a cell raises; ``TrainingInterrupted`` after Ctrl-C or SIGTERM.
    """
    source = find_notebook(notebook)
    values = check_parameters(source, *read_profile(source, profile))
    values |= check_parameters(source, parameters or {}, "--set")
    cells = training_cells(source)
    codes = [cell.compiled() for cell in cells]
    module = types.ModuleType(source.stem)
    module.display = lambda *_, **__: None
    with _surroundings(source, module):
        for place, (cell, code) in enumerate(zip(cells, codes, strict=True), start=1):
            print(f"[{place}/{len(cells)}] {cell.title}", flush=True)
            try:
                exec(code, module.__dict__)
            except Exception as error:
                raise CellFailed(cell, error) from error
            if "parameters" in cell.tags:
                module.__dict__.update(values)
    return module.__dict__


@contextmanager
def _surroundings(notebook: Path, module: types.ModuleType) -> Iterator[None]:
    """What the cells find: the notebook's folder, their module, their GPU; silence around all ranks but the first."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    _keep_restartable(notebook)
    before = Path.cwd()
    with ExitStack() as stack:
        if process_rank() > 0:
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        import lightning_fabric  # noqa: F401 (sets its loggers up)

        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        _take_gpu()
        sys.modules[module.__name__] = module
        os.chdir(notebook.parent)
        try:
            yield
        finally:
            os.chdir(before)
            del sys.modules[module.__name__]


def _keep_restartable(notebook: Path) -> None:
    """Fabric starts the further processes of a ``TrainConfig(devices=2)`` by this command, from the cells' folder."""
    sys.argv[0] = os.path.abspath(sys.argv[0])
    sys.argv[1:] = [str(notebook) if Path(text).resolve() == notebook else text for text in sys.argv[1:]]


def _take_gpu() -> None:
    """Cells that say "cuda" mean this process's own GPU."""
    import torch

    local = int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")))
    if not torch.cuda.is_available() or local == 0:
        return
    if local >= torch.cuda.device_count():
        raise ValueError(
            f"process {local + 1} of this machine has no GPU of its own, there are {torch.cuda.device_count()}: start "
            "as many processes as GPUs (--nproc-per-node gpu), or hide them all (CUDA_VISIBLE_DEVICES=) to use the CPU"
        )
    torch.cuda.set_device(local)


@contextmanager
def failures_told() -> Iterator[None]:
    """End the process with a message instead of an exception; of several processes one prints it."""
    code = 1
    with _time_to_tell():
        try:
            yield
            return
        except KeyboardInterrupt as interrupt:
            _tell(f"{str(interrupt) or 'interrupted'}; the same command continues", by_all=False)
            code = INTERRUPTED
        except CellFailed as failure:
            is_lost = isinstance(failure.__cause__, ProcessLost)
            _tell(str(failure.__cause__ if is_lost else failure), by_all=not is_lost)
        except (ValueError, FileNotFoundError) as refusal:
            _tell(str(refusal), by_all=False)
    raise SystemExit(code)


@contextmanager
def _time_to_tell() -> Iterator[None]:
    """torchrun ends all processes a moment after one has failed: outside of training let them live a little longer.

    A thread ends them then, because the main one may be waiting for another process and deaf to signals.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    hear, say = os.pipe()
    os.set_blocking(say, False)

    def go_on(number: int, frame: Any) -> None: ...

    def watch() -> None:
        while number := os.read(hear, 1):
            if number[0] == signal.SIGTERM and signal.getsignal(signal.SIGTERM) is go_on:  # else training hears it
                time.sleep(GRACE_S)
                os._exit(128 + signal.SIGTERM)
        os.close(hear)

    before = signal.signal(signal.SIGTERM, go_on)
    signal.set_wakeup_fd(say, warn_on_full_buffer=False)
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, before)
        os.close(say)


def _tell(message: str, by_all: bool) -> None:
    """Print what ended this process. by_all: also other processes may, where they cannot ask who was first."""
    is_first = _is_first_to_tell()
    if is_first or (is_first is None and (by_all or process_rank() == 0)):
        print(f"motionkit: {message}", file=sys.stderr, flush=True)


def _is_first_to_tell() -> bool | None:
    """Asks torchrun's store: the process that fails first says why; the others fail alike, or because of it."""
    env = os.environ
    if "TORCHELASTIC_RUN_ID" not in env:
        return None
    from torch.distributed import TCPStore

    try:
        store = TCPStore(env["MASTER_ADDR"], int(env["MASTER_PORT"]), is_master=False, timeout=timedelta(seconds=5))
        return store.add(f"motionkit/told/{env.get('TORCHELASTIC_RESTART_COUNT', 0)}", 1) == 1
    except RuntimeError:
        return None
