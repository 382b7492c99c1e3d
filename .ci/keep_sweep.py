"""Keep what a finished sweep found in figures/sweeps/: python .ci/keep_sweep.py runs/sweeps/NAME."""

from __future__ import annotations

import sys
from pathlib import Path

from motionkit.study.kept import keep_sweep

FIGURES = Path(__file__).parent.parent / "figures" / "sweeps"

if __name__ == "__main__":
    folders = keep_sweep(Path(sys.argv[1]), FIGURES)
    size = sum(file.stat().st_size for folder in folders for file in folder.iterdir())
    print(f"{len(folders)} runs, {size / 1e6:.1f} MB, in {folders[0].parent}")
