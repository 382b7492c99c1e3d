"""All CMU motions from their BVH files, and again from the cache: ``python tests/bench/bench_data.py``.

Needs the full data set: ``$MOTIONKIT_DATA`` with a folder ``cmu``. One thread; "from the cache" is what later runs pay.
"""

from __future__ import annotations

import os
import tempfile
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

from motionkit.data.catalogue import CATALOGUE, load_dataset

GOAL_S = {"parsed": 20.0, "from the cache": 2.0}

if __name__ == "__main__":
    if CATALOGUE["cmu"].find() is None:
        print("left out, as the data set cmu is not here:", CATALOGUE["cmu"].instructions())
        raise SystemExit(0)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MOTIONKIT_CACHE"] = folder
        for name, goal in GOAL_S.items():
            start = time.process_time()
            clips = load_dataset("cmu")
            for clip in clips:
                clip.positions.sum()  # a memory map is read when it is used
            seconds = time.process_time() - start
            print(f"{len(clips)} clips {name}: {seconds:.2f} s of processor time, goal {goal:g} s")
