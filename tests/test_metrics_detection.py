"""ROC, its area and calibrated thresholds: hand-computed values, slow twins, invariances, and promises kept."""

import math

import pytest
import torch
from scipy import stats

from motionkit.metrics.detection import (
    auc,
    auc_interval,
    calibrate_threshold,
    flagged_share,
    judge_detector,
    roc_curve,
)


def scores(normal: int = 37, unusual: int = 23) -> tuple[torch.Tensor, torch.Tensor]:
    """Deterministic, overlapping, with many ties within and between the sets."""
    return (torch.arange(normal) * 7 % 11).float(), (torch.arange(unusual) * 5 % 13 + 2).float()


def random_scores(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


# ---- ROC and AUC -----------------------------------------------------------------------------------------------------


def test_roc_by_hand():
    roc = roc_curve(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 3.0]))
    assert roc.thresholds.tolist() == [math.inf, 3, 2, 1]
    assert roc.true_positive_rate.tolist() == [0, 0.5, 1, 1]
    assert roc.false_positive_rate.tolist() == [0, 0, 0.5, 1]


def test_every_point_is_what_its_threshold_flags():
    normal, unusual = scores()
    roc = roc_curve(normal, unusual)
    points = zip(roc.thresholds.tolist(), roc.false_positive_rate, roc.true_positive_rate, strict=True)
    for threshold, false_rate, true_rate in points:
        assert flagged_share(normal, threshold) == pytest.approx(false_rate.item())
        assert flagged_share(unusual, threshold) == pytest.approx(true_rate.item())


def test_auc_as_a_loop_over_all_pairs():
    normal, unusual = scores()
    wins = sum((u > n) + 0.5 * (u == n) for n in normal.tolist() for u in unusual.tolist())
    assert auc(normal, unusual) == pytest.approx(wins / (len(normal) * len(unusual)), rel=1e-12)


def test_auc_is_the_area_under_the_curve_and_mann_whitney():
    normal, unusual = scores()
    roc = roc_curve(normal, unusual)
    area = torch.trapezoid(roc.true_positive_rate, roc.false_positive_rate).item()
    assert auc(normal, unusual) == pytest.approx(area, rel=1e-12)
    u = stats.mannwhitneyu(unusual.numpy(), normal.numpy()).statistic
    assert auc(normal, unusual) == pytest.approx(u / (len(normal) * len(unusual)), rel=1e-12)


def test_auc_limits():
    low, high = torch.arange(5.0), torch.arange(5.0) + 10
    assert (auc(low, high), auc(high, low), auc(low, low), auc(torch.ones(3), torch.ones(4))) == (1, 0, 0.5, 0.5)


def test_auc_sees_only_the_order_and_turns_over_with_it():
    normal, unusual = scores()
    expected = auc(normal, unusual)
    assert auc(normal.exp(), unusual.exp()) == expected
    assert auc(normal.flip(0), unusual[torch.randperm(len(unusual))]) == expected
    assert auc(unusual, normal) == pytest.approx(1 - expected)
    assert auc(-normal, -unusual) == pytest.approx(1 - expected)
    assert auc(normal.repeat(3), unusual) == pytest.approx(expected)


@pytest.mark.parametrize("measure", [roc_curve, auc, lambda n, u: auc_interval(n, u, seed=0)])
def test_scores_that_cannot_be_ranked_are_refused(measure):
    with pytest.raises(ValueError, match="no unusual scores"):
        measure(torch.ones(3), torch.ones(0))
    with pytest.raises(ValueError, match="1 of 3 normal scores are NaN"):
        measure(torch.tensor([0.0, math.nan, 1.0]), torch.ones(2))


# ---- interval --------------------------------------------------------------------------------------------------------


def test_the_interval_is_that_of_resampling_one_by_one():
    normal, unusual = random_scores(60, 0), random_scores(40, 1) + 1
    generator = torch.Generator().manual_seed(5)
    values = [
        auc(*(part[torch.randint(len(part), (len(part),), generator=generator)] for part in (normal, unusual)))
        for _ in range(2000)
    ]
    slow = torch.tensor(values).quantile(torch.tensor([0.05, 0.95]))
    fast = torch.tensor(auc_interval(normal, unusual, seed=0, level=0.9, num_resamples=2000))
    torch.testing.assert_close(fast, slow, atol=0.01, rtol=0)
    assert fast[0] < auc(normal, unusual) < fast[1]


def test_the_interval_is_reproducible_and_shrinks_with_more_samples():
    few = auc_interval(random_scores(20, 0), random_scores(20, 1) + 1, seed=3)
    many = auc_interval(random_scores(2000, 0), random_scores(2000, 1) + 1, seed=3)
    assert few == auc_interval(random_scores(20, 0), random_scores(20, 1) + 1, seed=3)
    assert few != auc_interval(random_scores(20, 0), random_scores(20, 1) + 1, seed=4)
    assert many[1] - many[0] < 0.2 * (few[1] - few[0])


