"""What a run costs besides its notebook's work, in cold and in warm kernels: ``python tests/bench/bench_running.py``.

The notebook has three cells, which import what notebooks import, hold a parameter and do next to nothing; its imports
count as cost. "ready" is the usual case: each run lasts longer than a kernel takes to prepare. "at once" is the worst:
runs that last no time follow each other, so each waits for its kernel. Wall-clock times: leave the machine
alone, and the code too, for kernels that imported older code are replaced.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from pathlib import Path

import nbformat
import nbformat.v4 as v4

from motionkit.running.kernels import WarmKernels
from motionkit.running.notebooks import run_notebook
from motionkit.running.progress import Progress

IMPORTS = """\
import matplotlib.pyplot as plt
import pandas as pd
import torch

from motionkit.data.catalogue import load_dataset
from motionkit.metrics.reconstruction import reconstruction_scores
from motionkit.models.vqgan import VQGAN
from motionkit.plotting.charts import loss_curves
from motionkit.training import fit
from motionkit.widgets.codebook_explorer import explore_codebook"""
WORK = "import time; start = time.perf_counter(); torch.ones(n).sum(); print(time.perf_counter() - start)"


def seconds(notebook: Path, kernels: WarmKernels | None = None) -> float:
    """Wall-clock time of one run, less what its last cell says it worked."""
    start = time.perf_counter()
    executed = run_notebook(
        notebook,
        parameters={"n": 4},
        out_folder=notebook.parent / "out",
        kernels=kernels,
        progress=Progress(io.StringIO()),
    )
    took = time.perf_counter() - start
    return took - float(nbformat.read(executed, as_version=4).cells[-1].outputs[0].text)


def measure(notebook: Path, runs: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"cold": [seconds(notebook) for _ in range(runs)]}
    with WarmKernels(notebook.parent) as kernels:
        times["warm, ready"] = [seconds(notebook, kernels)]
        for _ in range(2 * runs):
            while not kernels._waiting[0].done():  # as a run that lasts longer would
                time.sleep(0.1)
            times["warm, ready"].append(seconds(notebook, kernels))
    with WarmKernels(notebook.parent) as kernels:
        times["warm, at once"] = [seconds(notebook, kernels) for _ in range(runs)]
    return times


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        notebook = Path(folder) / "01_tiny.ipynb"
        parameters = v4.new_code_cell("n: int = 3  # numbers", metadata={"tags": ["parameters"]})
        nbformat.write(v4.new_notebook(cells=[v4.new_code_cell(IMPORTS), parameters, v4.new_code_cell(WORK)]), notebook)
        seconds(notebook)  # the disk's cache, once
        times = measure(notebook, runs=4)
    print("Cost of a run besides its work [s]")
    print(f"{'kernel':16} {'first':>7} {'later: min':>11} {'median':>7} {'max':>7}  runs")
    for kind, (first, *later) in times.items():
        print(
            f"{kind:16} {first:7.2f} {min(later):11.3f} {statistics.median(later):7.3f} {max(later):7.3f}  {len(later)}"
        )


if __name__ == "__main__":
    main()
