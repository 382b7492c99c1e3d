"""What ``fit`` sets for the time of a run and puts back afterwards: random numbers, interrupts, modes; and devices."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def pick_device(name: str = "auto") -> torch.device:
    """The device a ``TrainConfig.device`` stands for. Raises ``ValueError`` for "cuda" where there is none."""
    # Asks the driver's library, not CUDA itself: a process that touched CUDA can no longer fork for several devices.
    from lightning_fabric.accelerators import CUDAAccelerator

    has_cuda = CUDAAccelerator.is_available()
    if name == "cuda" and not has_cuda:
        raise ValueError("device is 'cuda', but this machine has no usable GPU; use 'auto' or 'cpu'")
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")


def seed_generators(device: torch.device, seed: int, index: int) -> None:
    """Seed torch's generators of the CPU and of ``device`` from (seed, index), well mixed."""
    x = (seed * 0x9E3779B97F4A7C15 + index * 0xD1B54A32D192ED03 + 1) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    x = (x ^ (x >> 27)) & 0x7FFFFFFFFFFFFFFF
    # Not torch.manual_seed, which takes 90 microseconds for asking every backend there is.
    torch.default_generator.manual_seed(x)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(x)


@contextmanager
def seeded(device: torch.device, seed: int, index: int = 0) -> Iterator[None]:
    """Random numbers of (seed, index) on the CPU and on ``device``, and afterwards the caller's as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        seed_generators(device, seed, index)
        yield


@contextmanager
def run_settings(device: torch.device) -> Iterator[None]:
    """Leave the caller's random numbers as they were, and let cuDNN choose kernels by trial: shapes hardly change."""
    benchmark = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = device.type == "cuda"
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        torch.backends.cudnn.benchmark = benchmark


@contextmanager
def eval_mode(model: object) -> Iterator[None]:
    """Eval mode meanwhile; then each module as it was: a frozen part may have been in eval mode all along. What is no
    module, such as a model without a network, has no modes."""
    modes = [(module, module.training) for module in model.modules()] if isinstance(model, nn.Module) else []
    if modes:
        model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


class Interrupts:
    """Lets Ctrl-C and SIGTERM (which ends jobs of a queue) wait for the end of a step, where a checkpoint is possible.

    A second one does not wait. patience_s: for so long after the first, others count as its echo, because launchers
    pass on to their processes what a terminal or a queue has told these already.
    """

    def __init__(self, notify: Callable[[], None], patience_s: float = 0.0) -> None:
        self.is_requested = False
        self._notify, self._patience_s = notify, patience_s
        self._is_deferring = True
        self._first_at = 0.0

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Only the main thread hears of interrupts; elsewhere this does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Meanwhile nothing is half done, and Ctrl-C need not wait."""
        self._is_deferring = False
        try:
            yield
        finally:
            self._is_deferring = True

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.is_requested and time.monotonic() - self._first_at < self._patience_s:
            return
        if self.is_requested or not self._is_deferring:
            raise KeyboardInterrupt
        self.is_requested, self._first_at = True, time.monotonic()
        self._notify()


class SharedBuffers:
    """Keeps the buffers of several processes alike: those a step changed become their mean (integers: rank 0's).

    Only the changed ones, because averaging constants step by step would wear them down by rounding. Buffers that are
    no part of a checkpoint are what a process gathers within a step, and its own.
    """

    def __init__(self, model: nn.Module, average: Callable[[Tensor], Tensor]) -> None:
        self._model, self._average = model, average
        self._before = self._versions()

    def average_changed(self) -> None:
        now = self._versions()
        changed = [b for name, b in self._shared() if self._before.get(name) != now[name]]
        floats = [b for b in changed if b.is_floating_point()]
        with torch.no_grad():
            if floats:
                flat = self._average(torch.cat([b.float().flatten() for b in floats]))
                for b, part in zip(floats, flat.split([b.numel() for b in floats]), strict=True):
                    b.copy_(part.view(b.shape))
            for b in changed:
                if not b.is_floating_point():
                    torch.distributed.broadcast(b, src=0)

    def _versions(self) -> dict[str, tuple[int, int]]:
        return {name: (id(b), b._version) for name, b in self._shared()}

    def _shared(self) -> Iterator[tuple[str, Tensor]]:
        for prefix, module in self._model.named_modules():
            for name, b in module.named_buffers(prefix, recurse=False):
                if name.rpartition(".")[2] not in module._non_persistent_buffers_set:
                    yield name, b