def test_repeated_samples_do_not_narrow_the_interval_when_they_are_one_group():
    normal, unusual = random_scores(30, 0), random_scores(30, 1) + 0.5
    copies, groups = 20, torch.arange(30).repeat(20)
    alone = auc_interval(normal, unusual, seed=0)
    grouped = auc_interval(normal.repeat(copies), unusual.repeat(copies), seed=0,
                           normal_groups=groups, unusual_groups=groups)  # fmt: skip
    assert grouped == pytest.approx(alone, rel=1e-9)
    pretended = auc_interval(normal.repeat(copies), unusual.repeat(copies), seed=0)
    assert pretended[1] - pretended[0] < 0.5 * (alone[1] - alone[0])


def test_the_interval_holds_the_true_value_about_as_often_as_it_says():
    truth = stats.norm.cdf(1 / math.sqrt(2))  # of normal distributions one standard deviation apart
    hits = 0
    for seed in range(200):
        low, high = auc_interval(
            random_scores(60, 2 * seed), random_scores(60, 2 * seed + 1) + 1, seed=seed, num_resamples=300
        )
        hits += low <= truth <= high
    assert 0.89 <= hits / 200 <= 0.99


def test_errors_of_the_interval_name_the_value(unchecked):
    with pytest.raises(ValueError, match=r"level is 1\.5"):
        auc_interval(*scores(), seed=0, level=1.5)
    with pytest.raises(ValueError, match="num_resamples is 0"):
        auc_interval(*scores(), seed=0, num_resamples=0)
    with pytest.raises(ValueError, match="3 groups for 37 scores"):
        auc_interval(*scores(), seed=0, normal_groups=torch.zeros(3, dtype=torch.long))


# ---- threshold -------------------------------------------------------------------------------------------------------


def test_threshold_by_hand():
    calibration = torch.arange(1.0, 20.0)  # 19 scores: 0.1 allows floor(0.1 * 20) = 2 ranks
    threshold = calibrate_threshold(calibration, 0.1)
    assert 18 < threshold < 18.001
    assert (flagged_share(torch.tensor([18.0, 18.5, 19.0, 3.0]), threshold)) == 0.5


def test_too_few_samples_flag_nothing():
    assert calibrate_threshold(torch.arange(18.0), 0.05) == math.inf
    assert calibrate_threshold(torch.arange(19.0), 0.05) < math.inf
    assert flagged_share(torch.tensor([1e30]), math.inf) == 0


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.29])
@pytest.mark.parametrize("spread", [lambda x: x, lambda x: x.exp(), lambda x: x.round()], ids=["even", "tail", "ties"])
def test_new_normal_samples_are_flagged_no_more_often_than_promised(rate, spread):
    shares = [
        flagged_share(
            spread(random_scores(200, 1000 + seed)), calibrate_threshold(spread(random_scores(39, seed)), rate)
        )
        for seed in range(300)
    ]
    mean = sum(shares) / len(shares)
    assert mean <= rate + 0.01
    if spread(torch.tensor(0.3)) != 0:  # without ties the promise is not only kept but used
        assert mean >= math.floor(rate * 40) / 40 - 0.01


def test_a_lower_rate_never_lowers_the_threshold():
    calibration = random_scores(100, 0)
    thresholds = [calibrate_threshold(calibration, rate) for rate in (0.4, 0.2, 0.1, 0.05, 0.02, 0.005)]
    assert thresholds == sorted(thresholds)
    assert thresholds[-1] == math.inf


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, math.nan])
def test_an_impossible_rate_is_named(rate):
    with pytest.raises(ValueError, match=f"false_positive_rate is {rate}"):
        calibrate_threshold(torch.ones(5), rate)


# ---- together --------------------------------------------------------------------------------------------------------


def test_a_detector_is_judged_by_the_parts_above():
    scores = {"calibration": random_scores(99, 0), "test": random_scores(80, 1), "far": random_scores(30, 2) + 2}
    groups = {"test": torch.arange(80) // 4, "far": torch.arange(30) // 5}
    judged = judge_detector(scores | {"same": scores["test"]}, false_positive_rate=0.1, seed=7, groups=groups)
    threshold = calibrate_threshold(scores["calibration"], 0.1)
    assert list(judged) == ["test", "far", "same"]
    assert judged["test"] == {"flagged": flagged_share(scores["test"], threshold)}
    assert judged["same"]["AUC"] == 0.5
    assert judged["same"]["flagged"] == judged["test"]["flagged"]
    assert judged["far"]["AUC"] == auc(scores["test"], scores["far"])
    assert (judged["far"]["low"], judged["far"]["high"]) == auc_interval(
        scores["test"], scores["far"], seed=7, normal_groups=groups["test"], unusual_groups=groups["far"]
    )
