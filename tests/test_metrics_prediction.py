"""Errors of predictors whose context had gaps: values by hand, one mask for all, and what a whole context costs."""

import math

import pytest
import torch

from motionkit.data.masks import PATTERNS, lose_joints, lose_numbers
from motionkit.metrics.prediction import HORIZONS_MS, LOST, frames_at, prediction_cells, prediction_curves
from motionkit.models.fillers import plain_fillers
from motionkit.models.predictors.zero_velocity import zero_velocity

CONTEXT, HORIZON = 30, 10
# joints that move on a line by 1 mm a frame, sqrt(3) mm in all
FRAMES = torch.arange(40, dtype=torch.float64).view(1, 40, 1, 1)
CLIPS = FRAMES / 1000 + torch.linspace(-1, 1, 60, dtype=torch.float64).view(5, 1, 4, 3).sin()
STILL = {"zero velocity": lambda context: zero_velocity(context, HORIZON)}
FILLERS = plain_fillers(CLIPS[:, :CONTEXT].mean(0))


def value(table, **settings):
    for name, setting in settings.items():
        table = table[table[name] == setting]
    (found,) = table["value"]
    return found


def test_errors_of_standing_still_by_hand():
    table = prediction_curves(STILL, FILLERS, CLIPS, CONTEXT, (0.0,), at_frames={"first": 1, "last": HORIZON})
    assert list(table.columns) == ["predictor", "method", "pattern", "share", "seed", "metric", "value"]
    assert len(table) == len(FILLERS) * len(LOST) * 3
    for method in FILLERS:  # nothing is missing
        found = {metric: value(table, method=method, pattern="joints", metric=metric) for metric in ("MPJPE", "first")}
        assert found == pytest.approx({"MPJPE": math.sqrt(3) * 5.5, "first": math.sqrt(3)})
    assert value(table, method="mean", pattern="numbers", metric="last") == pytest.approx(10 * math.sqrt(3))


def test_gaps_cost_what_the_filler_leaves_wrong():
    table = prediction_curves(STILL, FILLERS, CLIPS, CONTEXT, (0.0, 0.4), seeds=(0, 1))
    whole = value(table, method="mean", pattern="numbers", share=0, seed=0)
    for seed in (0, 1):
        for pattern, lose in LOST.items():
            is_seen = lose((5, CONTEXT, 4, 3), 0.4, torch.Generator().manual_seed(seed))
            for method, fill in FILLERS.items():
                last = fill(CLIPS[:, :CONTEXT], is_seen)[:, -1:]
                expected = 1000 * (last - CLIPS[:, CONTEXT:]).norm(dim=-1).mean().item()
                found = value(table, method=method, pattern=pattern, share=0.4, seed=seed)
                assert found == pytest.approx(expected)
                assert found > whole
    # a straight line is bridged without error, but where its end is missing
    assert value(table, method="interpolation", pattern="numbers", share=0.4, seed=0) < 1.2 * whole


def test_cells_have_a_value_a_seed_and_whole_contexts_once():
    two = STILL | {"shorter": lambda context: zero_velocity(context, 4)}
    table = prediction_curves(two, FILLERS, CLIPS, CONTEXT, (0.0, 0.4), seeds=(0, 1), at_frames={"first": 1})
    cells = prediction_cells(table)
    found = {(name, what): list(values) for name, what, values in cells}
    assert len(found) == len(cells) == 2 * 2 * (1 + len(LOST) * len(FILLERS))
    assert found["zero velocity", "whole context: MPJPE"] == pytest.approx([math.sqrt(3) * 5.5])
    assert found["shorter", "whole context: MPJPE"] == pytest.approx([math.sqrt(3) * 2.5])
    setting = {"method": "mean", "pattern": "joints", "share": 0.4, "metric": "MPJPE"}
    for name in two:
        by_seed = [value(table, predictor=name, seed=seed, **setting) for seed in (0, 1)]
        assert by_seed[0] != by_seed[1]
        assert found[name, "joints 0.4, mean: MPJPE"] == by_seed


