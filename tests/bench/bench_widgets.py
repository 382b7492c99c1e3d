"""What a hand on a slider waits for: ``python tests/bench/bench_widgets.py``.

Processor time of one thread from the change of a control to the finished picture, in Python alone: a browser adds the
way there and back. Both explorers at their usual size; the codebook explorer over the kit's own tokenizers.
"""

from __future__ import annotations

import itertools
import os
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from machine import alternate

from motionkit.data.cameras import dome
from motionkit.data.catalogue import load_dataset
from motionkit.data.skeleton import H36M_17
from motionkit.data.windows import cut_windows, thin
from motionkit.representation.heatmap_video import HeatmapVideo
from motionkit.widgets.clip_explorer import BY_SIDE, JOINTS, VOLUME, explore_clip
from motionkit.widgets.codebook_explorer import CodebookExplorer, explore_codebook

GOAL_MS = 100.0


def clip_tasks() -> dict:
    clips = load_dataset("sample")

    def move(layer: str):
        explorer, frames = explore_clip(clips, resolution=128, layer=layer), itertools.cycle(range(100, 1500, 200))
        return lambda: setattr(explorer.frame, "value", next(frames))

    return {f"clip explorer, 128 px, {layer}: next frame": move(layer) for layer in (BY_SIDE, JOINTS, VOLUME)}


def codebook_tasks(folder: str) -> dict:
    video = HeatmapVideo(H36M_17, "2d", 64, 0.75, tuple(dome()))
    windows = thin(cut_windows(load_dataset("sample", H36M_17), length=32, stride=32, fps=20.0), 12)
    tasks = {}
    for rate in (8, 16, 32):
        explorer = explore_codebook(windows, video, folder=folder)
        explorer.compression.value = rate
        for name, task in tasks_of(explorer, 64 // rate).items():
            tasks[f"codebook explorer, F{rate}: {name}"] = task
    return tasks


def tasks_of(explorer: CodebookExplorer, side: int) -> dict:
    codes, frames = itertools.cycle(range(7, 120, 13)), itertools.cycle(range(0, 32, 5))
    cells = itertools.cycle([[0, row, column] for row in range(side) for column in range(side)])
    return {
        "next frame": lambda: setattr(explorer.frame, "value", next(frames)),
        "click a token": lambda: setattr(explorer.tokens, "cell", next(cells)),
        "replace a token": lambda: explorer.replace(next(codes)),
    }


if __name__ == "__main__":
    os.environ["MOTIONKIT_BATCH"] = "0"  # live, not a still picture
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        tasks = clip_tasks() | codebook_tasks(folder)
        print(f"median and best of the turns [ms], goal {GOAL_MS:g}")
        for name, (best, median) in alternate(tasks, seconds=20.0).items():
            print(f"  {name:52s} {median:7.1f} {best:7.1f}   {'met' if median < GOAL_MS else 'MISSED'}")
