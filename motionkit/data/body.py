"""The body of the synthetic generator: its proportions, a pose in a few meaningful numbers, and the joints of a pose.

Feet are given, not reached: each foot's ball is put where it stands and the leg between hip and ankle is solved as two
links with the knee in front, so that a standing foot is exactly still. Everything is a smooth closed form of time in
float64, so that velocities follow by forward-mode differentiation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from motionkit.data.skeleton import CMU_31

_SIDES = (("Left", "L", 1.0), ("Right", "R", -1.0))
# Legs are straightened to this part of their length at most: straight ones would make the knee's motion singular.
_REACH = 0.99
# Within this pitch above level (rad) the foot's pivot moves smoothly from ball to heel.
_HEEL_ROUNDING = 0.15


@dataclass(frozen=True)
class Body:
    """Lengths in metres. Hips are twice ``hip_half_width`` apart, shoulders twice ``shoulder_half_width``."""

    height: float
    thigh: float
    shank: float
    ankle_height: float
    foot: float  # ankle to ball, along the floor
    heel: float  # ankle to heel, along the floor
    ball_height: float
    hip_half_width: float
    hip_drop: float  # hip joints below the pelvis
    spine: float  # each of the two lower segments, and of neck and head
    shoulder_half_width: float
    shoulder_rise: float
    upper_arm: float
    forearm: float
    hand: float

    @staticmethod
    def of(height_m: float, subject_seed: int = 0) -> Body:
        """A person of this height; the seed varies legs, arms and widths by a few percent (seed 0: none)."""
        if not 1.0 <= height_m <= 2.3:
            raise ValueError(f"height_m is {height_m}; expected 1.0 to 2.3")
        draw = np.random.default_rng([subject_seed, 1]).uniform(-1, 1, 4) * (subject_seed > 0)
        leg, arm, shoulders, hips = (1 + draw * np.array([0.03, 0.04, 0.07, 0.07])).tolist()
        unit = height_m / 1.75
        return Body(
            height=height_m,
            thigh=0.425 * unit * leg,
            shank=0.42 * unit * leg,
            ankle_height=0.08 * unit,
            foot=0.125 * unit,
            heel=0.05 * unit,
            ball_height=0.025 * unit,
            hip_half_width=0.085 * unit * hips,
            hip_drop=0.085 * unit,
            spine=(0.115 - 0.845 * (leg - 1) / 4) * unit,  # long legs carry a short trunk
            shoulder_half_width=0.175 * unit * shoulders,
            shoulder_rise=0.08 * unit,
            upper_arm=0.285 * unit * arm,
            forearm=0.235 * unit * arm,
            hand=0.07 * unit * arm,
        )


@dataclass(frozen=True)
class Foot:
    """Where one foot is: its ball ``ahead`` along the path, ``aside`` of it (outward), ``lift`` above its rest height;
    ``pitch`` above level (toes up positive; below level the heel is up); ``turn`` outward. Metres and radians."""

    ahead: Tensor
    aside: Tensor
    lift: Tensor
    pitch: Tensor
    turn: Tensor


@dataclass(frozen=True)
class Arm:
    """Elbow and wrist from the shoulder, (frames, 3), in the chest's frame with x outward, y up, z forward."""

    elbow: Tensor
    wrist: Tensor
    hand_direction: Tensor


@dataclass(frozen=True)
class Pose:
    """A body over time; each (frames,). Angles (rad) are yaw (to the left), pitch (forward), roll (left side up).

    ahead, aside, rise: of the pelvis, along the path, left of it, and above the highest level the legs allow (m).
    path_heading, path_curvature: the path's first direction (rad from +z towards +x) and its turn (rad/m).
    crouch: hips lower than the legs allow by this much throughout (m).
    """

    ahead: Tensor
    aside: Tensor
    rise: Tensor
    pelvis: tuple[Tensor, Tensor, Tensor]
    chest: tuple[Tensor, Tensor, Tensor]
    head: tuple[Tensor, Tensor, Tensor]
    feet: tuple[Foot, Foot]
    arms: tuple[Arm, Arm]
    path_heading: float
    path_curvature: float
    crouch: float


