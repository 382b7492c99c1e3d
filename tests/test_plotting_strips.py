"""Rows of poses: what is drawn is what was given, in one measure, without overlap."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from motionkit.data.skeleton import Skeleton
from motionkit.plotting import colors
from motionkit.plotting.strips import pose_rows

SMALL = Skeleton("small", ("root", "left", "right", "head"), (-1, 0, 0, 0), ((0, 1), (0, 2), (0, 3)), ((1, 2),))
MOTION = np.linspace(0, 1, 9 * 4 * 3).reshape(9, 4, 3) + np.eye(4, 3)


def test_a_row_a_motion_with_its_name_and_the_colors_of_the_sides():
    figure = Figure(figsize=(6, 4), layout="constrained")
    bodies = pose_rows(figure, {"walk": MOTION, "run": torch.from_numpy(2 * MOTION)}, SMALL, num_poses=5, fps=25)
    assert [(title, len(row)) for title, row in bodies.items()] == [("walk", 5), ("run", 5)]
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["walk", "run"]
    shown = [to_hex(color).upper() for color in bodies["walk"][0].get_colors()]
    assert shown == [colors.SIDES["left"], colors.SIDES["right"], colors.SIDES["center"]]
    figure.draw_without_rendering()
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == ["0.00", "0.08", "0.16", "0.24", "0.32"]
    pose_rows(other := Figure(), {"x": MOTION}, SMALL, num_poses=20)
    assert [label.get_text() for label in other.axes[0].get_xticklabels()] == [str(frame) for frame in range(9)]
    assert other.axes[0].get_xlabel() == "frame"


def test_poses_keep_their_shape_do_not_overlap_and_are_not_cut_off():
    wide = MOTION.copy()
    wide[3, 1, 0] += 2.0
    figure = Figure(layout="constrained")
    bodies = pose_rows(figure, {"small": MOTION, "wide": wide}, SMALL, num_poses=9, azimuth_deg=0)
    for row, motion in (("small", MOTION), ("wide", wide)):
        segments = np.array([body.get_segments() for body in bodies[row]])  # poses, limbs, ends, axes
        expected = motion[:, [1, 2, 3], :2] - motion[:, :1, :2]
        np.testing.assert_allclose(segments[:, :, 1] - segments[:, :, 0], expected)
        np.testing.assert_allclose(segments[:, 0, 0, 1], motion[:, 0, 1])  # heights are as they were
        spans = [(part[..., 0].min(), part[..., 0].max()) for part in segments]
        assert all(left[1] < right[0] for left, right in pairwise(spans))
        (left, right), (bottom, top) = figure.axes[0].get_xlim(), figure.axes[0].get_ylim()
        assert left < spans[0][0] < spans[-1][1] < right
        assert bottom < segments[..., 1].min() < segments[..., 1].max() < top


def test_a_wider_figure_shows_more_poses_and_they_fill_it():
    long = np.repeat(MOTION, 20, axis=0)
    counts = []
    for width in (4, 8, 16):
        figure = Figure(figsize=(width, 4), layout="constrained")
        counts.append(len(pose_rows(figure, {"a motion": long, "b": long}, SMALL)["a motion"]))
        figure.draw_without_rendering()
        assert figure.axes[0].get_window_extent().width > 0.7 * figure.bbox.width
        assert (title := figure.axes[0].texts[0].get_window_extent()).x0 > 0
        first = figure.axes[0].collections[0].get_window_extent()
        assert title.x1 < first.x0
    assert 2 <= counts[0] < counts[1] < counts[2]
    assert len(pose_rows(Figure(figsize=(1, 4)), {"a": long}, SMALL)["a"]) == 2


def test_motions_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="there are no motions"):
        pose_rows(Figure(), {}, SMALL)
    for other, shape in ((MOTION[1:], r"\(8, 4, 3\)"), (MOTION[:, 1:], r"\(9, 3, 3\)")):
        with pytest.raises(ValueError, match=rf"motion 'b' has shape {shape}; expected \(9, 4, 3\)"):
            pose_rows(Figure(), {"a": MOTION, "b": other}, SMALL)
