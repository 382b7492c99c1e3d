"""How well classes keep apart: values by hand, slow twins, and scikit-learn where it is installed."""

import math

import pytest
import torch

from motionkit.metrics import clusters
from motionkit.metrics.clusters import knn_accuracy, separation, silhouette

LINE = torch.tensor([[0.0], [1.0], [3.0], [4.0], [9.0]])


def case(count=60, num_classes=4, spread=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_classes, (count,), generator=generator)
    centers = torch.randn(num_classes, 3, generator=generator)
    return centers[labels] + spread * torch.randn(count, 3, generator=generator), 10 * labels - 7


def slow_silhouette(points, labels):
    points, labels, total = points.double().tolist(), labels.tolist(), 0.0
    for i, own in enumerate(labels):
        far = {kind: [math.dist(points[i], points[j]) for j in range(len(points)) if j != i and labels[j] == kind]
               for kind in set(labels)}  # fmt: skip
        if far[own]:
            a = sum(far[own]) / len(far[own])
            b = min(sum(part) / len(part) for kind, part in far.items() if kind != own)
            total += (b - a) / max(a, b)
    return total / len(points)


def slow_knn(points, labels, k, groups):
    points, labels, groups, right = points.double().tolist(), labels.tolist(), groups.tolist(), 0
    for i, own in enumerate(labels):
        others = [j for j in range(len(points)) if groups[j] != groups[i]]
        near = [labels[j] for j in sorted(others, key=lambda j: math.dist(points[i], points[j]))[:k]]
        right += max(near, key=near.count) == own  # the first of the largest
    return right / len(points)


def test_silhouette_by_hand():
    # 0: a = 1, b = 3.5; 1: a = 1, b = 2.5; 3: a = 1, b = 2.5; 4: a = 1, b = 3.5
    two = silhouette(LINE[:4], torch.tensor([0, 0, 1, 1]))
    assert two == pytest.approx((5 / 7 + 3 / 5 + 3 / 5 + 5 / 7) / 4)
    # halves that are swapped: a = 3, b = 2.5; a = 3, b = 1.5
    mixed = silhouette(LINE[:4], torch.tensor([0, 1, 0, 1]))
    assert mixed == pytest.approx((-0.5 / 3 - 1.5 / 3 - 1.5 / 3 - 0.5 / 3) / 4)
    # the point alone counts 0, and the nearest other class is what counts
    alone = silhouette(LINE, torch.tensor([0, 0, 1, 1, 2]))
    assert alone == pytest.approx((5 / 7 + 3 / 5 + 3 / 5 + 5 / 7) / 5)


def test_silhouette_at_the_limits():
    far = torch.cat([torch.zeros(5, 2), torch.full((5, 2), 1e6)])
    assert silhouette(far, torch.arange(10) // 5) == 1
    assert silhouette(torch.ones(6, 2), torch.arange(6) % 2) == 0  # all in one place
    assert silhouette(LINE, torch.arange(5)) == 0  # every point alone


@pytest.mark.parametrize("seed", range(3))
def test_fast_and_slow_agree(seed, monkeypatch):
    points, labels = case(seed=seed)
    groups = torch.arange(len(points)) // 5
    expected = slow_silhouette(points, labels), slow_knn(points, labels, 4, groups)
    assert (silhouette(points, labels), knn_accuracy(points, labels, 4, groups)) == pytest.approx(expected)
    assert knn_accuracy(points, labels, 1) == slow_knn(points, labels, 1, torch.arange(len(points)))
    monkeypatch.setattr(clusters, "CHUNK", 7 * len(points))  # seven points at a time
    assert (silhouette(points, labels), knn_accuracy(points, labels, 4, groups)) == pytest.approx(expected)


@pytest.mark.parametrize("measure", [silhouette, lambda points, labels: knn_accuracy(points, labels, 5)])
def test_place_scale_turn_and_order_do_not_matter(measure):
    points, labels = case()
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0]
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(2))
    assert measure((3 * points @ turn + 5)[order], labels[order]) == pytest.approx(measure(points, labels), abs=1e-5)


