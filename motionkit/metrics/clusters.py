"""How well classes keep apart in a space: by distances within and between them, and by whose neighbors are whose.

Both are of float64 distances, a part of the points at a time. Nothing here knows what the points are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

CHUNK = 2**22  # distances that are held at once


def silhouette(points: Float[Tensor, "points features"], labels: Int[Tensor, "points"]) -> float:
    """Mean silhouette of the points, in [-1, 1]: near 1 where classes are dense and far apart, 0 where they touch,
    negative where points lie nearer to another class than to their own.

    Of a point: (b - a) / max(a, b), with a the mean distance to the others of its class and b that to the nearest other
    class, on average over that class. 0 for the only point of a class, and where all distances are 0.

    Raises ``ValueError`` for fewer than 2 classes.
    Source: Rousseeuw 1987.

    >>> silhouette(torch.tensor([[0.0], [1.0], [5.0], [6.0]]), torch.tensor([0, 1, 0, 1]))  # -3/10 and -1/2, twice
    -0.4
    """
    which, counts = _classes(labels.to(points.device))
    if len(counts) < 2:
        raise ValueError(f"{len(counts)} classes among {len(labels)} points; a silhouette needs 2 or more")
    membership = F.one_hot(which, len(counts)).double()
    total = 0.0
    for at, distances in _distances(points):
        own, sums = which[at, None], distances @ membership
        within = sums.gather(1, own)[:, 0] / (counts[which[at]] - 1).clamp_min(1)
        between = (sums / counts).scatter(1, own, torch.inf).amin(1)
        largest = torch.maximum(within, between)
        is_defined = (counts[which[at]] > 1) & (largest > 0)
        total += torch.where(is_defined, (between - within) / largest, 0.0).sum().item()
    return total / len(points)


def knn_accuracy(
    points: Float[Tensor, "points features"],
    labels: Int[Tensor, "points"],
    k: int,
    groups: Int[Tensor, "points"] | None = None,
) -> float:
    """Share of the points (0 to 1) whose class is the commonest among their k nearest neighbors; where several are,
    that of the nearest neighbor among these counts.

    groups: which clip (or person) a point comes from. Points of a group resemble each other whatever their class, so
        none is a neighbor of another; without groups only the point itself is left out.
    Chance is the share of the commonest class, where all points are neighbors.

    Raises ``ValueError`` for a k below 1 or above the number of points outside the largest group.

    >>> points, labels = torch.tensor([[0.0], [1.0], [5.0], [6.0]]), torch.tensor([0, 0, 1, 1])
    >>> knn_accuracy(points, labels, k=1), knn_accuracy(points, labels, k=1, groups=labels)
    (1.0, 0.0)
    """
    which, counts = _classes(labels.to(points.device))
    groups = torch.arange(len(points), device=points.device) if groups is None else groups.to(points.device)
    if len(groups) != len(points):
        raise ValueError(f"{len(groups)} groups for {len(points)} points")
    others = len(points) - int(groups.unique(return_counts=True)[1].max()) if len(points) else 0
    if not 1 <= k <= others:
        raise ValueError(f"k is {k}; expected 1 to {others}, the number of points outside the largest group")
    right = 0
    for at, distances in _distances(points):
        distances = distances.masked_fill(groups[at, None] == groups, torch.inf)
        near = which[distances.topk(k, largest=False).indices]  # nearest first
        votes = F.one_hot(near, len(counts)).sum(1).gather(1, near)  # how many neighbors agree with each neighbor
        winner = near.gather(1, votes.argmax(1, keepdim=True))[:, 0]
        right += int((winner == which[at]).sum())
    return right / len(points)


def separation(
    points: Float[Tensor, "points features"],
    labels: Int[Tensor, "points"],
    groups: Int[Tensor, "points"],
    k: int = 5,
) -> dict[str, float]:
    """``"silhouette"``, ``"k nearest"`` (:func:`knn_accuracy` among points of other groups) and ``"commonest class"``,
    its share, which the second is to be compared with, of the points whose label is not -1. NaN for what so few points
    or classes do not have."""
    known = (labels >= 0).to(points.device)
    points, labels, groups = points[known], labels.to(points.device)[known], groups.to(points.device)[known]
    classes = labels.unique(return_counts=True)[1]
    others = len(labels) - int(groups.unique(return_counts=True)[1].max()) if len(labels) else 0
    return {
        "silhouette": silhouette(points, labels) if len(classes) > 1 else math.nan,
        f"{k} nearest": knn_accuracy(points, labels, k, groups) if others >= k else math.nan,
        "commonest class": classes.max().item() / len(labels) if len(labels) else math.nan,
    }


def _classes(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Index of each point's class, 0 and on, and how many points each class has."""
    _, which, counts = labels.unique(return_inverse=True, return_counts=True)
    return which, counts


def _distances(points: Tensor) -> Iterator[tuple[slice, Float[Tensor, "part points"]]]:
    """Which part of the points, and their distances to all. Exact: equal points are at distance 0."""
    points = points.double()
    step = max(1, CHUNK // max(1, len(points)))
    for start in range(0, len(points), step):
        at = slice(start, start + step)
        yield at, torch.cdist(points[at], points, compute_mode="donot_use_mm_for_euclid_dist")
