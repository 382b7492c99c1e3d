import math

import pandas as pd
import pytest
import torch
from moving_body import LIMBS, SIGMA, SIZE, Draws, moving

from motionkit.data.skeleton import H36M_17
from motionkit.metrics.denoising import KEYPOINTS_PX, denoising_curves
from motionkit.models.denoisers import FILTERS, TokenizerDenoiser, fill_missing

LEVELS = {"jitter": (0.0, 1.0, 2.0), "occlusion": (0.0, 0.4), "outliers": (0.1,)}
SETTING = {"skeleton": H36M_17, "size": SIZE, "sigma_px": SIGMA, "seed": 3}


def curves(keypoints=None, denoisers=FILTERS, levels=LEVELS, **changes) -> pd.DataFrame:
    keypoints = torch.cat([moving(), moving().flip(1)]) if keypoints is None else keypoints
    return pd.DataFrame(denoising_curves(keypoints, denoisers, levels, **SETTING | changes))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return curves()


def value(table: pd.DataFrame, kind: str, level: float, method: str, metric: str = KEYPOINTS_PX) -> float:
    return table.set_index(["kind", "level", "method", "metric"])["value"][kind, level, method, metric]


def test_a_row_for_each_level_method_and_metric(table):
    assert list(table.columns) == ["kind", "level", "method", "metric", "value", "spread"]
    assert len(table) == 6 * len(FILTERS) * 4
    assert not table.duplicated(["kind", "level", "method", "metric"]).any()


def test_without_noise_trust_is_perfect(table):
    for kind in ("jitter", "occlusion"):
        assert value(table, kind, 0.0, "as detected") == 0
        assert value(table, kind, 0.0, "as detected", "L1") == 0
        assert value(table, kind, 0.0, "as detected", "SSIM") == pytest.approx(1)
        assert value(table, kind, 0.0, "as detected", "SSIM foreground") == pytest.approx(1)


def test_trust_pays_the_noise_in_full(table):
    # Detector noise mixes Gaussians of variances 2 u sigma^2, u uniform: the mean length of one is
    # sqrt(pi / 2) sqrt(2 u) sigma, and sqrt(u) is 2 / 3 on average.
    for level in (1.0, 2.0):
        expected = math.sqrt(math.pi / 2) * math.sqrt(2) * 2 / 3 * level
        assert value(table, "jitter", level, "as detected") == pytest.approx(expected, rel=0.08)


def test_filters_beat_trust_where_they_should(table):
    assert value(table, "jitter", 2.0, "Savitzky-Golay") < 0.75 * value(table, "jitter", 2.0, "as detected")
    assert value(table, "outliers", 0.1, "median") < 0.5 * value(table, "outliers", 0.1, "as detected")
    assert value(table, "outliers", 0.1, "median", "SSIM") > value(table, "outliers", 0.1, "as detected", "SSIM")


def test_the_seed_decides(table):
    pd.testing.assert_frame_equal(curves(), table)
    assert not curves(seed=4)["value"].equals(table["value"])


def test_a_method_does_not_change_the_others(table):
    alone = curves(denoisers={"median": FILTERS["median"]})
    rows = table[table["method"] == "median"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, rows)


def test_spread_is_over_windows(table):
    one = curves(moving(), levels={"jitter": (1.0,)})
    assert (one["spread"] == 0).all()
    both = curves(torch.cat([moving(), moving()]), {"as detected": fill_missing}, {"jitter": (0.0,)})
    assert (both["spread"].abs() < 1e-6).all()
    assert (table.query("kind == 'jitter' and level > 0")["spread"] > 0).all()


def test_a_tokenizer_is_scored_by_its_own_picture():
    blank = TokenizerDenoiser(Draws(torch.zeros(1, 1, 12, SIZE, SIZE)), LIMBS, SIZE, SIGMA)
    table = curves(moving(), {"blank": blank, "as detected": fill_missing}, {"jitter": (1.0,)})
    assert value(table, "jitter", 1.0, "blank", "SSIM foreground") < 0.2
    # Nothing can be read from it, so the keypoints stay where they were given.
    detected = value(table, "jitter", 1.0, "as detected")
    assert value(table, "jitter", 1.0, "blank") == pytest.approx(detected, rel=1e-5)


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="unknown kind of corruption 'fog'; known are jitter, occlusion"):
        curves(levels={"fog": (1.0,)})
