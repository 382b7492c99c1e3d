"""Synthetic people: rigid bones, still feet, gravity, one motion at every frame rate, exact velocities."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from motionkit.data.actions import ACTIONS, GRAVITY, STYLES
from motionkit.data.body import Body
from motionkit.data.skeleton import CMU_31
from motionkit.data.synthetic import SyntheticMotion, generate, generate_dataset, synthesize

GAITS = ("walk", "run")
CASES = [(action, style, height) for action in ACTIONS for style in STYLES for height in (1.2, 1.8)]
TIMES = np.arange(0, 4, 1 / 240)


@cache
def motion(action: str, style: str = "neutral", height: float = 1.7, seed: int = 5, speed: float = 1.0):
    return synthesize(action, seed=seed, style=style, height_m=height, subject_seed=seed, speed=speed)


@cache
def sampled(action: str, style: str = "neutral", height: float = 1.7) -> np.ndarray:
    return motion(action, style, height).positions(TIMES)


def joint(positions: np.ndarray, name: str) -> np.ndarray:
    return positions[:, CMU_31.index(name)]


def straight(action: str, **arguments) -> SyntheticMotion:
    """Towards +z, so that left is +x."""
    made = synthesize(action, seed=2, **arguments)
    return replace(made, manner=replace(made.manner, heading=0.0, curvature=0.0, phase=0.0, side=1.0))


# --- the body


@pytest.mark.parametrize(("action", "style", "height"), CASES)
def test_bones_keep_their_length(action, style, height):
    positions = sampled(action, style, height)
    for child, parent in enumerate(CMU_31.parents):
        if parent >= 0:
            length = np.linalg.norm(positions[:, child] - positions[:, parent], axis=-1)
            assert np.ptp(length) < 1e-12, CMU_31.joints[child]
    for parent, child in CMU_31.limbs:
        assert np.linalg.norm(positions[0, child] - positions[0, parent]) > 0.04


@pytest.mark.parametrize(("action", "style", "height"), CASES)
def test_no_joint_sinks_into_the_floor(action, style, height):
    positions = sampled(action, style, height)
    body = motion(action, style, height).body
    balls = np.stack([joint(positions, f"{side}ToeBase")[:, 1] for side in ("Left", "Right")])
    assert balls.min() > body.ball_height - 1e-9  # the sole is ball_height below the ball
    assert balls.min() < body.ball_height + 1e-9  # and someone stands on the floor at some time
    assert positions[..., 1].min() > 0


def standing_runs(positions: np.ndarray, side: str, body: Body) -> list[np.ndarray]:
    """Frames, in unbroken runs, in which the ball of a foot is at its height of rest."""
    grounded = np.flatnonzero(joint(positions, f"{side}ToeBase")[:, 1] < body.ball_height + 1e-9)
    return [run for run in np.split(grounded, np.flatnonzero(np.diff(grounded) > 1) + 1) if len(run) > 1]


@pytest.mark.parametrize(("action", "style", "height"), CASES)
def test_standing_feet_do_not_slip(action, style, height):
    positions = sampled(action, style, height)
    body = motion(action, style, height).body
    total = 0
    for side in ("Left", "Right"):
        runs = standing_runs(positions, side, body)
        total += sum(map(len, runs))
        for run in runs:
            place = joint(positions, f"{side}ToeBase")[run]
            assert np.ptp(place, axis=0).max() < 1e-9
    assert total > 0.25 * len(TIMES)


@pytest.mark.parametrize(("action", "style", "height"), CASES)
def test_knees_bend_forward_only(action, style, height):
    positions = sampled(action, style, height)
    across = joint(positions, "LeftUpLeg") - joint(positions, "RightUpLeg")
    forward = np.cross(across, [0.0, 1.0, 0.0])
    for side in ("Left", "Right"):
        hip, knee, ankle = (joint(positions, f"{side}{part}") for part in ("UpLeg", "Leg", "Foot"))
        ahead = ((knee - (hip + ankle) / 2) * forward).sum(-1)
        assert ahead.min() > 0
        upper, lower = knee - hip, ankle - knee
        angle = np.arccos((upper * lower).sum(-1) / np.linalg.norm(upper, axis=-1) / np.linalg.norm(lower, axis=-1))
        assert angle.min() > 0.05  # never snaps straight
        assert angle.max() < 2.5


@pytest.mark.parametrize("action", GAITS)
def test_elbows_bend_backward_only(action):
    positions = straight(action).positions(TIMES)
    for side in ("Left", "Right"):
        shoulder, elbow, wrist = (joint(positions, f"{side}{part}") for part in ("Arm", "ForeArm", "Hand"))
        upper, lower = elbow - shoulder, wrist - elbow
        assert np.cross(upper, lower)[:, 0].max() < 0  # about -x: from hanging forward, never back


@pytest.mark.parametrize("height", [1.2, 1.5, 1.75, 2.0])
@pytest.mark.parametrize("action", ["walk", "wave", "clap"])
def test_hips_are_as_high_as_a_persons(action, height):
    hips = joint(sampled(action, "neutral", height), "Hips")[:, 1] / height
    assert hips.min() > 0.5
    assert hips.max() < 0.6
    head = joint(sampled(action, "neutral", height), "Head")[:, 1] / height
    assert head.min() > 0.72
    assert head.max() < 0.9  # the head joint is its base, not the crown


# --- the actions


def pace(action: str, **arguments) -> float:
    made = straight(action, **arguments)
    ends = made.positions(np.array([0.0, 20.0]))
    return (joint(ends, "Hips")[1, 2] - joint(ends, "Hips")[0, 2]) / 20


def test_pace_is_that_of_people():
    for height in (1.5, 1.75, 1.95):
        assert 1.2 < pace("walk", height_m=height) < 1.5
        assert 2.6 < pace("run", height_m=height) < 3.5
        for action in GAITS:
            slow, fast = (pace(action, height_m=height, speed=speed) for speed in (0.7, 1.4))
            assert fast / slow == pytest.approx(2, rel=0.02)
    assert abs(pace("wave")) < 0.01


@pytest.mark.parametrize("action", GAITS)
def test_legs_alternate_and_arms_swing_against_them(action):
    positions = straight(action).positions(TIMES)
    middle = joint(positions, "Hips")[:, 2]
    lead = joint(positions, "LeftFoot")[:, 2] - joint(positions, "RightFoot")[:, 2]
    arms = joint(positions, "LeftHand")[:, 2] - joint(positions, "RightHand")[:, 2]
    assert np.corrcoef(lead, arms)[0, 1] < -0.8
    assert lead.max() == pytest.approx(-lead.min(), rel=0.02)
    left, right = (joint(positions, f"{side}Foot")[:, 2] - middle for side in ("Left", "Right"))
    assert np.corrcoef(left, right)[0, 1] < -0.75
    strides = np.flatnonzero((lead[:-1] < 0) & (lead[1:] >= 0))
    assert len(strides) >= 3
    assert np.ptp(np.diff(strides)) <= 1  # in time


def test_walking_keeps_a_foot_down_and_running_flies():
    body, floor = {}, {}
    for action in GAITS:
        body[action] = motion(action).body
        balls = [joint(sampled(action), f"{side}ToeBase")[:, 1] for side in ("Left", "Right")]
        floor[action] = np.minimum(*balls) - body[action].ball_height
    assert floor["walk"].max() < 0.03  # at heel strike the ball is up but the heel is down
    flying = floor["run"] > 1e-6
    assert 0.2 < flying.mean() < 0.6


def in_flight(made: SyntheticMotion) -> tuple[np.ndarray, np.ndarray]:
    """Hips' height over time and the frames in the middle of both feet's flight."""
    times = np.arange(0, 6, 1 / 1000)
    positions = made.positions(times)
    feet = np.minimum(joint(positions, "LeftToeBase")[:, 1], joint(positions, "RightToeBase")[:, 1])
    up = feet > made.body.ball_height + (0.05 if made.action == "jump" else 1e-3)
    return joint(positions, "Hips")[:, 1], up


@pytest.mark.parametrize("style", STYLES)
def test_a_jump_falls_with_exactly_gravity(style):
    height, up = in_flight(motion("jump", style))
    second = np.diff(height, 2) * 1e6
    inside = up[:-2] & up[1:-1] & up[2:]
    assert inside.sum() > 200
    np.testing.assert_allclose(second[inside], -GRAVITY, atol=1e-5)
    rise = height[up].max() - height[~up].max()
    assert rise > 0.05


def test_a_run_falls_with_gravity_between_steps():
    height, _ = in_flight(motion("run"))
    second = np.diff(height, 2) * 1e6
    falling = np.isclose(second, -GRAVITY, atol=1e-4)
    assert 0.2 < falling.mean() < 0.5


def test_a_wave_is_above_the_shoulder_and_swings():
    positions = straight("wave").positions(TIMES)
    hand = joint(positions, "LeftHand") - joint(positions, "LeftArm")
    assert hand[:, 1].min() > 0.1
    assert np.ptp(hand[:, 0]) > 0.15
    other = joint(positions, "RightHand") - joint(positions, "RightArm")
    assert other[:, 1].max() < -0.3


def test_a_clap_meets_in_front_of_the_chest():
    positions = straight("clap").positions(TIMES)
    gap = np.linalg.norm(joint(positions, "LeftHand") - joint(positions, "RightHand"), axis=-1)
    assert 0.01 < gap.min() < 0.04
    assert gap.max() > 0.2
    claps = np.flatnonzero((gap[1:-1] < gap[:-2]) & (gap[1:-1] < gap[2:]))
    assert 1.5 < len(claps) / 4 < 2.5
    assert (joint(positions, "LeftHand")[:, 2] - joint(positions, "Spine1")[:, 2]).min() > 0.15


def test_a_boxer_jabs_with_one_fist_and_crosses_with_the_other():
    positions = straight("box").positions(TIMES)
    reach = {
        side: np.linalg.norm(joint(positions, f"{side}Hand") - joint(positions, f"{side}Arm"), axis=-1)
        for side in ("Left", "Right")
    }
    for distance in reach.values():
        assert np.ptp(distance) > 0.15
        assert np.median(distance) < distance.min() + 0.1  # mostly on guard
    assert abs(reach["Left"].argmax() - reach["Right"].argmax()) > 20  # one after the other
    assert joint(positions, "LeftToeBase")[0, 2] > joint(positions, "RightToeBase")[0, 2] + 0.2


def test_styles_differ_and_look_as_they_are_called():
    bowed = {style: straight("walk", style=style).positions(TIMES) for style in STYLES}
    lean = {s: (joint(p, "Neck1") - joint(p, "Hips"))[:, 2].mean() for s, p in bowed.items()}
    hips = {s: joint(p, "Hips")[:, 1].mean() for s, p in bowed.items()}
    assert lean["sneaky"] > lean["tired"] > lean["neutral"] > lean["energetic"]
    assert hips["sneaky"] < hips["neutral"] - 0.02
    assert pace("walk", style="energetic") > pace("walk") > pace("walk", style="tired") > pace("walk", style="sneaky")


# --- time


@pytest.mark.parametrize("action", ACTIONS)
def test_another_frame_rate_gives_the_same_positions_at_common_instants(action):
    slow = generate(action, seed=9, duration_s=2.0, fps=25.0)
    for fps in (50.0, 100.0, 250.0):
        fast = generate(action, seed=9, duration_s=3.0, fps=fps)
        np.testing.assert_array_equal(fast.positions[:: int(fps / 25)][:50], slow.positions)
    odd = motion(action)
    np.testing.assert_allclose(
        odd.positions(np.array([0.5, 1.0])), odd.positions(np.arange(241) / 240)[[120, 240]], atol=1e-12
    )


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("action", ACTIONS)
def test_velocities_are_the_derivative(action, style):
    made = motion(action, style)
    times, h = np.random.default_rng(0).uniform(0, 8, 300), 1e-6
    difference = (made.positions(times + h) - made.positions(times - h)) / (2 * h)
    np.testing.assert_allclose(made.velocities(times), difference, atol=2e-4)


@pytest.mark.parametrize("action", ACTIONS)
def test_motion_has_no_jerks_to_the_eye(action):
    """No joint is faster than a human's, none changes its velocity by much between frames at 240 Hz."""
    velocity = motion(action).velocities(TIMES)
    assert np.linalg.norm(velocity, axis=-1).max() < (12 if action == "run" else 8)
    assert np.linalg.norm(np.diff(velocity, axis=0), axis=-1).max() < 1.2


