"""Synthetic motion: people who walk, run, jump, wave, box and clap, at any frame rate, with exact velocities.

The motion is a closed form of time, not a recording: sampled at another frame rate it passes through the same points,
and its velocity is the derivative of the form itself. Nothing is read from a file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch.autograd import forward_ad

from motionkit.data.actions import ACTIONS, STYLES, Manner
from motionkit.data.body import Body, highest_hips, pose_to_joints
from motionkit.data.clip import MotionClip
from motionkit.data.skeleton import CMU_31


@dataclass(frozen=True)
class SyntheticMotion:
    """One motion as a function of time, of the skeleton `CMU_31`; made by `synthesize`.

    ``hips_height``: metres, the pelvis' height where the action's own rise is 0.
    """

    action: str
    style: str
    body: Body
    manner: Manner
    hips_height: float

    def positions(self, times_s: Float[np.ndarray, "frames"]) -> Float[np.ndarray, "frames 31 3"]:
        """Joint positions at any instants (s), metres, float64."""
        return self._joints(torch.as_tensor(times_s, dtype=torch.float64)).numpy()

    def velocities(self, times_s: Float[np.ndarray, "frames"]) -> Float[np.ndarray, "frames 31 3"]:
        """Their exact derivatives in m/s, by forward-mode differentiation of the closed form."""
        times = torch.as_tensor(times_s, dtype=torch.float64)
        with forward_ad.dual_level():
            joints = self._joints(forward_ad.make_dual(times, torch.ones_like(times)))
            return forward_ad.unpack_dual(joints).tangent.numpy()

    def clip(self, duration_s: float, fps: float, **labels: object) -> MotionClip:
        """Sampled at 0, 1/fps, 2/fps, ... before ``duration_s``; at least one frame. ``labels``: fields of the clip."""
        if not 20 <= fps <= 250:
            raise ValueError(f"fps is {fps}; the generator samples at 20 to 250 Hz")
        if not (math.isfinite(duration_s) and duration_s > 0):
            raise ValueError(f"duration_s is {duration_s}; expected a positive number of seconds")
        # The allowance keeps a frame count from dropping by one when the product rounds down.
        times = np.arange(max(1, math.floor(duration_s * fps + 1e-6))) / fps
        fields = {"action": self.action, "captions": (caption(self),), "source": "synthetic", **labels}
        return MotionClip(self.positions(times).astype(np.float32), float(fps), CMU_31, **fields)

    def _joints(self, times: torch.Tensor) -> torch.Tensor:
        pose = ACTIONS[self.action](times, self.body, self.manner)
        return pose_to_joints(self.body, pose, self.hips_height)


def synthesize(
    action: str,
    *,
    seed: int,
    speed: float = 1.0,
    style: str = "neutral",
    height_m: float = 1.7,
    subject_seed: int = 0,
) -> SyntheticMotion:
    """One motion. The seed draws its start, direction, leading side and small differences of manner.

    action: one of `ACTIONS`; style: one of `STYLES`; speed: pace, 0.5 to 1.6 of the usual, before the style's own
    factor; subject_seed: varies the proportions of the body.

    Raises ``ValueError`` naming the argument, its value and what is allowed.
    """
    if action not in ACTIONS:
        raise ValueError(f"there is no action {action!r}; there are {', '.join(ACTIONS)}")
    if style not in STYLES:
        raise ValueError(f"there is no style {style!r}; there are {', '.join(STYLES)}")
    if not 0.5 <= speed <= 1.6:
        raise ValueError(f"speed is {speed}; expected 0.5 to 1.6")
    body = Body.of(height_m, subject_seed)
    draw = np.random.default_rng([seed, 0])
    manner = STYLES[style]
    manner = replace(
        manner,
        speed=manner.speed * speed,
        swing=manner.swing * draw.uniform(0.88, 1.12),
        bounce=manner.bounce * draw.uniform(0.9, 1.1),
        lift=manner.lift * draw.uniform(0.9, 1.1),
        bend=manner.bend + draw.uniform(-0.06, 0.06),
        lean=manner.lean + draw.uniform(-0.02, 0.02),
        bow=manner.bow + draw.uniform(-0.05, 0.05),
        heading=draw.uniform(-math.pi, math.pi),
        curvature=draw.uniform(-0.12, 0.12),
        phase=draw.uniform(0, 1),
        side=draw.choice([-1.0, 1.0]),
    )
    # Twelve seconds hold every cycle of every action, so that this depends neither on duration nor on frame rate.
    sampled = ACTIONS[action](torch.arange(0, 12, 1 / 120, dtype=torch.float64), body, manner)
    return SyntheticMotion(action, style, body, manner, highest_hips(body, sampled))


def generate(
    action: str,
    *,
    seed: int,
    duration_s: float = 4.0,
    fps: float = 60.0,
    speed: float = 1.0,
    style: str = "neutral",
    height_m: float = 1.7,
    subject_seed: int = 0,
) -> MotionClip:
    """One clip of `synthesize`; the arguments determine it completely, and ``fps`` (20 to 250) only its sampling.

    >>> clip = generate("walk", seed=3, duration_s=2.0, fps=50.0, height_m=1.9, speed=0.8)
    >>> clip.positions.shape, clip.captions
    ((100, 31, 3), ('a tall person walks slowly',))
    """
    motion = synthesize(action, seed=seed, speed=speed, style=style, height_m=height_m, subject_seed=subject_seed)
    return motion.clip(duration_s, fps, name=f"synthetic/{action}_{style}_{seed}")


def generate_dataset(
    seed: int,
    *,
    num_subjects: int = 10,
    clips_per_action: int = 2,
    duration_s: float = 4.0,
    fps: float = 60.0,
    actions: tuple[str, ...] = tuple(ACTIONS),
) -> list[MotionClip]:
    """``num_subjects`` people of different build who each do every action ``clips_per_action`` times.

    Subjects are named ``synthetic/00`` on. Their heights are spread evenly over 1.5 to 1.95 m; style and speed (0.75 to
    1.3) are drawn for each clip.
    """
    if num_subjects < 1 or clips_per_action < 1:
        raise ValueError(f"num_subjects is {num_subjects}, clips_per_action {clips_per_action}; both must be 1 or more")
    draw = np.random.default_rng([seed, 2])
    heights = draw.permutation(np.linspace(1.5, 1.95, num_subjects) if num_subjects > 1 else np.array([1.7]))
    clips = []
    for subject, height in enumerate(heights):
        for action in actions:
            for take in range(clips_per_action):
                style = str(draw.choice(list(STYLES)))
                motion = synthesize(
                    action,
                    seed=int(draw.integers(2**31)),
                    speed=float(draw.uniform(0.75, 1.3)),
                    style=style,
                    height_m=float(height),
                    subject_seed=1 + subject,
                )
                name = f"synthetic/{subject:02d}_{action}_{take:02d}"
                clips.append(motion.clip(duration_s, fps, name=name, subject=f"synthetic/{subject:02d}"))
    return clips


_VERBS = {
    "walk": "walks",
    "run": "runs",
    "jump": "jumps forward",
    "wave": "waves with one hand",
    "box": "boxes",
    "clap": "claps",
}
_ADVERBS = {"neutral": "", "energetic": " energetically", "tired": " tiredly", "sneaky": " stealthily"}


def caption(motion: SyntheticMotion) -> str:
    """One English sentence of build, action, pace and style, such as "a tall person walks slowly"."""
    build = "short " if motion.body.height < 1.6 else "tall " if motion.body.height > 1.85 else ""
    pace = motion.manner.speed / STYLES[motion.style].speed
    pace_word = " slowly" if pace < 0.87 else " quickly" if pace > 1.15 else ""
    joined = " and".join(word for word in (pace_word, _ADVERBS[motion.style]) if word)
    return f"a {build}person {_VERBS[motion.action]}{joined}"
