"""What the machine can do at best on one thread, and a fair stopwatch: shared by the benchmarks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch


def alternate(tasks: Mapping[str, Callable[[], object]], seconds: float = 1.0, at_least: int = 7) -> dict[str, tuple]:
    """Time tasks in turns, so that a busy moment of the machine hits all of them: name -> (minimum, median) in
    milliseconds.

    Each runs once unmeasured; then rounds of one run each, in alternating order, until ``seconds`` have passed. The
    time is the processor's, page faults included, so that other programs disturb only through caches and memory; of
    several threads it is the wall clock's.
    """
    now = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    begin, rounds = time.perf_counter(), 0
    while rounds < at_least or time.perf_counter() - begin < seconds:
        for name in list(tasks)[:: 1 if rounds % 2 == 0 else -1]:
            start = now()
            tasks[name]()
            times[name].append((now() - start) * 1e3)
        rounds += 1
    return {name: (min(t), statistics.median(t)) for name, t in times.items()}


def fill_fresh_torch(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.empty(shape).fill_(0.5)


def fill_fresh_numpy(shape: tuple[int, ...]) -> np.ndarray:
    """numpy asks for huge pages, which makes fresh memory cheaper than torch's on systems that leave the choice to the
    program."""
    array = np.empty(shape, dtype=np.float32)
    array.fill(0.5)
    return array


def constants() -> dict[str, float]:
    """Best of many: GB/s into reused and fresh memory, GFLOP/s of a float32 matrix product."""
    shape = (64, 17, 128, 128)
    gigabytes = 4e-9 * np.prod(shape)
    used = torch.empty(shape)
    n = 1024
    a, b = torch.rand(n, n), torch.rand(n, n)
    times = alternate(
        {
            "fill reused memory [GB/s]": lambda: used.fill_(0.5),
            "fill fresh memory, torch [GB/s]": lambda: fill_fresh_torch(shape),
            "fill fresh memory, numpy [GB/s]": lambda: fill_fresh_numpy(shape),
            "read (sum) [GB/s]": lambda: used.sum(),
            "matrix product, float32 [GFLOP/s]": lambda: a @ b,
        },
        seconds=2.0,
    )
    return {name: (2e-9 * n**3 if "GFLOP" in name else gigabytes) / (t[0] * 1e-3) for name, t in times.items()}


def print_constants() -> None:
    print(f"Machine, {torch.get_num_threads()} thread, torch {torch.__version__}, numpy {np.__version__}")
    for name, value in constants().items():
        print(f"  {name:36s} {value:8.1f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    print_constants()
