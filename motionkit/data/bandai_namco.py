"""Bandai-Namco-Research-Motiondataset-2 as joint positions: one npz of 2,902 clips, 10 contents in 7 styles, 30 fps.

Keys: ``joints_rel_hips_cm_x100`` (frames, 21, 3) int16, ``hips_cm`` (frames, 3), ``length`` (clips) frames of each clip
in row order, ``name``, ``content``, ``style`` (clips), ``joint_names``, ``parents`` (21), ``fps``; Y up.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from motionkit.data.clip import MotionClip
from motionkit.data.npy_files import read_npz
from motionkit.data.skeleton import BANDAI_NAMCO_21

CM = 0.01
_PER_CLIP = ("length", "name", "content", "style")
_FIELDS = ("joints_rel_hips_cm_x100", "hips_cm", *_PER_CLIP, "joint_names", "parents", "fps")


def read_bandai_namco(path: str | Path, *, limit: int | None = None) -> list[MotionClip]:
    """The clips, or the first ``limit``. The content is the action; content and style make the caption.

    The files do not say who moves: ``subject`` is empty.

    Raises ``ValueError`` naming the file, the field and the value.
    """
    path = Path(path)
    arrays = read_npz(path, _FIELDS)
    relative, hips, lengths, fps = (arrays[field] for field in (*_FIELDS[:3], "fps"))
    _check(path, arrays)
    ends = np.cumsum(lengths)
    clips = []
    for index in range(len(lengths) if limit is None else min(limit, len(lengths))):
        frames = slice(ends[index] - lengths[index], ends[index])
        name, content, style = (str(arrays[field][index]) for field in ("name", "content", "style"))
        positions = relative[frames].astype(np.float32) / 100 + hips[frames, None].astype(np.float32)
        try:
            clip = MotionClip(
                positions=positions * np.float32(CM),
                fps=float(fps),
                skeleton=BANDAI_NAMCO_21,
                name=f"bandai_namco/{name}",
                action=content,
                captions=(f"{content.replace('-', ' ')}, {style}",),
                source=f"Bandai-Namco-Research-Motiondataset-2 {name}",
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        clips.append(clip)
    return clips


def style_of(clip: MotionClip) -> str:
    """The style of a clip of this data set (``"elderly"``), which its caption ends with; ``""`` for other clips."""
    is_ours = clip.name.startswith("bandai_namco/") and clip.captions
    return clip.captions[0].rpartition(", ")[2] if is_ours else ""


def _check(path: Path, arrays: dict[str, np.ndarray]) -> None:
    relative, hips, lengths = (arrays[field] for field in _FIELDS[:3])
    joints = tuple(map(str, np.atleast_1d(arrays["joint_names"])))
    if joints != BANDAI_NAMCO_21.joints:
        raise ValueError(f"{path}: field 'joint_names' is {joints}, expected {BANDAI_NAMCO_21.joints}")
    if arrays["parents"].tolist() != list(BANDAI_NAMCO_21.parents):
        raise ValueError(f"{path}: field 'parents' is {arrays['parents'].tolist()}, expected {BANDAI_NAMCO_21.parents}")
    for field, array, rest in ((_FIELDS[0], relative, (21, 3)), (_FIELDS[1], hips, (3,))):
        if array.dtype.kind not in "fiu" or array.shape != (len(array) if array.ndim else 0, *rest):
            raise ValueError(
                f"{path}: field {field!r} is {array.shape} {array.dtype}, expected (frames, *{rest}) numbers"
            )
    if arrays["fps"].shape != () or arrays["fps"].dtype.kind not in "fiu":
        raise ValueError(f"{path}: field 'fps' is {arrays['fps']!r}, expected one number")
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 1).any():
        raise ValueError(f"{path}: field 'length' is {lengths!r}, expected positive whole numbers")
    for field in _PER_CLIP:
        if arrays[field].shape != lengths.shape:
            raise ValueError(f"{path}: field {field!r} has shape {arrays[field].shape}, 'length' {lengths.shape}")
    for field, array in ((_FIELDS[0], relative), (_FIELDS[1], hips)):
        if len(array) != lengths.sum():
            raise ValueError(f"{path}: field {field!r} has {len(array)} frames, 'length' adds up to {lengths.sum()}")
