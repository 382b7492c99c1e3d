"""Labels of windows, and the parts of a data set that questions about labels need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from motionkit.data.bandai_namco import style_of
from motionkit.data.catalogue import split_dataset
from motionkit.data.clip import MotionClip
from motionkit.data.windows import Windows, pick, split_by_subject


@dataclass(frozen=True)
class Parts:
    """Clips in four parts without overlap.

    train: to learn from.
    calibration, test: of what was held out from training, every other clip each: alike, so that a threshold that is set
        on the one can be judged on the other.
    unseen: all clips of the actions or styles that no other part has.
    """

    train: tuple[MotionClip, ...]
    calibration: tuple[MotionClip, ...]
    test: tuple[MotionClip, ...]
    unseen: tuple[MotionClip, ...]


def split_parts(
    name_or_folder: str | Path,
    clips: Sequence[MotionClip],
    *,
    unseen: Collection[str] = (),
    held_out: Collection[str] = (),
) -> Parts:
    """The parts of a data set.

    unseen: actions or styles (see ``style_of``) to keep from the other parts.
    held_out: subjects to keep from training; without any, those that the catalogue holds out, or what
        ``split_dataset`` takes where it names none.

    Raises ``ValueError`` for an action, style or subject that does not occur, and when a part would be empty that is
    asked for.
    """
    there = {label for clip in clips for label in (clip.action, style_of(clip)) if label}
    if alien := sorted(set(unseen) - there):
        raise ValueError(f"unseen {alien[0]!r} is no action or style of the clips: {', '.join(sorted(there)[:40])}")
    is_unseen = [not {clip.action, style_of(clip)}.isdisjoint(unseen) for clip in clips]
    usual = [clip for clip, chosen in zip(clips, is_unseen, strict=True) if not chosen]
    if not usual:
        raise ValueError(f"nothing is left to learn from without {', '.join(sorted(unseen))}")
    split = split_by_subject(usual, held_out=held_out) if held_out else split_dataset(name_or_folder, usual)
    train, rest = split[0], sorted(split[1], key=lambda clip: (clip.action, style_of(clip)))
    if len(rest) < 2:
        raise ValueError(f"{len(rest)} clips are held out; two parts need at least 2")
    unusual = [clip for clip, chosen in zip(clips, is_unseen, strict=True) if chosen]
    return Parts(tuple(train), tuple(rest[::2]), tuple(rest[1::2]), tuple(unusual))


def common_actions(windows: Windows, at_least: int = 1) -> tuple[str, ...]:
    """The actions of which there are so many windows or more, by name; those without a name do not count."""
    counts = Counter(windows.clip(window).action for window in range(len(windows)))
    return tuple(sorted(action for action, count in counts.items() if action and count >= at_least))


def action_labels(windows: Windows, classes: Sequence[str]) -> Int[Tensor, "windows"]:
    """Which of ``classes`` the action of each window is; -1 for none of them."""
    number = {action: index for index, action in enumerate(classes)}
    of_clip = torch.tensor([number.get(clip.action, -1) for clip in windows.clips])
    return of_clip[windows.clip_index]


def person_labels(windows: Windows) -> Int[Tensor, "windows"]:
    """Who moves in each window: which of the clips' subjects, in the order of their names; -1 where none is named."""
    names = sorted({clip.subject for clip in windows.clips if clip.subject})
    of_clip = torch.tensor([names.index(clip.subject) if clip.subject else -1 for clip in windows.clips])
    return of_clip[windows.clip_index]


def windows_of(windows: Windows, classes: Sequence[str]) -> Windows:
    """The windows whose action is one of ``classes``."""
    return pick(windows, (action_labels(windows, classes) >= 0).nonzero()[:, 0])
