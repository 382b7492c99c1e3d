"""HumanAct12: 1,191 labeled clips of 24 joint positions, one ``.npy`` array a clip.

Source: C. Guo et al., Action2Motion, ACM MM 2020. File names are
``P<person>G<group>R<round>F<first frame>T<last frame>A<coarse label><fine label>.npy``.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from motionkit.data.clip import MotionClip
from motionkit.data.npy_files import read_npy
from motionkit.data.skeleton import SMPL_24

ACTIONS = (
    *("warm_up", "walk", "run", "jump", "drink", "lift_dumbbell"),
    *("sit", "eat", "turn_steering_wheel", "phone", "boxing", "throw"),
)  # coarse labels 01 to 12
FPS = 20.0  # the files do not say; HumanML3D, which takes these clips up, counts their frames at 20 Hz
_NAME = re.compile(r"P(\d+)G(\d+)R(\d+)F(\d+)T(\d+)A(\d\d)(\d\d)")


def read_humanact12(path: str | Path) -> MotionClip:
    """One clip. Arrays are (frames, 24, 3) in metres, with as many frames as the file's name says: last - first + 1.

    The arrays keep the orientation of the camera that recorded them; where the head lies below the feet on average, the
    clip is turned half a turn about X, so that Y is up. The floor stays where it was recorded.

    Raises ``ValueError`` naming the file, the field and the value.
    """
    path = Path(path)
    found = _NAME.fullmatch(path.stem)
    if not found:
        raise ValueError(f"{path}: the name is not of the form P01G01R01F0001T0064A0101.npy")
    person, _, _, first, last, coarse, _ = map(int, found.groups())
    if not 1 <= coarse <= len(ACTIONS):
        raise ValueError(f"{path}: the name's action {found[6]}{found[7]} is unknown; coarse labels are 01 to 12")
    if last < first:
        raise ValueError(f"{path}: the name's frames run backwards, F{found[4]} to T{found[5]}")
    positions = read_npy(path)
    if positions.dtype.kind not in "fiu" or positions.shape[1:] != (24, 3) or positions.ndim != 3:
        raise ValueError(f"{path}: an array {positions.shape} of {positions.dtype}, expected (frames, 24, 3) numbers")
    if len(positions) != last - first + 1:
        raise ValueError(f"{path}: {len(positions)} frames, but the name says {last - first + 1} (F{first} to T{last})")
    positions = positions.astype(np.float32)
    feet = [SMPL_24.index("left_foot"), SMPL_24.index("right_foot")]
    if positions[:, SMPL_24.index("head"), 1].mean() < positions[:, feet, 1].mean():
        positions = positions * np.float32([1, -1, -1])
    try:
        return MotionClip(
            positions=positions,
            fps=FPS,
            skeleton=SMPL_24,
            name=f"humanact12/{path.stem}",
            subject=f"P{person:02d}",
            action=ACTIONS[coarse - 1],
            captions=(ACTIONS[coarse - 1].replace("_", " "),),
            source=f"HumanAct12 {path.name}",
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
