"""Forward kinematics on arrays: from joint rotations and bone offsets to positions.

Files and the synthetic generator give rotations; everything after them works on positions. All functions compute in
float64, whatever they are given, because errors add up along a chain. Rotations act on column vectors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

# Right-handed: turning about axis a carries axis b towards axis c.
_TURN = {"X": (1, 2), "Y": (2, 0), "Z": (0, 1)}


def euler_to_matrix(angles_rad: Float[np.ndarray, "*batch axes"], order: str) -> Float[np.ndarray, "*batch 3 3"]:
    """Rotation matrix of turns about the named axes, written left to right: ``"ZYX"`` is ``Rz @ Ry @ Rx``.

    This is the order in which BVH lists channels (each turn about axes that the turns before it have moved).

    angles_rad: one angle for each letter of ``order``, any range. ``order``: letters of XYZ, any number of them.
    Raises ``ValueError`` when the number of angles and letters differ or a letter names no axis.

    >>> quarter = euler_to_matrix(np.array([np.pi / 2]), "Z")
    >>> (quarter @ np.array([1.0, 0.0, 0.0])).round(6).tolist()
    [0.0, 1.0, 0.0]
    """
    if angles_rad.shape[-1] != len(order) or not set(order) <= set(_TURN):
        raise ValueError(f"{angles_rad.shape[-1]} angles for rotation order {order!r}; one angle a letter of XYZ")
    angles = np.moveaxis(np.asarray(angles_rad, dtype=np.float64), -1, 0)
    cosines, sines = np.cos(angles), np.sin(angles)
    matrix = np.zeros((3, 3, *angles.shape[1:]))
    matrix[0, 0] = matrix[1, 1] = matrix[2, 2] = 1.0
    for axis, cosine, sine in zip(order, cosines, sines, strict=True):
        b, c = _TURN[axis]  # multiplying by a turn from the right mixes two columns
        column_b, column_c = matrix[:, b], matrix[:, c]
        matrix[:, b], matrix[:, c] = cosine * column_b + sine * column_c, cosine * column_c - sine * column_b
    return np.ascontiguousarray(np.moveaxis(matrix, (0, 1), (-2, -1)))


def matrix_to_euler(matrix: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Angles in radians of the order ``"ZYX"``; the inverse of ``euler_to_matrix(..., "ZYX")`` on matrices.

    The middle angle lies in [-pi/2, pi/2]. At its ends, where the other two are not unique, the result still gives the
    same matrix.
    """
    m = np.asarray(matrix, dtype=np.float64)
    z = np.arctan2(m[..., 1, 0], m[..., 0, 0])
    y = np.arctan2(-m[..., 2, 0], np.hypot(m[..., 0, 0], m[..., 1, 0]))
    # From what is left after undoing z, so that x fits z even where z is arbitrary.
    x = np.arctan2(
        np.sin(z) * m[..., 0, 2] - np.cos(z) * m[..., 1, 2], np.cos(z) * m[..., 1, 1] - np.sin(z) * m[..., 0, 1]
    )
    return np.stack([z, y, x], axis=-1)