# --- the interface


def test_seeds_decide_everything():
    for action in ACTIONS:
        one, two = (generate(action, seed=4, duration_s=1.0) for _ in range(2))
        np.testing.assert_array_equal(one.positions, two.positions)
        other = generate(action, seed=5, duration_s=1.0)
        assert np.abs(other.positions - one.positions).max() > 0.05


def test_clip_is_labeled():
    clip = generate("box", seed=1, duration_s=1.5, fps=20.0, style="tired", height_m=1.5, speed=1.3)
    assert clip.captions == ("a short person boxes quickly and tiredly",)
    assert (clip.action, clip.fps, clip.num_frames, clip.skeleton) == ("box", 20.0, 30, CMU_31)
    assert clip.positions.dtype == np.float32


def test_data_set_has_people_of_different_build():
    clips = generate_dataset(0, num_subjects=3, clips_per_action=2, duration_s=1.0, fps=30.0)
    assert len(clips) == 3 * len(ACTIONS) * 2
    assert len({clip.name for clip in clips}) == len(clips)
    assert sorted({clip.subject for clip in clips}) == ["synthetic/00", "synthetic/01", "synthetic/02"]
    thigh = CMU_31.index("LeftUpLeg"), CMU_31.index("LeftLeg")
    lengths = {
        subject: {
            round(float(np.linalg.norm(np.subtract(*clip.positions[0, thigh, :]))), 5)
            for clip in clips
            if clip.subject == subject
        }
        for subject in ("synthetic/00", "synthetic/01", "synthetic/02")
    }
    assert all(len(found) == 1 for found in lengths.values())  # one body each
    assert len(set.union(*lengths.values())) == 3
    again = generate_dataset(0, num_subjects=3, clips_per_action=2, duration_s=1.0, fps=30.0)
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(clips, again, strict=True))
    assert not np.array_equal(generate_dataset(1, num_subjects=1, duration_s=1.0)[0].positions, clips[0].positions)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action": "fly"}, "no action 'fly'; there are walk, run"),
        ({"style": "odd"}, "no style 'odd'; there are neutral"),
        ({"speed": 3.0}, "speed is 3.0"),
        ({"height_m": 0.4}, "height_m is 0.4"),
        ({"fps": 10.0}, "fps is 10.0"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"duration_s": 0.0}, "duration_s is 0.0"),
        ({"duration_s": float("inf")}, "duration_s is inf"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(**{"action": "walk", "seed": 0, **arguments})


@pytest.mark.parametrize("height", [1.0, 2.3])
@pytest.mark.parametrize("speed", [0.5, 1.6])
@pytest.mark.parametrize("action", ACTIONS)
def test_the_whole_range_of_arguments_works(action, speed, height):
    for style in STYLES:
        for seed in range(2):
            clip = generate(action, seed=seed, style=style, speed=speed, height_m=height, subject_seed=seed, fps=20.0)
            assert np.isfinite(clip.positions).all()
