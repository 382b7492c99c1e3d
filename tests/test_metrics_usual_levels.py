"""Levels in their own deviations: what moves a quiet one is seen beside a loud one, and thresholds keep their word."""

import pytest
import torch

from motionkit.metrics.detection import auc
from motionkit.metrics.usual_levels import BALANCED, UsualLevels, with_balanced

LOUDNESS = torch.tensor([[1000.0], [0.1], [5.0]])


def drawn(count, seed):
    return LOUDNESS * torch.randn(3, count, generator=torch.Generator().manual_seed(seed)) - 700


def test_totals_are_sums_of_deviations():
    levels = torch.tensor([[1.0, 3.0, 5.0], [-100.0, 0.0, 100.0]])
    usual = UsualLevels.of(levels, 0.3)
    assert usual.mean.tolist() == [3, 0]
    assert usual.deviation.tolist() == [2, 100]
    assert usual.total(levels).tolist() == [-2, 0, 2]
    assert usual.total(torch.tensor([[7.0], [-50.0]])).tolist() == [1.5]
    # one of three may be as far off, and a new clip that is exactly so is not
    assert usual.is_unusual(torch.tensor([[1.0, 0.9], [-100.0, -100.0]])).tolist() == [False, True]


def test_what_lowers_a_quiet_level_is_found_where_the_sum_is_blind():
    usual, odd = drawn(200, 0), drawn(200, 1)
    odd[1] -= 1
    totals = UsualLevels.of(drawn(200, 2), 0.1)
    assert auc(-usual.sum(0), -odd.sum(0)) < 0.6
    assert auc(-totals.total(usual), -totals.total(odd)) > 0.99
    assert totals.is_unusual(odd).double().mean() > 0.95


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_of_new_usual_clips_as_many_are_flagged_as_promised(rate):
    flagged = [UsualLevels.of(drawn(100, seed), rate).is_unusual(drawn(200, 1000 + seed)) for seed in range(40)]
    assert torch.cat(flagged).double().mean().item() == pytest.approx(rate, abs=0.02)


@pytest.mark.parametrize("noise", [0, 1e-4])
def test_levels_that_do_not_vary_but_by_rounding_do_not_count(noise):
    levels = drawn(50, 0)
    levels[2] = -700 * (noise > 0) + noise * levels[2] / 1000
    both = UsualLevels.of(levels, 0.1), UsualLevels.of(levels[:2], 0.1)
    torch.testing.assert_close(both[0].total(levels), both[1].total(levels[:2]))
    assert both[0].threshold == both[1].threshold


def test_kinds_are_measured_by_the_calibration_clips():
    scored = {
        kind: {"log p(z|x)": levels.sum(0)}
        | {f"log p(z|x), level {number}": part for number, part in enumerate(levels)}
        | {"evidence": levels[0]}
        for kind, levels in {"calibration": drawn(30, 0), "test": drawn(20, 1)}.items()
    }
    found, usual = with_balanced(scored), UsualLevels.of(drawn(30, 0))
    assert [*found] == ["calibration", "test"]
    assert [*found["test"]] == [*scored["test"], BALANCED]
    assert torch.equal(found["test"][BALANCED], usual.total(drawn(20, 1)))
    assert torch.equal(found["test"]["evidence"], drawn(20, 1)[0])


def test_one_clip_does_not_tell_how_clips_vary():
    with pytest.raises(ValueError, match="cannot be told from 1 clips"):
        UsualLevels.of(drawn(1, 0))


def test_what_is_no_number_is_not_passed_over_and_other_levels_are_refused():
    levels = drawn(9, 0)
    levels[1, 4] = torch.nan
    with pytest.raises(ValueError, match="1 of 27 scores of usual clips are not finite"):
        UsualLevels.of(levels)
    usual = UsualLevels.of(drawn(9, 0))
    assert usual.total(levels).isnan().nonzero().tolist() == [[4]]
    assert not usual.is_unusual(-1e9 + drawn(9, 0)).any()  # without a threshold
    with pytest.raises(ValueError, match="there are 1 levels, and of usual clips 3 were measured"):
        usual.total(levels[:1])