def vector(x: Tensor | float, y: Tensor | float, z: Tensor | float) -> Tensor:
    """Components, each (frames,) or a number, to (frames, 3)."""
    parts = [torch.as_tensor(part, dtype=torch.float64) for part in (x, y, z)]
    return torch.stack(torch.broadcast_tensors(*parts), dim=-1)


def rotation(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Float[Tensor, "frames 3 3"]:
    """Turn about Y, then about the turned X, then about the turned Z."""
    (sy, cy), (sp, cp), (sr, cr) = ((torch.sin(a), torch.cos(a)) for a in (yaw, pitch, roll))
    rows = (
        vector(cy * cr + sy * sp * sr, sy * sp * cr - cy * sr, sy * cp),
        vector(cp * sr, cp * cr, -sp),
        vector(cy * sp * sr - sy * cr, sy * sr + cy * sp * cr, cy * cp),
    )
    return torch.stack(rows, dim=-2)


def two_links(
    target: Float[Tensor, "frames 3"], toward: Float[Tensor, "*frames_or_none 3"], first: float, second: float
) -> Float[Tensor, "frames 3"]:
    """Middle joint of two links from the origin to ``target``, bent to the side that ``toward`` points to.

    The target must lie within the links' reach. The middle joint lies on the circle where both lengths fit, at its
    point nearest to ``toward``.
    """
    distance = target.norm(dim=-1, keepdim=True)
    direction = target / distance
    along = (distance**2 + first**2 - second**2) / (2 * distance)
    across = torch.sqrt(first**2 - along**2)
    side = toward - (toward * direction).sum(-1, keepdim=True) * direction
    return along * direction + across * side / side.norm(dim=-1, keepdim=True)


def pose_to_joints(body: Body, pose: Pose, hips_height: float) -> Float[Tensor, "frames 31 3"]:
    """Joint positions of `CMU_31` in metres; ``hips_height`` is the pelvis' height at ``rise`` 0."""
    heading = _path(pose, pose.ahead)[1]
    root, pelvis = _pelvis(pose)
    root = root + vector(0.0, hips_height, 0.0)
    chest = rotation(heading + pose.chest[0], *pose.chest[1:])
    middle = rotation(
        heading + (pose.pelvis[0] + pose.chest[0]) / 2,
        *[(a + b) / 2 for a, b in zip(pose.pelvis[1:], pose.chest[1:], strict=True)],
    )
    head = rotation(heading + pose.head[0], *pose.head[1:])
    up = vector(0.0, body.spine, 0.0)

    joints = {"Hips": root, "LowerBack": root, "Spine": root + _turn(middle, up)}
    joints["Spine1"] = joints["Neck"] = joints["Spine"] + _turn(chest, up)
    joints["Neck1"] = joints["Spine1"] + _turn(chest, up)
    joints["Head"] = joints["Neck1"] + _turn(head, vector(0.0, body.spine * 0.95, body.spine * 0.1))
    for (name, letter, sign), foot, arm in zip(_SIDES, pose.feet, pose.arms, strict=True):
        hip = _hip(body, root, pelvis, sign)
        ankle, ball, toes = foot_joints(body, pose, foot, sign)
        # The knee bends between where the pelvis and where the foot point.
        knee = hip + two_links(ankle - hip, toes + pelvis[..., 2], body.thigh, body.shank)
        joints |= {f"{letter}HipJoint": root, f"{name}UpLeg": hip, f"{name}Leg": knee, f"{name}Foot": ankle}
        joints[f"{name}ToeBase"] = ball
        outward = vector(sign, 1.0, 1.0)
        shoulder = joints["Spine1"] + _turn(chest, vector(sign * body.shoulder_half_width, body.shoulder_rise, 0.0))
        elbow, wrist = (shoulder + _turn(chest, outward * part) for part in (arm.elbow, arm.wrist))
        tip = wrist + body.hand * _turn(chest, outward * arm.hand_direction)
        joints |= {f"{name}Shoulder": joints["Spine1"], f"{name}Arm": shoulder, f"{name}ForeArm": elbow}
        joints |= {f"{name}Hand": wrist, f"{name}FingerBase": wrist, f"{letter}Thumb": wrist}
        joints[f"{name}HandIndex1"] = tip
    frames = len(pose.ahead)
    return torch.stack([joints[name].expand(frames, 3) for name in CMU_31.joints], dim=1)


def foot_joints(body: Body, pose: Pose, foot: Foot, sign: float) -> tuple[Tensor, Tensor, Tensor]:
    """Ankle, ball and forward direction of one foot. Heel up, it turns about its ball; toes up, about its heel."""
    place, heading = _path(pose, foot.ahead)
    left = vector(torch.cos(heading), 0.0, -torch.sin(heading))
    facing = heading + sign * foot.turn
    forward = vector(torch.sin(facing), 0.0, torch.cos(facing))
    up = vector(0.0, 1.0, 0.0)

    def turned(along: float, above: float, pitch: Tensor) -> Tensor:
        sine, cosine = torch.sin(pitch)[:, None], torch.cos(pitch)[:, None]
        return (along * cosine - above * sine) * forward + (above * cosine + along * sine) * up

    d = _HEEL_ROUNDING
    toes_up = torch.where(foot.pitch < d, foot.pitch.clamp(min=0) ** 2 / (2 * d), foot.pitch - d / 2)
    heel_to_ball = (body.heel + body.foot, body.ball_height)
    pivot = turned(*heel_to_ball, toes_up) - turned(*heel_to_ball, torch.zeros_like(toes_up))
    ball = place + sign * foot.aside[:, None] * left + (body.ball_height + foot.lift)[:, None] * up + pivot
    ankle = ball + turned(-body.foot, body.ankle_height - body.ball_height, foot.pitch)
    return ankle, ball, forward


def highest_hips(body: Body, pose: Pose) -> float:
    """The pelvis height at ``rise`` 0 at which the legs are straightest without ever being too short, less the crouch.

    Raises ``ValueError`` when a foot is farther from its hip along the floor than a leg is long.
    """
    root, pelvis = _pelvis(pose)
    reach = _REACH * (body.thigh + body.shank)
    room = []
    for (_, _, sign), foot in zip(_SIDES, pose.feet, strict=True):
        gap = foot_joints(body, pose, foot, sign)[0] - _hip(body, root, pelvis, sign)
        apart = gap[:, 0] ** 2 + gap[:, 2] ** 2
        if (apart >= reach**2).any():
            raise ValueError(f"a foot is {float(apart.max().sqrt()):.2f} m ahead or behind; a leg has {reach:.2f} m")
        room.append(torch.sqrt(reach**2 - apart) + gap[:, 1])
    return float(torch.cat(room).min()) - pose.crouch


def _pelvis(pose: Pose) -> tuple[Tensor, Tensor]:
    """Its place, with ``rise`` for a height, and its rotation."""
    place, heading = _path(pose, pose.ahead)
    left = vector(torch.cos(heading), 0.0, -torch.sin(heading))
    root = place + pose.aside[:, None] * left + vector(0.0, pose.rise, 0.0)
    return root, rotation(heading + pose.pelvis[0], *pose.pelvis[1:])


def _hip(body: Body, root: Tensor, pelvis: Tensor, sign: float) -> Tensor:
    return root + _turn(pelvis, vector(sign * body.hip_half_width, -body.hip_drop, 0.0))


def _path(pose: Pose, ahead: Tensor) -> tuple[Tensor, Tensor]:
    """Point (frames, 3) and heading (frames,) after walking ``ahead`` metres along an arc (or a line)."""
    half_turn = pose.path_curvature * ahead / 2
    chord = ahead * torch.sinc(half_turn / torch.pi)
    angle = pose.path_heading + half_turn
    return vector(chord * torch.sin(angle), 0.0, chord * torch.cos(angle)), pose.path_heading + 2 * half_turn


def _turn(rotations: Tensor, vectors: Tensor) -> Tensor:
    return (rotations * vectors[..., None, :]).sum(-1)