def test_neighbors_by_hand():
    labels = torch.tensor([0, 0, 1, 1, 1])
    assert knn_accuracy(LINE, labels, 1) == 1
    # of two, a tie is won by the nearer one: that is right for 0, 1, 3 and 4, and 9 has two of its own class
    assert knn_accuracy(LINE, labels, 2) == 1
    # of three, two are enough: 0 and 1 see two of the other class, 3 and 4 see 0 and 1 and lose as well
    assert knn_accuracy(LINE, labels, 3) == pytest.approx(1 / 5)
    # of all four, 0 and 1 are outvoted, and the others see two of each class, their own nearest
    assert knn_accuracy(LINE, labels, 4) == pytest.approx(3 / 5)


def test_neighbors_of_the_own_group_do_not_count():
    """Clips of one class each, apart from one another: whoever may look into the own clip is always right."""
    centers = torch.arange(6.0).repeat_interleave(10)[:, None]
    points = centers + 0.01 * torch.randn(60, 1, generator=torch.Generator().manual_seed(0))
    clip = centers[:, 0].long()
    assert knn_accuracy(points, clip % 2, 3) == 1
    assert knn_accuracy(points, clip % 2, 3, groups=clip) < 0.2  # the clips beside it are of the other class


def test_chance_is_the_share_of_the_commonest_class():
    labels = torch.tensor([0] * 30 + [1] * 11)
    points = torch.randn(41, 2, generator=torch.Generator().manual_seed(0))
    assert knn_accuracy(points, labels, 40) == pytest.approx(30 / 41)


def test_scikit_learn_agrees():
    measures, neighbors = pytest.importorskip("sklearn.metrics"), pytest.importorskip("sklearn.neighbors")
    points, labels = case(100)
    x, y = points.double().numpy(), labels.numpy()
    assert silhouette(points, labels) == pytest.approx(measures.silhouette_score(x, y))
    # without points to ask about, none is a neighbor of itself
    nearest = neighbors.NearestNeighbors(n_neighbors=1).fit(x).kneighbors(return_distance=False)[:, 0]
    assert knn_accuracy(points, labels, 1) == pytest.approx((y[nearest] == y).mean())


def test_separation_is_of_the_points_with_a_label_and_tells_what_it_cannot():
    points, labels = case()
    groups, labels = torch.arange(60) // 4, (labels + 7) // 10
    labels[::3] = -1
    found, known = separation(points, labels, groups, k=3), labels >= 0
    assert list(found) == ["silhouette", "3 nearest", "commonest class"]
    assert found["silhouette"] == silhouette(points[known], labels[known])
    assert found["3 nearest"] == knn_accuracy(points[known], labels[known], 3, groups[known])
    assert found["commonest class"] == labels[known].unique(return_counts=True)[1].max().item() / 40
    one = separation(points[:4], torch.ones(4, dtype=torch.int64), groups[:4], k=1)
    assert [math.isnan(value) for value in one.values()] == [True, True, False]
    assert all(math.isnan(value) for value in separation(points, labels.clamp(max=-1), groups).values())


def test_impossible_requests_are_refused():
    labels = torch.tensor([0, 0, 1, 1, 1])
    with pytest.raises(ValueError, match="1 classes among 5 points; a silhouette needs 2 or more"):
        silhouette(LINE, labels * 0)
    for k in (0, 5):
        with pytest.raises(ValueError, match=f"k is {k}; expected 1 to 4, the number of points outside"):
            knn_accuracy(LINE, labels, k)
    with pytest.raises(ValueError, match="k is 3; expected 1 to 2"):
        knn_accuracy(LINE, labels, 3, groups=labels)


def test_groups_that_do_not_fit_are_refused(unchecked):
    with pytest.raises(ValueError, match="4 groups for 5 points"):
        knn_accuracy(LINE, torch.tensor([0, 0, 1, 1, 1]), 1, groups=torch.arange(4))
