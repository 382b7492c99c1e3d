"""Which numbers of clips are seen: three patterns in which recordings lose them, at any share.

Each gives a mask (clips, frames, joints, 3), true where seen, with a pattern of its own for every clip.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool
from torch import Tensor

SPAN_FRAMES = 25  # for which a joint is lost at a time: a second, in data of paper 4


def lose_numbers(shape: torch.Size | tuple[int, ...], share: float, generator: torch.Generator) -> Tensor:
    """Coordinates of joints here and there, ``round(share numbers)`` of each clip. Source: paper 4, section 5.3."""
    clips, *rest = _checked(shape, share)
    order = torch.rand(clips, math.prod(rest), generator=generator, device=generator.device).argsort(1)
    return (order >= round(share * order.shape[1])).view(shape)


def lose_joints(shape: torch.Size | tuple[int, ...], share: float, generator: torch.Generator) -> Tensor:
    """Whole joints for ``SPAN_FRAMES`` at a stretch, or longer where so many joints would not make up the share; in
    clips that are shorter, throughout."""
    clips, frames, joints, _ = _checked(shape, share)
    span = min(frames, max(SPAN_FRAMES, math.ceil(share * frames)))
    count = round(share * frames * joints / span)
    device = generator.device
    is_hit = torch.rand(clips, joints, generator=generator, device=device).argsort(1).argsort(1) < count
    first = torch.randint(frames - span + 1, (clips, joints), generator=generator, device=device)
    frame = torch.arange(frames, device=device)[None, :, None]
    is_lost = is_hit[:, None] & (frame >= first[:, None]) & (frame < first[:, None] + span)
    return ~is_lost[..., None].expand(shape)


def lose_frames(shape: torch.Size | tuple[int, ...], share: float, generator: torch.Generator) -> Tensor:
    """All joints in ``round(share frames)`` frames on end."""
    clips, frames, *_ = _checked(shape, share)
    span = round(share * frames)
    first = torch.randint(frames - span + 1, (clips, 1), generator=generator, device=generator.device)
    frame = torch.arange(frames, device=generator.device)
    return ~((frame >= first) & (frame < first + span))[:, :, None, None].expand(shape)


PATTERNS: dict[str, Callable[[torch.Size, float, torch.Generator], Bool[Tensor, "clips frames joints 3"]]] = {
    "numbers": lose_numbers,
    "joints": lose_joints,
    "frames": lose_frames,
}


def lose_any(shape: torch.Size | tuple[int, ...], most: float, generator: torch.Generator) -> Tensor:
    """Each clip by a pattern drawn at random, its share drawn between 0 and ``most``: for training."""
    _checked(shape, most)
    names = list(PATTERNS)
    device = generator.device
    drawn = torch.randint(len(names), (shape[0],), generator=generator, device=device).tolist()
    shares = (most * torch.rand(shape[0], generator=generator, device=device)).tolist()
    each = zip(drawn, shares, strict=True)
    return torch.cat([PATTERNS[names[which]]((1, *shape[1:]), share, generator) for which, share in each])


def without_unobserved(
    is_seen: Bool[Tensor, "clips frames joints 3"], is_observed: Bool[Tensor, "joints"]
) -> Bool[Tensor, "clips frames joints 3"]:
    """The masks with joints that recordings do not show lost too, in clips of which anything is lost: they stand
    between others, and where one of those is lost they would give it away."""
    return is_seen & (is_observed[:, None] | is_seen.flatten(1).all(1)[:, None, None, None])


def _checked(shape: torch.Size | tuple[int, ...], share: float) -> tuple[int, ...]:
    if len(shape) != 4:
        raise ValueError(f"shape is {tuple(shape)}; expected (clips, frames, joints, 3)")
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; expected a number from 0 to 1")
    return tuple(shape)
