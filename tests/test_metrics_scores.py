"""How usual a clip is: against the algebra of linear models, and whatever else happens to random numbers."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal

from motionkit.metrics import scores
from motionkit.metrics.scores import leftover_scores, likelihoods, posterior_of_means, usual_scores
from motionkit.models.clip_gaussian import ClipGaussian
from motionkit.models.elbo import Inference, log_posterior
from motionkit.models.fillers import MeanMotion
from motionkit.models.gaussian import Gaussian, standard
from motionkit.models.hg_vae import HGVAE, HGVAEConfig
from motionkit.models.motion_vae import MotionVAE, MotionVAEConfig

SHAPE = (6, 2, 2, 3)
SIZE = math.prod(SHAPE[1:])
NOISE = 0.5  # variance
CLIPS = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class OneNumber:
    """Every number of a clip is one latent of N(0, 1) plus noise; widen: of the posterior's variance, 1 is exact."""

    def __init__(self, widen=1.0):
        self.widen = widen

    def infer(self, clips, classes=None, *, is_drawn=True, has_output=True):
        variance = 1 / (1 + SIZE / NOISE)
        mean = (variance * clips.flatten(1).sum(1) / NOISE)[None, :, None]
        posterior = Gaussian(mean, torch.full_like(mean, math.log(self.widen * variance)))
        z = posterior.sample()
        output = ClipGaussian(z.view(-1, 1, 1, 1).expand(clips.shape), torch.full_like(clips, math.log(NOISE)))
        return Inference([posterior], [standard(mean)], [z], output)


class TwoLevels:
    """z0 of N(0, 1), seen as N(0.3, 0.25); z1 of N(z0, 1), seen as N(mean of the clip, 1)."""

    def infer(self, clips, classes=None, *, is_drawn=True, has_output=True):
        mean = clips.mean((1, 2, 3))[None, :, None]
        top = Gaussian(torch.full_like(mean, 0.3), torch.full_like(mean, math.log(0.25)))
        z0, below = top.sample(), Gaussian(mean, torch.zeros_like(mean))
        output = ClipGaussian(torch.zeros_like(clips), torch.zeros_like(clips))
        return Inference(
            [top, below], [standard(mean), Gaussian(z0, torch.zeros_like(z0))], [z0, below.sample()], output
        )


def density(clips):
    cov = torch.ones(SIZE, SIZE, dtype=torch.float64) + NOISE * torch.eye(SIZE, dtype=torch.float64)
    return MultivariateNormal(torch.zeros(SIZE, dtype=torch.float64), cov).log_prob(clips.flatten(1))


def test_the_evidence_of_an_exact_posterior_is_the_density_whatever_is_drawn():
    for num_draws in (1, 3):
        found = usual_scores(OneNumber(), CLIPS, num_draws=num_draws, seed=4)["evidence"]
        torch.testing.assert_close(found, density(CLIPS))


def test_the_evidence_of_another_posterior_comes_from_below():
    copies = CLIPS[:1].expand(2000, -1, -1, -1)
    bound, closer, close = (
        usual_scores(OneNumber(2.0), copies, num_draws=n, seed=0)["evidence"].mean().item() for n in (1, 4, 32)
    )
    exact = density(CLIPS)[0].item()
    # the divergence of N(m, 2 v) from N(m, v): what the bound falls short of
    assert exact - bound == pytest.approx(0.5 * (2 - 1 - math.log(2)), abs=0.06)
    assert bound < closer < close < exact + 0.005
    assert close == pytest.approx(exact, abs=0.02)


def test_levels_are_densities_of_means_on_average_over_draws():
    copies = CLIPS.repeat_interleave(500, 0)
    found = usual_scores(TwoLevels(), copies, num_draws=8, seed=0)
    assert list(found) == ["log p(z|x)", "log p(z|x), level 0", "log p(z|x), level 1", "evidence"]
    found = {name: values.view(6, 500).mean(1) for name, values in found.items()}
    top = Normal(0.0, 1.0).log_prob(torch.tensor(0.3, dtype=torch.float64)).expand(6)
    torch.testing.assert_close(found["log p(z|x), level 0"], top)
    # the mean of log N(a; z0, 1) over z0 of N(0.3, 0.25)
    below = -0.5 * ((CLIPS.mean((1, 2, 3)) - 0.3).square() + 0.25 + math.log(2 * math.pi))
    torch.testing.assert_close(found["log p(z|x), level 1"], below, atol=0.03, rtol=0)
    torch.testing.assert_close(found["log p(z|x)"], top + found["log p(z|x), level 1"])


