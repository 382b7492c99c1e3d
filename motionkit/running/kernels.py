"""Kernels that run notebooks: a process of its own for each run, if wished started and with its imports done before.

A kernel of ``WarmKernels`` is a fresh process that has run nothing but ``import``: what a notebook does in it is what
it does in a cold one. Only variables of the environment that libraries read while they are imported come too late
in a notebook's own cells; they belong into ``env``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
import threading
import time
import uuid
import warnings
from collections import deque
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from types import TracebackType
from typing import Any

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.utils import run_sync

import motionkit

START_TIMEOUT_S = 120.0  # a kernel that does not answer for so long is given up; a busy file server is slow
MAX_DEATHS = 3  # kernels that may die one after another while they are prepared
_PACKAGE = Path(motionkit.__file__).resolve().parent
_LIBRARIES = ("torch", "numpy", "pandas", "matplotlib.pyplot", "motionkit.running.parameters")


class KernelFailed(RuntimeError):
    """A kernel ended, or stayed silent, before it could take a cell."""


# ---- one kernel ------------------------------------------------------------------------------------------------------


class _Client(AsyncKernelClient):
    """Without heartbeat (the process is watched) and input; ready as soon as outputs arrive.

    The usual check of readiness always waits 0.2 s for outputs that do not come.
    """

    def start_channels(self, *_: Any, **__: Any) -> None:
        # Each client counts its messages from 0: without a name of its own a notebook's client would take late
        # answers to the one that had the imports done for answers to its cells.
        self.session.session = uuid.uuid4().hex
        super().start_channels(stdin=False, hb=False)

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        deadline = time.monotonic() + (timeout or START_TIMEOUT_S)
        while time.monotonic() < deadline:
            self.kernel_info()
            # Whatever comes on the output channel shows that outputs arrive. While a kernel starts nothing listens,
            # so the question is repeated; answers that come late are for nobody and passed over.
            with contextlib.suppress(Empty):
                await self.iopub_channel.get_msg(timeout=0.2)
                return
            if self.parent.exit_code is not None:
                raise KernelFailed(f"the kernel ended while it started (exit code {self.parent.exit_code})")
        raise KernelFailed(f"the kernel did not answer for {timeout or START_TIMEOUT_S:.0f} s")


class Kernel(AsyncKernelManager):
    """A process of the running interpreter, whatever kernels are installed, reached through sockets in a folder."""

    def __init__(self, **settings: Any) -> None:
        # The folder's path must be short: that of a socket is limited.
        self._sockets = tempfile.TemporaryDirectory(prefix="mk-", ignore_cleanup_errors=True)
        settings |= {"client_factory": _Client, "connection_file": os.path.join(self._sockets.name, "kernel.json")}
        if os.name == "posix":
            settings |= {"transport": "ipc"}  # not TCP: no open port, no warning about it
        super().__init__(**settings)
        self._process: Any = None
        self._end: threading.Thread | None = None

    @classmethod
    def start(cls, folder: Path, env: Mapping[str, str] | None = None) -> Kernel:
        """A kernel on its way, that works in ``folder`` and sees ``env`` and MOTIONKIT_BATCH=1 besides what is set."""
        kernel = cls()
        run_sync(kernel.boot)(folder, env)
        return kernel

    async def boot(self, folder: Path, env: Mapping[str, str] | None) -> None:
        """``start`` for those who are in an event loop."""
        await self.start_kernel(
            cwd=str(folder),
            env={**os.environ, **(env or {}), "MOTIONKIT_BATCH": "1"},
            extra_arguments=["--HistoryManager.hist_file=:memory:"],
        )
        self._process = self.provisioner.process

    @property
    def kernel_spec(self) -> KernelSpec:
        if self._kernel_spec is None:
            self._kernel_spec = KernelSpec(**get_kernel_dict())
        return self._kernel_spec

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Of the process: None while it runs, negative where a signal ended it."""
        return self._process.poll()

    def end(self, now: bool = False) -> None:
        """End the process in the background: asked politely, so that it closes its files, or ``now``.

        Processes that the notebook left running end with it. The interpreter does not exit before they are gone.
        """
        if self._end is None:
            self._end = threading.Thread(target=lambda: asyncio.run(self._shut_down(now)), name="end of a kernel")
            self._end.start()

    @property
    def has_ended(self) -> bool:
        """Whether an ``end`` is over."""
        return self._end is not None and not self._end.is_alive()

    def wait_for_end(self) -> None:
        """Return once an ``end`` that is under way is over."""
        if self._end is not None:
            self._end.join()

    async def _shut_down(self, now: bool) -> None:
        try:
            if now or self.exit_code is not None:
                self._kill()
            else:
                await self.request_shutdown()
            await self.finish_shutdown(pollinterval=0.02)  # insists with signals after some seconds
        finally:
            self._kill()  # what else runs in its group
            await self.cleanup_resources()
            self._sockets.cleanup()

    def _kill(self) -> None:
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)  # each kernel leads a group of its own
        else:
            self._process.kill()


# ---- kernels ahead of time -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Warm:
    kernel: Kernel
    code: int  # the stamp of the code it imported
    broken: dict[str, str]  # modules that could not be imported, and why


