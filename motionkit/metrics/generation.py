"""New motion beside recorded motion: whether bones keep their lengths, how fast bodies move, how unlike draws are.

None of these numbers is better when higher or lower: those of recorded motion say what is right. Whether a draw shows
what was asked for is told by a classifier of recorded motion; of a model that draws one motion a class it has only good
to say, and the spread tells.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from motionkit.data.skeleton import Skeleton
from motionkit.metrics.position import mpjpe_mm

MOST_CLIPS = 500  # of a class whose pairs are measured: 125 thousand pairs tell a mean well enough


def sample_statistics(
    clips: Float[Tensor, "clips frames joints 3"],
    labels: Int[Tensor, "clips"],
    predicted: Int[Tensor, "clips"],
    skeleton: Skeleton,
    fps: float,
) -> dict[str, float]:
    """What can be said of clips (metres) that show, or are to show, known classes. All are means of the classes' means,
    so that rare ones count as much as others; NaN without clips.

    ``"recognized"``: share (0 to 1) of the clips whose class a classifier has ``predicted``. ``"spread [mm]"``:
    :func:`spread_mm`. ``"speed [m/s]"``: :func:`mean_speed`. ``"bones change [%]"``: :func:`bone_variation`.
    """
    labels, predicted = labels.to(clips.device), predicted.to(clips.device)
    each = {
        "recognized": (predicted == labels).double(),
        "speed [m/s]": mean_speed(clips, fps),
        "bones change [%]": bone_variation(clips, skeleton),
    }
    means = {
        name: [values[labels == label].mean().item() for label in labels.unique()] for name, values in each.items()
    }
    found = {name: sum(parts) / len(parts) if parts else math.nan for name, parts in means.items()}
    return {"recognized": found.pop("recognized"), "spread [mm]": spread_mm(clips, labels), **found}


def spread_mm(clips: Float[Tensor, "clips frames joints 3"], labels: Int[Tensor, "clips"]) -> float:
    """How unlike the clips of a class are: the mean distance of joints [mm] over all its pairs, frame by frame, on
    average over the classes that have two clips or more; NaN where none has.

    0 is a model that draws one motion a class. Known as average pairwise distance, there without classes. Of a class
    with more than ``MOST_CLIPS`` clips so many are taken, evenly spread.

    >>> clips = torch.tensor([0.0, 0.001, 0.003, 9.0]).view(4, 1, 1, 1).expand(-1, -1, -1, 3)
    >>> round(spread_mm(clips, torch.tensor([0, 0, 0, 1])), 3)  # sqrt(3) (1 + 3 + 2) / 3
    3.464
    """
    means = []
    for label in labels.unique():
        own = clips[labels.to(clips.device) == label]
        if len(own) > MOST_CLIPS:
            own = own[torch.linspace(0, len(own) - 1, MOST_CLIPS).round().long()]
        rows = [mpjpe_mm(own[:place], own[place].expand_as(own[:place])).mean(-1).sum() for place in range(len(own))]
        if len(own) > 1:
            means.append(torch.stack(rows).sum().item() / math.comb(len(own), 2))
    return sum(means) / len(means) if means else math.nan


def mean_speed(clips: Float[Tensor, "*batch frames joints 3"], fps: float) -> Float[Tensor, "*batch"]:
    """Speed of the joints [m/s of clips in metres], on average over joints and time.

    Raises ``ValueError`` for clips of one frame.

    >>> mean_speed(torch.tensor([0.0, 0.1, 0.1]).view(3, 1, 1).expand(3, 2, 3), fps=10)  # sqrt(3) m/s, then 0
    tensor(0.8660)
    """
    if clips.shape[-3] < 2:
        raise ValueError(f"a speed needs 2 frames or more, got {clips.shape[-3]} in {tuple(clips.shape)}")
    return fps * torch.linalg.vector_norm(clips.diff(dim=-3), dim=-1).mean((-2, -1))


def bone_variation(clips: Float[Tensor, "*batch frames joints 3"], skeleton: Skeleton) -> Float[Tensor, "*batch"]:
    """By how much bones change their lengths within a clip [%]: standard deviations over the frames, of all bones added
    up, in percent of their mean lengths. 0 for a body; recordings whose joints are midpoints of others have a little.

    A bone joins a joint to its parent: limbs that are drawn and no bones, such as from spine to knee, do not count.

    Raises ``ValueError`` for a skeleton without parents or of another number of joints.
    """
    if skeleton.parents is None or clips.shape[-2] != skeleton.num_joints:
        raise ValueError(f"skeleton {skeleton.name!r} has no bones for clips of shape {tuple(clips.shape)}")
    ends = [joint for joint, parent in enumerate(skeleton.parents) if parent >= 0]
    starts = [skeleton.parents[joint] for joint in ends]
    lengths = torch.linalg.vector_norm(clips[..., ends, :] - clips[..., starts, :], dim=-1)
    mean = lengths.mean(-2, keepdim=True)
    deviation = (lengths - mean).square().mean(-2).sqrt()
    return 100 * deviation.sum(-1) / mean.sum((-2, -1))
