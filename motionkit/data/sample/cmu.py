"""The embedded sample: two real motion-capture trials, so that everything runs before any data is fetched.

The file beside this one holds joint positions in tenths of a millimetre. What a joint does is nearly uniform over
three frames, so second differences in time are small numbers that compress to a fifth; PROVENANCE.md tells where the
motion comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from motionkit.data.atomic import written_whole
from motionkit.data.clip import MotionClip
from motionkit.data.skeleton import CMU_31

_FILE = Path(__file__).with_name("cmu.npz")
_UNIT_M = 1e-4
_FPS = 120.0
_SOURCE = "CMU Graphics Lab Motion Capture Database, mocap.cs.cmu.edu (NSF EIA-0196217); BVH conversion by B. Hahne"
# action and captions by trial; the database's own descriptions are "playground - forward jumps, turn around" and
# "playground - climb, hang, swing"
_LABELS = {
    "01_01": ("jump", ("a person jumps forward several times, turns around and jumps back",)),
    "01_03": ("climb", ("a person climbs up and down, walks, hangs from a bar by the arms and swings",)),
}


def load_sample() -> list[MotionClip]:
    """CMU trials 01_01 (23 s of forward jumps) and 01_03 (38 s of climbing, hanging and swinging).

    One person, 120 fps, `CMU_31`, metres, Y up; positions within 0.05 mm of the database's BVH conversion. That
    conversion starts with a T-pose, which is left out. In 01_03 the person also stands and hangs on equipment that was
    not recorded: feet far above the floor are right there.
    """
    with np.load(_FILE, allow_pickle=False) as packed:
        return [
            MotionClip(
                _unpack(packed[trial], packed["column"]),
                _FPS,
                CMU_31,
                name=f"cmu/{trial}",
                subject="cmu/01",
                action=action,
                captions=captions,
                source=_SOURCE,
            )
            for trial, (action, captions) in _LABELS.items()
        ]


def pack_sample(trials: Mapping[str, np.ndarray], path: str | Path) -> None:
    """Write the sample's file from positions (frames, 31, 3) in metres by trial name: how the embedded one was made.

    Joints that coincide throughout (the BVH conversion has ten such) are stored once.

    Raises ``ValueError`` when a trial moves too fast for 16-bit second differences (by over 3 m between frames).
    """
    ticks = {trial: np.round(positions / _UNIT_M).astype(np.int64) for trial, positions in trials.items()}
    column = _columns(list(ticks.values()))
    kept = [list(column).index(number) for number in range(max(column) + 1)]
    packed = {"column": np.array(column, np.uint8)}
    for trial, values in ticks.items():
        bends = np.diff(values[:, kept], n=2, axis=0, prepend=np.zeros_like(values[:2, kept]))
        if np.abs(bends).max() > np.iinfo(np.int16).max:
            raise ValueError(f"trial {trial!r}: a joint moves too far between frames for the sample's 16-bit format")
        # Time runs fastest, and low bytes are kept apart from high ones: both make the stream far more regular.
        words = np.ascontiguousarray(bends.transpose(1, 2, 0)).astype("<i2")
        packed[trial] = words.view(np.uint8).reshape(*words.shape, 2).transpose(3, 0, 1, 2)
    with written_whole(Path(path)) as aside, aside.open("wb") as file:
        np.savez_compressed(file, **packed)


def _columns(trials: Sequence[np.ndarray]) -> list[int]:
    """For each joint the number of the stored column that holds it."""
    number: dict[bytes, int] = {}
    return [
        number.setdefault(b"".join(values[:, joint].tobytes() for values in trials), len(number))
        for joint in range(CMU_31.num_joints)
    ]


def _unpack(halves: np.ndarray, column: np.ndarray) -> np.ndarray:
    words = np.ascontiguousarray(halves.transpose(1, 2, 3, 0)).view("<i2")[..., 0]
    ticks = words.astype(np.int64).cumsum(axis=-1).cumsum(axis=-1)
    return (ticks.transpose(2, 0, 1)[:, column] * _UNIT_M).astype(np.float32)