def test_the_seed_decides_and_the_global_generator_stays():
    torch.manual_seed(9)
    before = torch.get_rng_state()
    first = usual_scores(TwoLevels(), CLIPS, num_draws=2, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.randn(5)
    again, other = (usual_scores(TwoLevels(), CLIPS, num_draws=2, seed=n) for n in (1, 2))
    for name, values in first.items():
        assert torch.equal(values, again[name])
    assert not torch.equal(first["log p(z|x)"], other["log p(z|x)"])


def test_parts_are_put_together(monkeypatch):
    monkeypatch.setattr(scores, "CHUNK", 4)
    found = usual_scores(OneNumber(), CLIPS, num_draws=2, seed=0)
    assert {len(values) for values in found.values()} == {6}
    torch.testing.assert_close(found["evidence"], density(CLIPS))
    first = usual_scores(TwoLevels(), CLIPS[:4], num_draws=2, seed=0)["log p(z|x)"]
    assert torch.equal(usual_scores(TwoLevels(), CLIPS, num_draws=2, seed=0)["log p(z|x)"][:4], first)


def test_a_network_is_judged_in_eval_mode_without_gradients_and_with_its_classes():
    class Noticing(nn.Module):
        def infer(self, clips, classes=None, **options):
            assert not self.training
            assert not torch.is_grad_enabled()
            seen.append(classes.tolist())
            return TwoLevels().infer(clips)

    seen, model = [], Noticing()
    usual_scores(model, CLIPS, num_draws=2, seed=0, classes=torch.arange(6))
    assert model.training
    assert seen == [list(range(6))] * 2


def test_what_is_said_of_a_clip_does_not_depend_on_the_others():
    torch.manual_seed(0)
    model = MotionVAE(MotionVAEConfig(2, 2, hidden=(8,), latent_dim=3)).train()
    clips, leftovers = CLIPS.float(), torch.zeros(CLIPS.shape[1:])
    for judge in (lambda part: posterior_of_means(model, part), lambda part: leftover_scores(model, part, leftovers)):
        torch.testing.assert_close(torch.cat([judge(clips[:1]), judge(clips[1:])], -1), judge(clips))
    assert model.training


def test_at_means_the_levels_are_those_of_the_model(monkeypatch):
    monkeypatch.setattr(scores, "CHUNK", 4)
    torch.manual_seed(0)
    model = HGVAE(HGVAEConfig(2, 2, levels=((6, 4), (1, 5)), trunk_features=8)).eval()
    found = posterior_of_means(model, CLIPS.float())
    assert found.shape == (2, 6)
    torch.testing.assert_close(found, log_posterior(model.infer(CLIPS.float(), is_drawn=False)).detach())


def test_a_model_of_the_kit_is_judged():
    torch.manual_seed(0)
    model = HGVAE(HGVAEConfig(2, 2, levels=((6, 4), (1, 5)), trunk_features=8))
    found = usual_scores(model, CLIPS.float(), num_draws=3, seed=0)
    torch.testing.assert_close(found["log p(z|x)"], found["log p(z|x), level 0"] + found["log p(z|x), level 1"])
    assert all(values.shape == (6,) and values.dtype == torch.float32 for values in found.values())
    assert all(len(values) == 0 for values in usual_scores(model, CLIPS[:0].float(), num_draws=1, seed=0).values())


def test_leftovers_count_by_how_fast_they_are(monkeypatch):
    """Of a model that makes nothing of a clip: slow leftovers of 1 m are usual, fast ones of 1 mm."""
    mean = MeanMotion(torch.zeros(4, 2, 3, dtype=torch.float64))
    leftovers = torch.full((4, 2, 3), 2 * math.log(1e-3), dtype=torch.float64)
    leftovers[0] = 0.0  # log m^2, of the slowest coefficient
    slow = torch.ones(2, 4, 2, 3, dtype=torch.float64) / 10
    fast = slow.clone()
    fast[:, 1] += 0.01
    found = leftover_scores(mean, torch.cat([slow, fast]), leftovers)
    constant = -0.5 * (24 * math.log(2 * math.pi) + leftovers.sum().item())
    assert found[0].item() == pytest.approx(constant - 0.5 * 6 * 4 * 0.01)  # 6 coordinates, each of 4 frames of 0.1 m
    assert (found[:2] > found[2:] + 100).all()
    monkeypatch.setattr(scores, "CHUNK", 3)
    torch.testing.assert_close(leftover_scores(mean, torch.cat([slow, fast]), leftovers), found)


def test_no_draws_are_refused():
    with pytest.raises(ValueError, match="num_draws is 0; it must be at least 1"):
        usual_scores(OneNumber(), CLIPS, num_draws=0, seed=0)


def test_likelihoods_are_means_over_clips_and_draws_whatever_the_parts(monkeypatch):
    model, clips = TwoLevels(), CLIPS
    found = likelihoods(model, clips, num_draws=400, seed=1)
    assert list(found) == ["log(X)", "MSE", "KL-Divergence", "KL of z0", "KL of z1", "evidence"]
    assert found["KL-Divergence"] == pytest.approx(found["KL of z0"] + found["KL of z1"])
    assert found["log(X)"] - found["KL-Divergence"] < found["evidence"]  # the bound is one
    monkeypatch.setattr(scores, "CHUNK", 4)
    assert likelihoods(model, clips, num_draws=400, seed=1) == pytest.approx(found, rel=0.02)
    with pytest.raises(ValueError, match="no clips"):
        likelihoods(model, clips[:0], num_draws=1, seed=0)


def test_what_likelihoods_tell_of_an_exact_posterior():
    found = likelihoods(OneNumber(), CLIPS, num_draws=2000, seed=0)
    assert found["log(X)"] - found["KL-Divergence"] == pytest.approx(density(CLIPS).mean().item(), abs=0.05)
    assert found["evidence"] == pytest.approx(density(CLIPS).mean().item())
    variance = 1 / (1 + SIZE / NOISE)
    mean = variance * CLIPS.flatten(1).sum(1) / NOISE
    misses = (CLIPS.flatten(1) - mean[:, None]).square().sum(1).mean() + SIZE * variance
    assert found["MSE"] == pytest.approx(misses.item(), rel=0.01)
