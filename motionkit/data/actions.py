"""The six actions of the synthetic generator: each a pose as a smooth closed form of time.

In a gait, ``u`` counts strides (one of each leg) and each leg runs through a phase in [0, 1): its foot stands from 0
to the duty and swings from there to 1. Numbers are for a body of 1.75 m and scale with height.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from motionkit.data.body import Arm, Body, Foot, Pose, two_links, vector

GRAVITY = 9.81  # m/s^2
_TWO_PI = 2 * torch.pi
_BALL_AHEAD = 0.085  # m: of the hips, standing upright


@dataclass(frozen=True)
class Manner:
    """How an action is done. Neutral is 1 for factors and 0 for angles (rad) and lengths (m).

    speed: pace; tempo: steps per distance; swing: arms; bounce: of the hips; lift: of the feet; bend: elbows (added);
    lean, bow: trunk and head forward; crouch: hips lower; heading, curvature: of the path (rad, rad/m);
    phase: where in its cycle the motion starts; side: +1 when the left side leads, -1 when the right does.
    """

    speed: float = 1.0
    tempo: float = 1.0
    swing: float = 1.0
    bounce: float = 1.0
    lift: float = 1.0
    bend: float = 0.0
    lean: float = 0.0
    bow: float = 0.0
    crouch: float = 0.0
    heading: float = 0.0
    curvature: float = 0.0
    phase: float = 0.0
    side: float = 1.0


STYLES: dict[str, Manner] = {
    "neutral": Manner(),
    "energetic": Manner(speed=1.12, swing=1.4, bounce=1.35, lift=1.3, bend=0.25, lean=-0.03, bow=-0.08),
    "tired": Manner(speed=0.75, tempo=0.95, swing=0.55, bounce=0.7, lift=0.7, lean=0.14, bow=0.4, crouch=0.02),
    "sneaky": Manner(speed=0.6, tempo=0.8, swing=0.5, bounce=0.5, lift=2.6, bend=0.9, lean=0.3, bow=-0.15, crouch=0.1),
}


# --- shapes in time


def step(x: Tensor, start: float = 0.0, end: float = 1.0) -> Tensor:
    """From 0 at ``start`` to 1 at ``end`` with zero first and second derivatives at both."""
    x = ((x - start) / (end - start)).clamp(0.0, 1.0)
    return x**3 * (10 - 15 * x + 6 * x**2)


def bump(x: Tensor, start: float = 0.0, end: float = 1.0) -> Tensor:
    """0 outside (start, end), 1 in the middle, with zero first and second derivatives at the ends."""
    x = ((x - start) / (end - start)).clamp(0.0, 1.0)
    return 64 * (x * (1 - x)) ** 3


def beat(u: Tensor, sharpness: float) -> Tensor:
    """Periodic with period 1: 1 at whole numbers, near 0 between, the sharper the nearer."""
    return torch.exp(sharpness * (torch.cos(_TWO_PI * u) - 1))


def through(t: Tensor, knots: Sequence[tuple[float, float, float, float]]) -> Tensor:
    """The curve through knots (time, value, first, second derivative): between two, the quintic that meets both.

    Held at the end values outside. A parabola's own values as knots give that parabola exactly.
    """
    result = torch.full_like(t, knots[0][1])
    for (t0, p0, v0, a0), (t1, p1, v1, a1) in pairwise(knots):
        d = t1 - t0
        x = ((t - t0) / d).clamp(0.0, 1.0)
        c = p1 - p0 - v0 * d - a0 * d**2 / 2
        e = (v1 - v0 - a0 * d) * d
        f = (a1 - a0) * d**2
        cubic, quartic, quintic = 10 * c - 4 * e + f / 2, -15 * c + 7 * e - f, 6 * c - 3 * e + f / 2
        value = p0 + x * (v0 * d + x * (a0 * d**2 / 2 + x * (cubic + x * (quartic + x * quintic))))
        result = torch.where(t >= t0, value, result)
    return result


# --- parts shared by actions


def hanging_arm(body: Body, forward: Tensor, bend: Tensor, aside: float = 0.14) -> Arm:
    """An arm from its angles (rad): the upper arm ``forward`` of hanging, the elbow bent by ``bend``."""

    def direction(angle: Tensor, aside: float) -> Tensor:
        side = torch.sin(torch.tensor(aside))
        rest = torch.cos(torch.tensor(aside))
        return vector(side, -rest * torch.cos(angle), rest * torch.sin(angle))

    elbow = body.upper_arm * direction(forward, aside)
    hand = direction(forward + bend, -aside / 2)
    return Arm(elbow, elbow + body.forearm * hand, hand)


def reaching_arm(body: Body, wrist: Tensor, elbow_toward: Tensor, hand_direction: Tensor | None = None) -> Arm:
    """An arm whose wrist is given; the elbow points towards ``elbow_toward``, the hand goes on along the forearm."""
    elbow = two_links(wrist, elbow_toward, body.upper_arm, body.forearm)
    along = (wrist - elbow) / body.forearm if hand_direction is None else hand_direction
    return Arm(elbow, wrist, along)


def standing(t: Tensor, body: Body, manner: Manner, *, stance: float = 0.11, forward: float = 0.0) -> Pose:
    """Standing with the weight shifting slowly from leg to leg; arms hang. ``forward``: how far one foot is ahead."""
    unit = body.height / 1.75
    zero = torch.zeros_like(t)
    shift = torch.sin(_TWO_PI * (0.23 * t + manner.phase))
    breath = torch.sin(_TWO_PI * (0.31 * t + 0.6 * manner.phase))
    feet = tuple(
        Foot(
            zero + (_BALL_AHEAD + sign * manner.side * forward / 2) * unit, zero + stance * unit, zero, zero, zero + 0.2
        )
        for sign in (1.0, -1.0)
    )
    hang = hanging_arm(body, 0.05 * breath + 0.02, 0.3 + manner.bend + 0.05 * breath)
    return Pose(
        ahead=0.008 * unit * breath,
        aside=0.035 * unit * shift,
        rise=-unit * (0.012 * shift**2 + 0.004 * (1 + breath)),
        pelvis=(0.06 * shift, 0.3 * manner.lean + zero, 0.05 * shift),
        chest=(0.03 * shift, manner.lean + 0.015 * breath, -0.03 * shift),
        head=(0.15 * breath * shift, manner.bow + 0.03 * breath, 0.02 * shift),
        feet=feet,
        arms=(hang, hang),
        path_heading=manner.heading,
        path_curvature=0.0,
        crouch=unit * manner.crouch,
    )


def _gait_feet(
    u: Tensor,
    body: Body,
    manner: Manner,
    stride_m: float,
    duty: float,
    passing: float,
    pitch: Callable,
    shape: Callable,
) -> tuple[Foot, Foot]:
    """Both feet of a gait: still on the ground from phase 0 to ``duty``; the hips pass a foot at phase ``passing``."""
    unit = body.height / 1.75
    feet = []
    for offset in (0.0, 0.5):
        count = torch.floor(u + offset)
        phase = u + offset - count
        swung = ((phase - duty) / (1 - duty)).clamp(0.0, 1.0)
        traveled = count - offset + passing + swung**2 * (3 - 2 * swung)
        zero = torch.zeros_like(u)
        feet.append(Foot(traveled * stride_m, zero + 0.075 * unit, shape(phase) * unit, pitch(phase), zero + 0.09))
    return feet[0], feet[1]


# --- actions


def walk(t: Tensor, body: Body, manner: Manner) -> Pose:
    """1.35 m/s at speed 1 and 1.75 m; each foot stands 62 % of the stride, from heel strike to toe-off."""
    unit = body.height / 1.75
    pace = 1.35 * manner.speed * unit**0.5
    rate = 0.98 * manner.speed**0.5 * manner.tempo / unit**0.5
    u = rate * t + manner.phase
    turn, half = _TWO_PI * u, 2 * _TWO_PI * u
    swing = 0.42 * manner.swing * manner.speed**0.3
    strike, push = 0.33, 1.1

    def pitch(p: Tensor) -> Tensor:
        return strike * (1 - step(p, 0.0, 0.13)) - push * step(p, 0.29, 0.72) + (push + strike) * step(p, 0.68, 1.0)

    def lift(p: Tensor) -> Tensor:
        return 0.04 * manner.lift * bump(p, 0.6, 1.0)

    def arm(sign: float) -> Arm:
        forward = -sign * swing * torch.cos(turn - 0.3) + 0.03 + manner.lean * 0.6
        return hanging_arm(body, forward, 0.38 + manner.bend - sign * 0.5 * swing * torch.cos(turn - 0.5))

    sway = torch.cos(turn - _TWO_PI * 0.31)
    return Pose(
        ahead=pace / rate * u + 0.008 * unit * torch.sin(half),
        aside=0.02 * unit * sway,
        rise=-unit * 0.026 * manner.bounce * torch.cos(half - 2 * _TWO_PI * 0.06),
        pelvis=(-0.1 * torch.cos(turn), 0.04 + 0.3 * manner.lean + 0 * u, 0.04 * torch.cos(turn - _TWO_PI * 0.2)),
        chest=(0.11 * manner.swing * torch.cos(turn), 0.05 + manner.lean + 0 * u, -0.02 * sway),
        head=(0.02 * torch.cos(turn), manner.bow + 0.02 * torch.cos(half), 0 * u),
        feet=_gait_feet(u, body, manner, pace / rate, 0.62, 0.31, pitch, lift),
        arms=(arm(1.0), arm(-1.0)),
        path_heading=manner.heading,
        path_curvature=manner.curvature,
        crouch=unit * manner.crouch,
    )


def run(t: Tensor, body: Body, manner: Manner) -> Pose:
    """3 m/s at speed 1 and 1.75 m; each foot stands a third of the stride, and between steps the body flies freely."""
    unit = body.height / 1.75
    pace = 3.0 * manner.speed * unit**0.5
    rate = 1.38 * manner.speed**0.35 * manner.tempo / unit**0.5
    duty = 0.32
    u = rate * t + manner.phase
    turn = _TWO_PI * u
    contact, flight = duty / rate, (0.5 - duty) / rate
    up = GRAVITY * flight / 2
    since = torch.remainder(u, 0.5) / rate
    airborne = since - contact
    rise = torch.where(
        airborne < 0,
        -up * contact / torch.pi * torch.sin(torch.pi * since / contact),
        up * airborne - GRAVITY / 2 * airborne**2,
    )

    def pitch(p: Tensor) -> Tensor:
        return 0.12 * (1 - step(p, 0.0, 0.08)) - 1.45 * step(p, 0.08, 0.45) + 1.57 * step(p, 0.55, 1.0)

    def lift(p: Tensor) -> Tensor:
        x = ((p - duty) / (1 - duty)).clamp(0.0, 1.0)
        return 0.24 * manner.lift**0.1 * 29.1 * x**2 * (1 - x) ** 3  # highest soon after the push

    def arm(sign: float) -> Arm:
        forward = -sign * 0.62 * manner.swing**0.5 * torch.cos(turn + 0.5) - 0.12
        return hanging_arm(body, forward, 1.45 + 0.3 * manner.bend - sign * 0.25 * torch.cos(turn + 0.5), 0.2)

    return Pose(
        ahead=pace / rate * u,
        aside=0.012 * unit * torch.cos(turn - _TWO_PI * 0.17),
        rise=rise,
        pelvis=(-0.12 * torch.cos(turn), 0.1 + 0.3 * manner.lean + 0 * u, 0.04 * torch.cos(turn - _TWO_PI * 0.17)),
        chest=(0.18 * torch.cos(turn + 0.4), 0.14 + 0.6 * manner.lean + 0 * u, 0 * u),
        head=(0 * u, 0.5 * manner.bow + 0.02 * torch.cos(2 * turn), 0 * u),
        feet=_gait_feet(u, body, manner, pace / rate, duty, 0.135, pitch, lift),
        arms=(arm(1.0), arm(-1.0)),
        path_heading=manner.heading,
        path_curvature=0.6 * manner.curvature,
        crouch=0.6 * unit * manner.crouch,
    )


def jump(t: Tensor, body: Body, manner: Manner) -> Pose:
    """Forward jumps from both feet, one after the other; in the air the hips fall with exact gravity."""
    unit = body.height / 1.75
    hop = 0.26 * unit * manner.bounce * manner.speed**0.5  # how far the hips rise above take-off
    up = (2 * GRAVITY * hop) ** 0.5
    flight = 2 * up / GRAVITY
    depth = (0.26 + 0.2 * manner.crouch) * unit
    down, push, absorb, recover = 0.55 / manner.speed, 2.1 * depth / up, 0.22, 0.6 / manner.speed
    t1, t2 = down, down + push
    t3 = t2 + flight
    t4 = t3 + absorb
    end = t4 + recover
    before, behind = 0.12 * unit, 0.1 * unit  # hips ahead of the feet at take-off, behind them at landing
    length = 0.75 * unit * manner.speed**0.5
    upright = 0.03 * unit  # between jumps, above the level at take-off
    fast = (length - before - behind) / flight
    cycles = t / end + manner.phase
    count = torch.floor(cycles)
    now = (cycles - count) * end

    rise = through(
        now,
        [
            (0.0, upright, 0.0, 0.0),
            (t1, -depth, 0.0, 5.0),
            (t2, 0.0, up, -GRAVITY),
            (t3, 0.0, -up, -GRAVITY),
            (t4, -0.8 * depth, 0.0, 8.0),
            (end, upright, 0.0, 0.0),
        ],
    )
    ahead = through(
        now,
        [
            (0.0, 0.0, 0.0, 0.0),
            (t1, -0.02 * unit, 0.0, 0.0),
            (t2, before, fast, 0.0),
            (t3, length - behind, fast, 0.0),
            (t4, length + 0.02 * unit, 0.0, 0.0),
            (end, length, 0.0, 0.0),
        ],
    )
    air = ((now - t2) / flight).clamp(0.0, 1.0)
    tucked = 16 * (air * (1 - air)) ** 2
    zero = torch.zeros_like(t)
    heel = -0.95 * step(now, t1 + 0.2 * push, t2 + 0.1) + 0.8 * step(now, t2 + 0.1, t3 - 0.05)
    heel = heel + 0.15 * step(now, t3 - 0.05, t3 + 0.1)
    foot = Foot(
        ahead=_BALL_AHEAD * unit + count * length + length * step(air, 0.0, 0.96),
        aside=zero + 0.1 * unit,
        lift=(hop + 0.1 * unit * manner.lift**0.3) * tucked,
        pitch=heel,
        turn=zero + 0.1,
    )
    bow = through(
        now,
        [(0, 0, 0, 0), (t1, 0.6, 0, 0), (t2, 0.12, 0, 0), (t3, 0.2, 0, 0), (t4, 0.5, 0, 0), (end, 0, 0, 0)],
    )
    swing = through(
        now,
        [
            (0, 0.0, 0, 0),
            (0.7 * t1, -0.85, 0, 0),
            (t2, 1.5, 5, 0),
            (t2 + 0.4 * flight, 2.2, 0, 0),
            (t3, 1.1, -4, 0),
            (t4, -0.1, 0, 0),
            (end, 0, 0, 0),
        ],
    )
    arm = hanging_arm(body, swing * manner.swing**0.3, 0.35 + manner.bend + 0.15 * bow, 0.2)
    return Pose(
        ahead=count * length + ahead,
        aside=zero,
        rise=rise,
        pelvis=(zero, 0.6 * bow, zero),
        chest=(zero, bow + manner.lean * 0.5, zero),
        head=(zero, 0.5 * bow + 0.5 * manner.bow, zero),
        feet=(foot, foot),
        arms=(arm, arm),
        path_heading=manner.heading,
        path_curvature=0.0,
        crouch=unit * manner.crouch,
    )


def wave(t: Tensor, body: Body, manner: Manner) -> Pose:
    """Standing; one arm is raised and its forearm swings from side to side about 1.6 times a second."""
    pose = standing(t, body, manner)
    u = 1.6 * manner.speed * t + manner.phase
    slow = torch.sin(_TWO_PI * 0.29 * t + 5 * manner.phase)
    raised = 0.25 + 0.1 * slow - 0.3 * manner.lean  # of the upper arm, above level
    lean = 0.15 + 0.5 * manner.swing**0.7 * torch.sin(_TWO_PI * u)
    elbow = body.upper_arm * vector(0.85 * torch.cos(raised), torch.sin(raised), 0.53 * torch.cos(raised))
    elbow = body.upper_arm * elbow / elbow.norm(dim=-1, keepdim=True)
    upright = vector(torch.sin(lean), torch.cos(lean), 0.12 * torch.cos(lean))
    upright = upright / upright.norm(dim=-1, keepdim=True)
    flick = vector(torch.sin(lean * 1.4), torch.cos(lean * 1.4), 0.0)
    waving = Arm(elbow, elbow + body.forearm * upright, flick)
    chest = (pose.chest[0], pose.chest[1], pose.chest[2] - manner.side * (0.05 + 0.02 * torch.sin(_TWO_PI * u)))
    return replace(pose, arms=_sided(waving, pose.arms[1], manner.side), chest=chest)


def box(t: Tensor, body: Body, manner: Manner) -> Pose:
    """A boxer's stance, one foot ahead: jab with the leading hand, cross with the other, fists else before the chin."""
    pose = standing(t, body, replace(manner, crouch=manner.crouch + 0.03), stance=0.14, forward=0.34)
    unit = body.height / 1.75
    u = 0.75 * manner.speed * t + manner.phase
    jab, cross = beat(u, 9.0), beat(u - 0.36, 8.0)
    bounce = torch.sin(_TWO_PI * 2 * u)
    side = manner.side
    reach = 0.97 * (body.upper_arm + body.forearm)
    guard = vector(-0.07 * unit, 0.06 * unit, 0.26 * unit)

    def fist(blow: Tensor, turned: float) -> Arm:
        out = vector(-0.1 * unit - turned * 0.1 * unit, 0.07 * unit, 1.0)
        out = out / out.norm(dim=-1, keepdim=True) * reach
        wrist = guard + blow[:, None] * (out - guard) + vector(0.0, 0.012 * unit * bounce, 0.0)
        return reaching_arm(body, wrist, vector(0.55, -1.0, 0.0))

    yaw = -side * (0.45 + 0.25 * jab - 0.75 * cross)
    return replace(
        pose,
        ahead=pose.ahead + unit * (0.03 * jab + 0.05 * cross),
        rise=pose.rise + 0.008 * unit * manner.bounce * bounce,
        pelvis=(pose.pelvis[0] + 0.6 * yaw, pose.pelvis[1] + 0.05, pose.pelvis[2]),
        chest=(pose.chest[0] + yaw, pose.chest[1] + 0.12 + 0.05 * cross, pose.chest[2]),
        head=(0.3 * yaw, 0.12 + pose.head[1], pose.head[2]),
        arms=_sided(fist(jab, 0.2), fist(cross, 0.0), side),
    )