class WarmKernels:
    """Keeps kernels started and with their imports done; each is handed out once.

    folder: where the kernels work: the notebooks' folder.
    env: further variables of their environment.
    ahead: how many wait ready.
    most: prepare no more than so many; unlimited by default.

    Code that changes on disk makes the waiting kernels old: they are replaced. A module that cannot be imported is
    warned of, and left for the notebooks that need it to fail. A context manager; threads may share it.
    """

    def __init__(
        self, folder: str | Path, env: Mapping[str, str] | None = None, ahead: int = 1, most: int | None = None
    ) -> None:
        if ahead < 1:
            raise ValueError(f"ahead is {ahead}; expected at least 1 kernel ahead")
        self.folder, self.env, self.ahead = Path(folder).resolve(), dict(env or {}), ahead
        self._left = float("inf") if most is None else most
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(max_workers=ahead, thread_name_prefix="warm kernels")
        self._waiting: deque[Future[_Warm]] = deque()
        self._taken: list[Kernel] = []
        self._closed = False
        self._told: set[str] = set()  # broken modules that were warned of

    def __enter__(self) -> WarmKernels:
        with self._lock:
            self._prepare()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def take(self) -> Kernel:
        """A ready kernel, for the caller to use once and to ``end``. Waits until there is one.

        Raises ``KernelFailed`` when one kernel after another dies while it is prepared, ``ValueError`` once they are
        closed.
        """
        deaths = 0
        while True:
            with self._lock:
                if self._closed:
                    raise ValueError("these kernels are closed")
                self._prepare(at_least=1)
                future = next((one for one in self._waiting if one.done()), self._waiting[0])
                self._waiting.remove(future)
                self._left -= 1
            try:
                warm = future.result()
            except KernelFailed as error:
                deaths += 1
                if deaths == MAX_DEATHS:
                    raise KernelFailed(f"{deaths} kernels in a row could not be prepared; the last: {error}") from None
            except CancelledError:
                continue  # closed meanwhile
            except BaseException:  # Ctrl-C while it waits: the kernel stays known, so that it is ended
                with self._lock:
                    self._waiting.appendleft(future)
                    self._left += 1
                raise
            else:
                if warm.kernel.exit_code is None and warm.code == _code_stamp() and not self._closed:
                    break
                warm.kernel.end(now=True)
            with self._lock:
                self._left += 1  # for the one in its place
        self._warn(warm.broken)
        with self._lock:
            # only now: on few cores two that are prepared at once are late both
            self._taken = [kernel for kernel in self._taken if not kernel.has_ended] + [warm.kernel]
            self._prepare()
        return warm.kernel

    def close(self) -> None:
        """End the kernels that nobody took, and wait for the taken ones whose end is under way."""
        with self._lock:
            self._closed = True
        self._threads.shutdown(wait=True, cancel_futures=True)
        unused = [one.result().kernel for one in self._waiting if not one.cancelled() and one.exception() is None]
        self._waiting.clear()
        for kernel in unused:
            kernel.end(now=True)
        for kernel in [*unused, *self._taken]:
            kernel.wait_for_end()

    def _prepare(self, at_least: int = 0) -> None:
        while not self._closed and len(self._waiting) < max(at_least, min(self.ahead, self._left)):
            self._waiting.append(self._threads.submit(lambda: asyncio.run(self._warm())))

    async def _warm(self) -> _Warm:
        code, kernel = _code_stamp(), Kernel()
        await kernel.boot(self.folder, self.env)
        try:
            return _Warm(kernel, code, await self._import_modules(kernel))
        except BaseException:
            kernel.end(now=True)
            kernel.wait_for_end()
            raise

    async def _import_modules(self, kernel: Kernel) -> dict[str, str]:
        """Import in the kernel, without a trace in its names, its history and its count of cells."""
        client, broken = kernel.client(), {}
        client.start_channels()
        try:
            await client.wait_for_ready()
            for name in _modules():
                request = client.execute(f"exec('import {name}', {{}})", silent=True, stop_on_error=False)
                reply = await self._reply(client, request, f"it imported {name}")
                if reply["status"] == "error" and not _is_missing_library(reply):
                    broken[name] = f"{reply['ename']}: {reply['evalue']}"
        finally:
            client.stop_channels()
        return broken

    async def _reply(self, client: _Client, request: str, doing: str) -> dict[str, Any]:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and not self._closed:
            with contextlib.suppress(Empty):
                message = await client.get_shell_msg(timeout=0.2)
                if message["parent_header"].get("msg_id") == request:
                    return message["content"]
                continue
            if (code := client.parent.exit_code) is not None:
                raise KernelFailed(f"the kernel died while {doing} (exit code {code})")
        raise KernelFailed(f"the kernel was given up while {doing}")

    def _warn(self, broken: dict[str, str]) -> None:
        new = {name: why for name, why in broken.items() if name not in self._told}
        self._told |= set(new)
        for name, why in new.items():
            warnings.warn(f"{name} cannot be imported; notebooks that need it will fail: {why}", stacklevel=3)


def _modules() -> list[str]:
    """What kernels import: the large libraries, and all of the kit but what runs notebooks."""
    paths = (path.relative_to(_PACKAGE).with_suffix("") for path in sorted(_PACKAGE.rglob("*.py")))
    own = [
        ".".join(("motionkit", *path.parts)) for path in paths if path.parts[0] not in ("running", "cli", "__main__")
    ]
    return [*_LIBRARIES, *(name.removesuffix(".__init__") for name in own)]


def _is_missing_library(reply: dict[str, Any]) -> bool:
    """Whether an import failed for want of an optional library, which is no fault of the kit."""
    return reply["ename"] == "ModuleNotFoundError" and "motionkit" not in reply["evalue"]


def _code_stamp() -> int:
    """Changes when a file of the kit's code does."""
    return hash(tuple((str(path), path.stat().st_mtime_ns) for path in sorted(_PACKAGE.rglob("*.py"))))
