"""AMASS motion files (npz of SMPL-H poses), put on one given skeleton by forward kinematics.

No body model is needed: the skeleton file ``smpl_skeleton.npz`` holds the rest positions of the 52 SMPL-H joints
(``p3d0``) and their parents. So every subject has the same body; shape, soft tissue and gender are not used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from motionkit.data.clip import MotionClip, convert_clip, nominal_fps
from motionkit.data.kinematics import axis_angle_to_matrix, forward_kinematics
from motionkit.data.npy_files import read_npz
from motionkit.data.skeleton import SMPLH_52, Skeleton


def read_amass(
    path: str | Path, skeleton_path: str | Path, *, skeleton: Skeleton = SMPLH_52, keep_root: bool = True
) -> MotionClip:
    """Read one AMASS file as a clip of joint positions in metres.

    Used fields: ``poses`` (frames, 156) axis-angle in radians, ``trans`` (frames, 3) in metres, ``mocap_framerate``.
    AMASS has Z up; the clip has Y up, as all clips.

    skeleton_path: ``p3d0`` (1, 52, 3) or (52, 3) in metres, ``parents`` (52,).
    skeleton: the layout of the clip (``SMPL_24``, ``HUMANML3D_22``, ``AMASS_18``, ... are parts of SMPL-H).
    keep_root: with ``False`` the pelvis neither turns nor moves.
        Source: paper 4 (HG-VAE), whose 18-joint data are made in this way.

    Raises ``ValueError`` naming the file, the field and the value that cannot be used. Pickled objects are refused.
    """
    path = Path(path)
    fields = _load(path, {"poses": (None, 156), "trans": (None, 3), "mocap_framerate": ()})
    poses, trans, fps = fields["poses"], fields["trans"], float(fields["mocap_framerate"])
    if len(poses) != len(trans) or len(poses) == 0:
        raise ValueError(f"{path}: poses have {len(poses)} frames, trans has {len(trans)}; expected as many, not 0")
    if not 1 <= fps <= 1000:
        raise ValueError(f"{path}: mocap_framerate is {fps}; expected 1 to 1000 Hz")
    offsets, parents = _load_rest_pose(Path(skeleton_path))
    rotations = axis_angle_to_matrix(poses.reshape(len(poses), 52, 3))
    if not keep_root:
        rotations[:, 0], trans = np.eye(3), np.zeros_like(trans)
    positions = forward_kinematics(rotations, offsets, parents, trans)
    if keep_root:  # the body itself has Y up; the root's rotation stands it up in a world with Z up
        positions = positions[..., [0, 2, 1]] * (1, 1, -1)
    clip = MotionClip(positions, nominal_fps(fps), SMPLH_52, name=path.stem, source=path.name)
    return convert_clip(clip, skeleton)


def _load_rest_pose(path: Path) -> tuple[np.ndarray, tuple[int, ...]]:
    """Offsets (52, 3) of the joints from their parents (the pelvis: from the origin), and the parents."""
    fields = _load(path, {"p3d0": None, "parents": (52,)})
    rest = fields["p3d0"].reshape(-1, 3) if fields["p3d0"].shape in ((1, 52, 3), (52, 3)) else None
    if rest is None:
        raise ValueError(f"{path}: p3d0 has shape {fields['p3d0'].shape}; expected (1, 52, 3)")
    # The root's parent is -1, in SMPL's own files that number as an unsigned one.
    parents = (-1, *(int(parent) for parent in fields["parents"][1:]))
    if parents != SMPLH_52.parents:
        joint = next(j for j in range(52) if parents[j] != SMPLH_52.parents[j])
        raise ValueError(f"{path}: parents[{joint}] is {parents[joint]}, in SMPL-H it is {SMPLH_52.parents[joint]}")
    offsets = rest.copy()
    offsets[1:] -= rest[list(parents[1:])]
    return offsets, parents


def _load(path: Path, shapes: dict[str, tuple[int | None, ...] | None]) -> dict[str, np.ndarray]:
    """The named fields as finite float64 arrays of these shapes (``None``: any length, or any shape)."""
    fields = read_npz(path, tuple(shapes))
    for name, value in fields.items():
        if value.dtype.kind not in "fiu":
            raise ValueError(f"{path}: field {name!r}: has type {value.dtype}, expected numbers")
        shape = value.shape if shapes[name] is None else shapes[name]
        if len(value.shape) != len(shape) or any(w not in (None, n) for w, n in zip(shape, value.shape, strict=True)):
            wanted = ", ".join("frames" if length is None else str(length) for length in shape)
            raise ValueError(f"{path}: field {name!r}: has shape {value.shape}, expected ({wanted})")
        bad = np.argwhere(~np.isfinite(value))
        if len(bad):
            where = "".join(f"[{index}]" for index in bad[0])
            raise ValueError(
                f"{path}: field {name!r}: value{where} is {value[tuple(bad[0])]}, one of {len(bad)} not finite"
            )
    return {name: value.astype(np.float64) for name, value in fields.items()}