def clap(t: Tensor, body: Body, manner: Manner) -> Pose:
    """Standing; the hands meet before the chest about twice a second."""
    pose = standing(t, body, manner)
    unit = body.height / 1.75
    u = 1.9 * manner.speed * t + manner.phase
    open_ = 1 - beat(u, 1.2)
    gap = (0.012 + 0.2 * min(manner.swing, 1.4) * open_) * unit
    slow = torch.sin(_TWO_PI * 0.27 * t + 3 * manner.phase)
    wrist = vector(
        gap - body.shoulder_half_width, (-0.13 + 0.02 * slow + 0.02 * open_) * unit, (0.27 + 0.02 * slow) * unit
    )
    flat = vector(-0.1 + 0 * t, 0.55, 0.8)
    arm = reaching_arm(body, wrist, vector(0.7, -1.0, -0.3), flat / flat.norm(dim=-1, keepdim=True))
    return replace(pose, arms=(arm, arm), chest=(pose.chest[0], pose.chest[1] + 0.02 * open_, pose.chest[2]))


def _sided(leading: Arm, other: Arm, side: float) -> tuple[Arm, Arm]:
    return (leading, other) if side > 0 else (other, leading)


ACTIONS: dict[str, Callable[[Tensor, Body, Manner], Pose]] = {
    action.__name__: action for action in (walk, run, jump, wave, box, clap)
}
