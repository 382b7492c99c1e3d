"""Classes in a plane: each point where it was given, each class told apart and named."""

import numpy as np
import pytest
import torch
from matplotlib.colors import same_color, to_hex
from matplotlib.figure import Figure

from motionkit.plotting.embedding import MOST_CLASSES, embedding, embeddings


@pytest.fixture
def axes():
    return Figure(figsize=(6, 4), layout="constrained").subplots()


def test_classes_are_drawn_and_named_at_their_centers(axes):
    points = torch.tensor([[0.0, 0.0], [9.0, 5.0], [1.0, 3.0], [2.0, 0.0], [9.0, 7.0]])
    sit, walk = 0, 1
    drawn = embedding(axes, points, ["walk", "sit", "walk", "walk", "sit"], name="UMAP")
    assert [artist.get_label() for artist in drawn] == ["sit", "walk"]
    np.testing.assert_allclose(drawn[walk].get_offsets(), points[[0, 2, 3]])
    assert {text.get_text(): list(text.xy) for text in axes.texts} == {"sit": [9, 6], "walk": [1, 0]}
    np.testing.assert_allclose(drawn[sit].get_offsets(), points[[1, 4]])
    assert not same_color(drawn[0].get_facecolor()[0], drawn[1].get_facecolor()[0])
    assert axes.get_xlabel() == "UMAP, first axis"
    assert len(axes.get_xticks()) == 0


def test_every_class_looks_its_own_way_and_names_do_not_overlap(axes):
    points = np.random.default_rng(0).normal(size=(10 * MOST_CLASSES, 2))
    drawn = embedding(axes, points, np.arange(len(points)) % MOST_CLASSES)
    looks = {(to_hex(one.get_facecolor()[0]), one.get_paths()[0].vertices.tobytes()) for one in drawn}
    assert len(looks) == MOST_CLASSES
    axes.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for number, a in enumerate(boxes) for b in boxes[:number])


def test_a_row_a_representation_and_a_column_a_projection():
    figure, planes = Figure(layout="constrained"), np.random.default_rng(0).normal(size=(4, 9, 2))
    points = {"z0": {"PCA": planes[0], "UMAP": planes[1]}, "pose": {"UMAP": planes[2], "PCA": planes[3]}}
    drawn = embeddings(figure, points, ["walk", "sit", "run"] * 3)
    assert list(drawn) == [("z0", "PCA"), ("z0", "UMAP"), ("pose", "PCA"), ("pose", "UMAP")]
    assert [axes.get_title() for axes in figure.axes] == ["z0", "z0", "pose", "pose"]
    assert figure.axes[3].get_xlabel() == "UMAP, first axis"
    np.testing.assert_allclose(drawn["pose", "UMAP"][1].get_offsets(), planes[2][1::3])  # run, sit, walk


def test_planes_that_cannot_be_drawn_are_refused(axes):
    with pytest.raises(ValueError, match="13 classes; at most 12 can be told apart"):
        embedding(axes, np.zeros((13, 2)), range(13))
    with pytest.raises(ValueError, match=r"points have shape \(3, 3\) and labels \(3,\)"):
        embedding(axes, np.zeros((3, 3)), list("abc"))
    with pytest.raises(ValueError, match=r"points have shape \(3, 2\) and labels \(2,\)"):
        embedding(axes, np.zeros((3, 2)), ["a", "b"])