def test_joints_that_no_recording_shows_are_lost_too_and_do_not_count():
    is_observed, shown = torch.tensor([True, False, True, True]), []

    def fill(clips, is_seen):
        shown.append(is_seen)
        return torch.where(is_seen, clips, CLIPS[:, :CONTEXT])

    def predict(context):
        return zero_velocity(context, HORIZON) + 9 * torch.tensor([0.0, 1, 0, 0], dtype=torch.float64)[:, None]

    table = prediction_curves({"off": predict}, {"truth": fill}, CLIPS, CONTEXT, (0.0, 0.4), is_observed=is_observed)
    assert table["value"].tolist() == pytest.approx([math.sqrt(3) * 5.5] * 4)
    assert not any(is_seen[:, :, 1].any() for is_seen in shown)
    assert all(is_seen[:, :, is_observed].any() for is_seen in shown)


def test_all_fillers_get_the_same_gaps_and_a_whole_context_is_looked_at_once():
    seen, calls = [], []

    def fill(clips, is_seen):
        seen.append(is_seen)
        return torch.where(is_seen, clips, 0.0)

    def predict(context):
        calls.append(context)
        return zero_velocity(context, HORIZON)

    prediction_curves({"still": predict}, {"a": fill, "b": fill}, CLIPS, CONTEXT, (0.0, 0.3), seeds=(0, 1))
    assert len(seen) == 2 * len(LOST) * 2  # two shares, of which one is none
    assert len(calls) == len(seen) + 1
    assert torch.equal(calls[0], CLIPS[:, :CONTEXT])
    assert all(torch.equal(a, b) for a, b in zip(seen[::2], seen[1::2], strict=True))
    assert not torch.equal(seen[0], seen[2])


def test_fillers_may_need_gradients_and_predictors_get_none():
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)

    def fill(clips, is_seen):
        (slope,) = torch.autograd.grad(weight.square(), weight)  # 2
        return torch.where(is_seen, clips, slope)

    def predict(context):
        assert not torch.is_grad_enabled()
        return weight * zero_velocity(context, HORIZON)

    assert len(prediction_curves({"x": predict}, {"a": fill}, CLIPS, CONTEXT, (0.5,))) == len(LOST)


def test_patterns_are_those_of_the_masks():
    assert {"numbers": lose_numbers, "joints": lose_joints} == LOST
    table = prediction_curves(STILL, FILLERS, CLIPS, CONTEXT, (0.2,), patterns={"frames": PATTERNS["frames"]})
    assert set(table["pattern"]) == {"frames"}


def test_predictions_may_be_shorter_or_longer_than_the_truth():
    short, long = ({"x": lambda context, n=n: zero_velocity(context, n)} for n in (4, 99))
    found = [prediction_curves(p, FILLERS, CLIPS, CONTEXT, (0.0,))["value"][0] for p in (short, STILL, long)]
    assert found == pytest.approx([math.sqrt(3) * 2.5, math.sqrt(3) * 5.5, math.sqrt(3) * 5.5])
    with pytest.raises(ValueError, match="predictor 'x' gives 4 frames; 'late' is 5"):
        prediction_curves(short, FILLERS, CLIPS, CONTEXT, (0.0,), at_frames={"soon": 4, "late": 5})
    with pytest.raises(ValueError, match="clips have 40 frames; a context of 40 leaves none to predict"):
        prediction_curves(STILL, FILLERS, CLIPS, 40, (0.0,))


def test_times_are_those_of_frames():
    assert frames_at(HORIZONS_MS, fps=25.0, horizon=25) == {
        "80 ms": 2, "160 ms": 4, "320 ms": 8, "400 ms": 10, "1000 ms": 25,
    }  # fmt: skip
    assert frames_at((100 / 3,), fps=30.0, horizon=3) == {"33.3333 ms": 1}
    with pytest.raises(ValueError, match=r"at 30 fps no frame of 30 is at 80 ms; near it are 66\.6667 ms and 100 ms"):
        frames_at((80,), fps=30.0, horizon=30)
    with pytest.raises(ValueError, match="at 25 fps no frame of 10 is at 1000 ms; the last one is at 400 ms"):
        frames_at((1000,), fps=25.0, horizon=10)
    with pytest.raises(ValueError, match="at 25 fps no frame of 10 is at 0 ms; near it are 40 ms"):
        frames_at((0,), fps=25.0, horizon=10)