def axis_angle_to_matrix(axis_angle_rad: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3 3"]:
    """Rotation matrix of a turn by ``|v|`` radians about ``v`` (Rodrigues); the zero vector is the identity."""
    v = np.asarray(axis_angle_rad, dtype=np.float64)
    angle = np.linalg.norm(v, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(v, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*v.shape, 3)
    # sinc keeps both coefficients finite and exact at angle 0: sin(a)/a and (1 - cos(a))/a^2
    return np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * (cross @ cross)


def global_rotations(
    rotations: Float[np.ndarray, "*batch joints 3 3"], parents: Sequence[int]
) -> Float[np.ndarray, "*batch joints 3 3"]:
    """Rotation of each joint's frame in the world, from its rotation in its parent's frame.

    ``parents``: -1 for a root, and each parent before its child (``ValueError`` otherwise).
    """
    _check_parents(parents, rotations.shape[-3])
    result = np.array(rotations, dtype=np.float64)
    for joint, parent in enumerate(parents):
        if parent >= 0:
            result[..., joint, :, :] = result[..., parent, :, :] @ result[..., joint, :, :]
    return result


def forward_kinematics(
    rotations: Float[np.ndarray, "*batch joints 3 3"],
    offsets: Float[np.ndarray, "*#batch joints 3"],
    parents: Sequence[int],
    root_positions: Float[np.ndarray, "*#batch 3"],
) -> Float[np.ndarray, "*batch joints 3"]:
    """World positions of the joints, in the unit of ``offsets`` and ``root_positions``.

    rotations: each joint's rotation in its parent's frame; a root's is in the world.
    offsets: each joint's place in its parent's frame, (joints, 3) for a rigid body or with one entry a frame;
        a root's is added to ``root_positions`` unrotated.
    parents: -1 for a root, and each parent before its child (``ValueError`` otherwise).

    >>> bent = euler_to_matrix(np.array([[np.pi / 2], [0.0]]), "Z")  # the shoulder turns, the hand follows
    >>> forward_kinematics(bent, np.array([[0.0, 1, 0], [1, 0, 0]]), (-1, 0), np.zeros(3)).round(6).tolist()
    [[0.0, 1.0, 0.0], [0.0, 2.0, 0.0]]
    """
    world = global_rotations(rotations, parents)
    places = np.broadcast_to(np.asarray(offsets, dtype=np.float64), world.shape[:-1])
    positions = np.empty(world.shape[:-1])
    for joint, parent in enumerate(parents):
        if parent < 0:
            positions[..., joint, :] = root_positions + places[..., joint, :]
        else:
            moved = world[..., parent, :, :] @ places[..., joint, :, None]
            positions[..., joint, :] = positions[..., parent, :] + moved[..., 0]
    return positions


def _check_parents(parents: Sequence[int], num_joints: int) -> None:
    if len(parents) != num_joints:
        raise ValueError(f"{len(parents)} parents for {num_joints} joints")
    for joint, parent in enumerate(parents):
        if not -1 <= parent < joint:
            raise ValueError(f"joint {joint} has parent {parent}; a parent must come before its child (-1 for a root)")


def solve_rotations(
    positions: Float[np.ndarray, "frames joints 3"], parents: Sequence[int], tolerance: float
) -> tuple[Float[np.ndarray, "frames joints 3 3"], Float[np.ndarray, "frames joints 3"]]:
    """Rotations and offsets that give these positions: the inverse of :func:`forward_kinematics`, root positions 0.

    The pose of frame 0 is the rest pose (no rotation). A joint with one child turns by the least angle, with more it
    also turns about its longest bone; twist that positions do not show is zero. Where a rigid body would miss a joint
    by more than ``tolerance`` (unit of ``positions``) in some frame, that joint gets its own offset in every frame, so
    that any motion is reproduced to within ``tolerance``; the offsets of all other joints are the same in each frame.
    """
    _check_parents(parents, positions.shape[1])
    actual = np.asarray(positions, dtype=np.float64)
    rest = actual[0] - np.where(np.array(parents)[:, None] < 0, 0.0, actual[0, parents])
    offsets = np.broadcast_to(rest, actual.shape).copy()
    reached, world, local = actual.copy(), np.empty((*actual.shape, 3)), np.empty((*actual.shape, 3))
    for joint, parent in enumerate(parents):
        base = np.broadcast_to(np.eye(3), (len(actual), 3, 3)) if parent < 0 else world[:, parent]
        if parent < 0:
            offsets[:, joint] = actual[:, joint]
        else:
            reached[:, joint] = reached[:, parent] + base @ rest[joint]
            if np.linalg.norm(reached[:, joint] - actual[:, joint], axis=-1).max() > tolerance:
                reached[:, joint] = actual[:, joint]
                to_joint = actual[:, joint] - reached[:, parent]
                offsets[:, joint] = (np.swapaxes(base, -1, -2) @ to_joint[..., None])[..., 0]
        children = [child for child, its_parent in enumerate(parents) if its_parent == joint and rest[child].any()]
        world[:, joint] = _turn_towards(base, rest[children], actual[:, children] - reached[:, joint, None])
        local[:, joint] = np.swapaxes(base, -1, -2) @ world[:, joint]
    return local, offsets


def _turn_towards(base: np.ndarray, rest: np.ndarray, bones: np.ndarray) -> np.ndarray:
    """Turn ``base`` (T, 3, 3) so that it carries the rest bones (C, 3) as near as it can to ``bones`` (T, C, 3)."""
    if len(rest) == 0:
        return base
    lengths = np.linalg.norm(rest, axis=-1)
    longest = int(lengths.argmax())
    world = _least_turn(base @ rest[longest], bones[:, longest]) @ base
    axis = rest[longest] / lengths[longest]
    aside = rest - (rest @ axis)[:, None] * axis
    if np.linalg.norm(aside, axis=-1).max() < 1e-3 * lengths[longest]:
        return world  # all bones on one line: rounding alone would decide the twist
    axes = world @ axis
    carried = np.swapaxes(world @ aside.T, -1, -2)
    across = bones - (bones @ axes[..., None]) * axes[:, None]
    sine = np.einsum("ti,tci->t", axes, np.cross(carried, across))
    angle = np.arctan2(sine, np.einsum("tci,tci->t", carried, across))
    return axis_angle_to_matrix(angle[:, None] * axes) @ world


def _least_turn(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) by the least angle that carry the directions ``start`` (T, 3) to ``end`` (T, 3)."""
    cross = np.cross(start, end)
    sine = np.linalg.norm(cross, axis=-1, keepdims=True)
    angle = np.arctan2(sine, np.einsum("ti,ti->t", start, end)[:, None])
    # Opposite directions: any axis at right angles; here one that starts from the smallest coordinate.
    sideways = np.cross(start, np.eye(3)[np.abs(start).argmin(axis=-1)])
    axis = np.where(sine > 1e-12 * np.linalg.norm(start, axis=-1, keepdims=True) ** 2, cross, sideways)
    return axis_angle_to_matrix(angle * axis / np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-30))
