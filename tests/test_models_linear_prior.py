"""Probabilistic principal components of clips: against dense normal distributions, its data, and scikit-learn."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import multivariate_t
from torch.distributions import MultivariateNormal

from motionkit.data.skeleton import AMASS_18
from motionkit.models import linear_prior
from motionkit.models.linear_prior import TRUST, LinearPrior
from motionkit.representation.mirror_images import mirrored

SHAPE = (4, 2, 3)  # frames, joints, axes
SIZE = math.prod(SHAPE)
FLOAT64 = torch.float64


def prior(num_components=3, noise=0.05):
    torch.manual_seed(0)
    return LinearPrior(torch.randn(SHAPE, dtype=FLOAT64), torch.randn(SIZE, num_components, dtype=FLOAT64),
                       torch.tensor(noise, dtype=FLOAT64))  # fmt: skip


def covariance(prior):
    return prior.loadings @ prior.loadings.t() + prior.noise_variance * torch.eye(SIZE, dtype=FLOAT64)


def test_density_is_that_of_the_dense_distribution(tolerance, monkeypatch):
    p = prior()
    x = p.sample(7)
    expected = MultivariateNormal(p.mean.flatten(), covariance(p)).log_prob(x.flatten(1))
    torch.testing.assert_close(p.log_prob(x), expected, **tolerance(FLOAT64))
    monkeypatch.setattr(linear_prior, "CHUNK", 2 * SIZE)  # two clips at a time
    torch.testing.assert_close(p.log_prob(x), expected, **tolerance(FLOAT64))
    assert p.log_prob(x[:0]).shape == (0,)


def test_what_is_not_seen_follows_from_what_is(tolerance):
    p = prior()
    x = p.sample(5)
    is_seen = torch.rand(x.shape) < torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])[:, None, None, None]
    found, variance = p.given(torch.where(is_seen, x, math.nan), is_seen)
    assert torch.equal(found[is_seen], x[is_seen])
    assert not variance[is_seen].any()
    cov = covariance(p)
    for clip in range(5):
        seen = is_seen[clip].flatten()
        gain = cov[~seen][:, seen] @ torch.linalg.inv(cov[seen][:, seen])
        mean = p.mean.flatten()[~seen] + gain @ (x[clip] - p.mean).flatten()[seen]
        left = (cov[~seen][:, ~seen] - gain @ cov[seen][:, ~seen]).diagonal()
        torch.testing.assert_close(found[clip].flatten()[~seen], mean, **tolerance(FLOAT64))
        torch.testing.assert_close(variance[clip].flatten()[~seen], left, **tolerance(FLOAT64))


@pytest.mark.parametrize("dtype", [torch.float32, FLOAT64])
def test_with_nothing_seen_all_is_open_and_with_everything_nothing(dtype, tolerance):
    p = prior()
    x = p.sample(2).to(dtype)
    unseen = torch.zeros(x.shape, dtype=torch.bool)
    found, variance = p.given(x * math.nan, unseen)
    torch.testing.assert_close(found, p.mean.expand(x.shape).to(dtype), **tolerance(dtype))
    everywhere = covariance(p).diagonal().view(SHAPE).expand(x.shape).to(dtype)
    torch.testing.assert_close(variance, everywhere, **tolerance(dtype))
    found, variance = p.given(x, ~unseen)
    assert torch.equal(found, x)
    assert not variance.any()
    assert found.dtype == variance.dtype == p.log_prob(x).dtype == dtype


def test_variances_stay_right_where_the_noise_is_tiny():
    """Variances from 1 down to a noise of 1e-10: what is seen pins the latent, and what is left is about the noise."""
    p = prior(noise=1e-10)
    x = p.sample(1)
    is_seen = torch.ones(x.shape, dtype=torch.bool)
    is_seen[:, :2] = False
    found, variance = p.given(x, is_seen)
    assert ((found - x).abs() < 1e-3).all()
    assert (variance[~is_seen] >= 1e-10).all()
    assert (variance[~is_seen] < 1e-8).all()
    away = (x - p.mean).flatten()
    exact = away @ torch.linalg.solve(covariance(p), away)
    plain = p.log_prob(x) + 0.5 * (torch.linalg.slogdet(covariance(p))[1] + SIZE * math.log(2 * math.pi))
    torch.testing.assert_close(-2 * plain[0], exact, rtol=1e-4, atol=1e-4)


def test_scales_of_clips_make_the_density_of_student(tolerance):
    p = replace(prior(), freedom=3.5)
    x = p.sample(6)
    expected = multivariate_t(p.mean.flatten().numpy(), covariance(p).numpy(), df=3.5).logpdf(x.flatten(1).numpy())
    torch.testing.assert_close(p.log_prob(x), torch.from_numpy(expected), **tolerance(FLOAT64))
    torch.testing.assert_close(replace(p, freedom=1e9).log_prob(x), prior().log_prob(x), rtol=1e-5, atol=1e-5)


def test_variances_of_gaps_follow_how_well_what_is_seen_fits():
    p, freedom = prior(), 6.0
    robust = replace(p, freedom=freedom)
    x = robust.sample(5)
    is_seen = torch.rand(x.shape) < 0.5
    (mean, variance), (found, scaled) = p.given(x, is_seen), robust.given(x, is_seen)
    torch.testing.assert_close(found, mean)
    for clip in range(5):
        seen = is_seen[clip].flatten()
        away = (x[clip] - p.mean).flatten()[seen]
        distance = away @ torch.linalg.solve(covariance(p)[seen][:, seen], away)
        scale = (freedom + distance) / (freedom + seen.sum() - 2)
        torch.testing.assert_close(scaled[clip], scale * variance[clip])
    nothing = torch.zeros_like(is_seen)
    torch.testing.assert_close(robust.given(x, nothing)[1], freedom / (freedom - 2) * p.given(x, nothing)[1])


@pytest.mark.parametrize("freedom", [math.inf, 5.0])
def test_variances_of_gaps_follow_how_wrong_it_is_about_witnesses(freedom):
    p = replace(prior(), freedom=freedom)
    torch.manual_seed(2)
    is_seen = torch.rand(3, *SHAPE) < torch.tensor([0.3, 0.5, 0.7])[:, None, None, None]
    x, like = p.sample(3), prior().sample(500)
    means, variances = p.given(x, is_seen)

    def scales(witnesses):
        found, scaled = replace(p, witnesses=witnesses).given(x, is_seen)
        assert torch.equal(found[is_seen], x[is_seen])
        torch.testing.assert_close(found, means)
        ratio = torch.where(is_seen, 1.0, scaled / variances)
        for clip, seen in zip(ratio, is_seen, strict=True):
            assert clip[~seen].std() < 1e-9  # one scale a pattern
        return torch.stack([clip[~seen][0] for clip, seen in zip(ratio, is_seen, strict=True)])

    torch.testing.assert_close(scales(p.mean.expand(0, *SHAPE)), torch.ones(3, dtype=FLOAT64))
    for clip, scale in enumerate(scales(like)):
        assert scale == pytest.approx(hand_scale(p, like, is_seen[clip].flatten()), rel=1e-6)
    assert 0 < TRUST < 1
    if math.isinf(freedom):  # errors thrice as large, and variances nine times, as far as witnesses are trusted
        away = 3 * (like - p.mean) + p.mean
        torch.testing.assert_close(scales(away), 9**TRUST * scales(like))
    about_nobody_wrong = scales(p.mean[None].clone())
    assert about_nobody_wrong.isfinite().all()
    assert (about_nobody_wrong > 0).all()


def hand_scale(p, witnesses, seen):
    cov, away = covariance(p), (witnesses - p.mean).flatten(1)
    gain = cov[~seen][:, seen] @ torch.linalg.inv(cov[seen][:, seen])
    left = (cov[~seen][:, ~seen] - gain @ cov[seen][:, ~seen]).trace()
    if math.isfinite(p.freedom):
        distances = (away[:, seen] @ torch.linalg.inv(cov[seen][:, seen]) * away[:, seen]).sum(1)
        left = left * (p.freedom + distances) / (p.freedom + seen.sum() - 2)
    return ((away[:, ~seen] - away[:, seen] @ gain.t()).square().sum(1) / left).log().mean().mul(TRUST).exp().item()


def test_draws_of_their_own_scales_vary_as_much_as_the_distribution_says():
    p, many = replace(prior(), freedom=8.0), 40_000
    draws = p.sample(many, torch.Generator().manual_seed(3))
    assert torch.equal(draws, p.sample(many, torch.Generator().manual_seed(3)))
    expected = 8 / 6 * covariance(p).diagonal()
    torch.testing.assert_close(draws.flatten(1).var(0), expected, rtol=0.05, atol=0)


def test_draws_have_the_mean_and_the_covariance():
    p, many = prior(), 40_000
    draws = p.sample(many, torch.Generator().manual_seed(3))
    assert torch.equal(draws, p.sample(many, torch.Generator().manual_seed(3)))
    cov, away = covariance(p), draws.flatten(1)
    spread = cov.diagonal().sqrt()
    assert ((away.mean(0) - p.mean.flatten()).abs() < 5 * spread / math.sqrt(many)).all()
    # the variance of a product's mean is at most twice that of its factors' product
    assert ((away.t().cov() - cov).abs() < 5 * math.sqrt(2 / many) * torch.outer(spread, spread)).all()


def test_latents_are_the_mean_of_what_they_may_be_given_a_clip(tolerance):
    """Of z and the clip together, a dense normal distribution: E z = W^T C^-1 (x - mean)."""
    p = prior()
    x = p.sample(6)
    expected = (x - p.mean).flatten(1) @ torch.linalg.solve(covariance(p), p.loadings)
    torch.testing.assert_close(p.latents(x), expected, **tolerance(FLOAT64))
    assert not p.latents(p.mean[None]).any()
    assert p.latents(x[:0].float()).shape == (0, 3)


def test_draws_without_noise_lie_where_the_components_reach(tolerance):
    p = prior()
    draws = p.sample(9, torch.Generator().manual_seed(3), has_noise=False)
    away = (draws - p.mean).flatten(1).t()
    torch.testing.assert_close(p.loadings @ torch.linalg.lstsq(p.loadings, away).solution, away, **tolerance(FLOAT64))
    noisy = p.sample(9, torch.Generator().manual_seed(3))
    assert (noisy - draws).std().item() == pytest.approx(0.05**0.5, rel=0.15)


def test_fitting_finds_the_space_that_clips_came_from():
    p = prior(noise=1e-4)
    found = LinearPrior.fit(p.sample(4000), 3)
    angles = torch.linalg.svdvals(torch.linalg.qr(p.loadings)[0].t() @ torch.linalg.qr(found.loadings)[0])
    assert angles.min() > 1 - 1e-4
    assert found.noise_variance.item() == pytest.approx(1e-4, rel=0.02)
    cov = covariance(p)
    assert (covariance(found) - cov).abs().max() < 5 * math.sqrt(2 / 4000) * cov.diagonal().max()
    assert (found.loadings.norm(dim=0).diff() < 0).all()  # the largest first


@pytest.mark.parametrize("count", [12, SIZE - 1, SIZE, 300])
def test_it_is_the_same_by_the_covariance_and_by_products_of_clips(count):
    x = prior(5).sample(count)
    found, away = LinearPrior.fit(x, 3), (x - x.mean(0)).flatten(1)
    variances, axes = torch.linalg.eigh(away.t() @ away / count)
    noise = variances[:-3].mean()
    top = axes[:, -3:] * (variances[-3:] - noise).sqrt()
    torch.testing.assert_close(found.noise_variance, noise)
    torch.testing.assert_close(found.loadings @ found.loadings.t(), top @ top.t())


@pytest.mark.parametrize("count", [12, 300], ids=["fewer clips than numbers", "more"])
def test_no_distribution_nearby_makes_the_clips_more_probable(count):
    x = prior(5).sample(count)
    best = LinearPrior.fit(x, 3)
    highest = best.log_prob(x).sum()
    torch.manual_seed(1)
    for _ in range(20):
        for field in ("mean", "loadings", "noise_variance"):
            value = getattr(best, field)
            nearby = value + 0.01 * value.abs().mean() * torch.randn_like(value)
            assert replace(best, **{field: nearby}).log_prob(x).sum() < highest


def test_single_precision_and_many_parts_change_little(monkeypatch):
    x = prior(5).sample(50)
    exact = LinearPrior.fit(x, 3)
    monkeypatch.setattr(linear_prior, "CHUNK", 7 * SIZE)
    single = LinearPrior.fit(x.float(), 3)
    assert single.mean.dtype == single.loadings.dtype == single.noise_variance.dtype == torch.float32
    torch.testing.assert_close(single.log_prob(x), exact.log_prob(x), rtol=1e-4, atol=1e-3)


def test_densities_are_those_of_scikit_learn():
    """It divides by one clip less, so that all its variances are larger."""
    decomposition = pytest.importorskip("sklearn.decomposition")
    x = prior(5).sample(50)
    theirs = decomposition.PCA(3, svd_solver="full").fit(x.flatten(1).numpy())
    ours = LinearPrior.fit(x, 3)
    ours = replace(ours, loadings=ours.loadings * math.sqrt(50 / 49), noise_variance=ours.noise_variance * 50 / 49)
    assert ours.noise_variance.item() == pytest.approx(theirs.noise_variance_)
    expected = torch.from_numpy(theirs.score_samples(x.flatten(1).numpy()))
    torch.testing.assert_close(ours.log_prob(x), expected, rtol=1e-8, atol=1e-8)


def test_with_a_skeleton_mirror_images_are_as_probable_as_clips():
    clips = torch.randn(30, 2, 18, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    images = mirrored(clips, AMASS_18)
    alone, both = LinearPrior.fit(clips, 5), LinearPrior.fit(clips, 5, AMASS_18)
    torch.testing.assert_close(both.log_prob(images), both.log_prob(clips))
    assert (alone.log_prob(images) < alone.log_prob(clips)).float().mean() > 0.9
    expected = LinearPrior.fit(torch.cat([images, clips]), 5)
    torch.testing.assert_close(both.log_prob(clips), expected.log_prob(clips))


@pytest.mark.parametrize(("count", "num_components", "lesser"), [(10, 10, 10), (10, 0, 10), (60, 24, 24), (0, 1, 0)])
def test_impossible_numbers_of_components_are_refused(count, num_components, lesser):
    message = (
        f"num_components must be at least 1 and below {lesser}, the lesser of {count} clips and 24 numbers, "
        f"got {num_components}"
    )
    with pytest.raises(ValueError, match=message):
        LinearPrior.fit(torch.zeros(count, *SHAPE), num_components)


def test_clips_that_leave_nothing_to_the_noise_are_refused():
    x = prior(2).sample(10)
    for left in (torch.zeros(10, *SHAPE), x[:3].repeat(4, 1, 1, 1), x.float()[:3].repeat(4, 1, 1, 1)):
        with pytest.raises(ValueError, match="num_components is 2, and the clips vary in no more directions"):
            LinearPrior.fit(left, 2)
    LinearPrior.fit(x[:3].repeat(4, 1, 1, 1), 1)
    x[4, 1, 1, 1] = math.nan
    with pytest.raises(ValueError, match="clips hold numbers that are not finite"):
        LinearPrior.fit(x, 2)


def test_parts_that_do_not_fit_are_refused(unchecked):
    p = prior()
    with pytest.raises(ValueError, match="loadings have 23 rows, and the mean 24 numbers"):
        replace(p, loadings=p.loadings[1:])
    with pytest.raises(ValueError, match=r"noise_variance must be more than 0, got 0\.0"):
        replace(p, noise_variance=torch.tensor(0.0))
    with pytest.raises(ValueError, match=r"freedom must be more than 2, for there to be variances, got 2\.0"):
        replace(p, freedom=2.0)
    other = torch.zeros(2, 5, 2, 3)
    for call in (lambda: p.log_prob(other), lambda: p.given(other, other > 0), lambda: replace(p, witnesses=other)):
        with pytest.raises(ValueError, match=r"clips have shape \(2, 5, 2, 3\); expected \(batch, 4, 2, 3\)"):
            call()


def test_noise_is_calibrated_on_clips_that_vary_in_other_ways_too():
    p = prior(noise=0.05)
    torch.manual_seed(1)
    others = p.sample(400) + 0.4 * torch.randn(400, *SHAPE, dtype=FLOAT64)  # noise of variance 0.05 + 0.16
    found = p.calibrated(others)
    assert found.noise_variance.item() == pytest.approx(0.21, rel=0.05)
    assert torch.equal(found.loadings, p.loadings)
    near = [replace(found, noise_variance=found.noise_variance * k).log_prob(others).mean() for k in (0.98, 1.02)]
    assert found.log_prob(others).mean() > max(near)
    assert p.calibrated(p.mean[None]).noise_variance.item() == pytest.approx(0.05, rel=0.01)  # never less than it had
    assert math.isinf(found.freedom)
    assert torch.equal(found.witnesses, others)
    with pytest.raises(ValueError, match="no clips"):
        p.calibrated(others[:0])
    others[3, 0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="numbers that are not finite"):
        p.calibrated(others)


def test_freedom_is_calibrated_on_clips_that_do_not_all_vary_as_much():
    robust = replace(prior(), freedom=5.0)
    torch.manual_seed(1)
    others = robust.sample(2000)
    found = prior().calibrated(others)
    assert found.freedom == pytest.approx(5.0, rel=0.1)
    assert found.noise_variance.item() == pytest.approx(0.05, rel=0.05)
    assert found.log_prob(others).mean() > prior().log_prob(others).mean()


def test_the_higher_of_two_peaks_is_found():
    def height(x):
        return math.exp(-(((x - 0.3) / 0.2) ** 2)) + 2 * math.exp(-(((x - 3.1) / 0.3) ** 2))

    assert linear_prior._peak(height, 0.0, 4.0) == pytest.approx(3.1, abs=0.005)
    assert linear_prior._peak(lambda x: -x, 0.0, 4.0) == pytest.approx(0.0, abs=0.005)


def test_clips_may_lie_in_memory_in_any_order():
    p = prior()
    x = p.sample(3)
    is_seen = torch.rand(x.shape) < 0.5
    turned = x.permute(3, 2, 0, 1).contiguous().permute(2, 3, 1, 0)
    assert not turned.is_contiguous()
    for found, expected in zip(p.given(turned, is_seen), p.given(x, is_seen), strict=True):
        assert torch.equal(found, expected)
