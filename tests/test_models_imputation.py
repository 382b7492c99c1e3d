"""Imputation: what was seen is untouched, what was not is the model's, and both ways of filling agree with algebra."""

import copy
import math
from itertools import pairwise

import pytest
import torch

from motionkit.models import imputation
from motionkit.models.clip_gaussian import Bridge, ClipGaussian
from motionkit.models.clip_spectra import own_spectra
from motionkit.models.elbo import Inference, log_posterior
from motionkit.models.gaussian import Gaussian, standard
from motionkit.models.hg_vae import HGVAE, HGVAEConfig
from motionkit.models.imputation import (
    CHUNK,
    UNSEEN,
    WIDER,
    draw_imputations,
    impute,
    impute_map,
    in_chunks,
    leftovers_of,
)
from motionkit.models.motion_vae import MotionVAE, MotionVAEConfig
from motionkit.models.opinions import COMMON, share_of_second, spread_of_draws
from motionkit.representation.dct import dct

SHAPE = (5, 8, 3, 3)
NAN = math.nan


class OneNumber:
    """Every clip is one latent, the mean of its numbers, everywhere; prior N(0, 1)."""

    def __init__(self, spread=1e-6):
        self.spread = spread

    def parameters(self):
        return iter(())

    def infer(self, clips, classes=None, *, is_drawn=True, has_output=True):
        mean = clips.mean((1, 2, 3))[None, :, None]
        posterior = Gaussian(mean, torch.full_like(mean, math.log(self.spread)))
        z = posterior.sample() if is_drawn else mean
        whole = z.view(-1, 1, 1, 1).expand(clips.shape)
        output = ClipGaussian(whole, torch.zeros_like(clips)) if has_output else None
        return Inference([posterior], [standard(mean)], [z], output)

    def reconstruct(self, clips, classes=None):
        return self.infer(clips, classes, is_drawn=False).output.mean


def case(share=0.5):
    torch.manual_seed(0)
    clips = torch.randn(SHAPE)
    is_seen = torch.rand(SHAPE) >= share
    is_seen[0], is_seen[1] = True, False
    return clips, is_seen, torch.randn(SHAPE)


def model():
    torch.manual_seed(0)
    built = HGVAE(HGVAEConfig(3, 8, levels=((9, 8), (1, 12)), trunk_features=16)).eval()
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if "alpha" in name:
                parameter.fill_(0.3)
    return built


FLAT = torch.full(SHAPE[1:], -math.log(UNSEEN))  # a variance of 1 in gaps


@pytest.mark.parametrize("is_chunked", [False, True])
def test_what_is_seen_stays_and_what_is_not_has_no_influence(is_chunked, monkeypatch):
    if is_chunked:
        monkeypatch.setattr("motionkit.models.imputation.CHUNK", 2)
    prior, (clips, is_seen, start) = model(), case()
    holes = torch.where(is_seen, clips, NAN)
    variance = torch.rand(SHAPE)
    found = [
        impute(prior, holes, is_seen, start, FLAT, num_steps=3),
        impute(prior, holes, is_seen, start, FLAT, start_variance=variance, num_steps=3),
        impute_map(prior, holes, is_seen, start, num_steps=3).clips,
        *draw_imputations(prior, holes, is_seen, start, FLAT, num_draws=2, num_steps=2),
        *draw_imputations(prior, holes, is_seen, start, FLAT, start_variance=variance, num_draws=2, num_steps=2),
    ]
    for filled in found:
        assert torch.equal(filled[is_seen], clips[is_seen])
        assert filled.isfinite().all()
        assert (filled != start)[~is_seen].any()
    torch.testing.assert_close(found[0], impute(prior, clips + 9 * ~is_seen, is_seen, start, FLAT, num_steps=3))


def test_chunks_change_nothing(monkeypatch):
    prior, (clips, is_seen, start) = model(), case()
    whole = impute(prior, clips, is_seen, start, FLAT), impute_map(prior, clips, is_seen, start, num_steps=4)
    monkeypatch.setattr("motionkit.models.imputation.CHUNK", 2)
    assert CHUNK > 2
    parts = impute(prior, clips, is_seen, start, FLAT), impute_map(prior, clips, is_seen, start, num_steps=4)
    torch.testing.assert_close(parts[0], whole[0])
    torch.testing.assert_close(parts[1].clips, whole[1].clips)
    assert torch.equal(parts[1].steps, whole[1].steps)


@pytest.mark.parametrize(("device", "size"), [("cpu", CHUNK), ("meta", 8 * CHUNK)])
def test_other_devices_than_a_cpu_are_given_more_clips_at_once(device, size):
    parts = list(in_chunks(torch.empty(2 * size + 3, 5, device=device), None))
    assert [len(part) for part, _ in parts] == [size, size, 3]
    assert all(absent is None for _, absent in parts)


def test_no_steps_give_the_start():
    clips, is_seen, start = case()
    assert torch.equal(impute(model(), clips, is_seen, start, FLAT, num_steps=0), torch.where(is_seen, clips, start))
    at_start = impute_map(model(), clips, is_seen, start, num_steps=0)
    assert torch.equal(at_start.clips, torch.where(is_seen, clips, start))
    assert not at_start.steps.any()


@pytest.mark.parametrize(("num_steps", "looks"), [(0, 0), (1, 1), (2, 2), (5, 2)])
def test_spectra_are_looked_up_in_the_first_passes_for_all_draws_at_once(num_steps, looks, monkeypatch):
    asked = []
    monkeypatch.setattr(imputation, "own_spectra", lambda *case: asked.append(case[0].log_var) or own_spectra(*case))
    clips, is_seen, start = case()
    variance = torch.ones(SHAPE)
    impute(OneNumber(), clips, is_seen, start, FLAT, start_variance=variance, num_steps=num_steps)
    assert len(asked) == looks
    draws = draw_imputations(
        OneNumber(), clips, is_seen, start, FLAT, start_variance=variance, num_draws=3, num_steps=num_steps
    )
    assert draws.isfinite().all()
    assert len(asked) == 2 * looks
    if looks == 2:  # the second look begins where the first ended
        assert torch.equal(asked[0], FLAT[None])
        assert (asked[1] != FLAT).any()


def test_draws_are_stretched_once_and_chains_go_on_from_what_is_not():
    """Both opinions say variance 1 and err by ``WIDER``, of which .9 is left in their mean; the model is asked about
    clips of half of 1."""
    asked = []

    class Noticing(OneNumber):
        def infer(self, clips, classes=None, **options):
            asked.append(clips)
            found = super().infer(clips, classes, **options)
            return Inference(found.posteriors, found.priors, found.latents, ClipGaussian(0 * clips, 0 * clips))

    torch.manual_seed(0)
    clips, variance = torch.zeros(2000, *SHAPE[1:]), torch.ones(2000, *SHAPE[1:])
    unseen = torch.zeros(clips.shape, dtype=torch.bool)
    drawn = draw_imputations(Noticing(), clips, unseen, clips, FLAT, start_variance=variance, num_draws=1, num_steps=3)
    assert drawn.var().item() == pytest.approx(WIDER * (1 + COMMON) / 2, rel=0.03)
    between = asked[-1]  # of the last chunk
    assert between.var().item() == pytest.approx(0.5, rel=0.2)


def test_repeated_filling_arrives_where_the_clip_and_the_model_agree(monkeypatch):
    """White leftovers carry nothing across a gap: missing numbers become the mean, and then it is that of the seen."""
    monkeypatch.setattr(imputation, "own_spectra", lambda bridge, left_over, log_var: bridge.log_var)
    clips, is_seen, start = case()
    is_seen[1, 0, 0, 0] = True  # a number to hold on to
    filled = impute(OneNumber(), clips, is_seen, start, FLAT, num_steps=600)
    for clip, seen, found in zip(clips, is_seen, filled, strict=True):
        expected = clip[seen].mean()
        torch.testing.assert_close(found[~seen], expected.expand(int((~seen).sum())), atol=1e-3, rtol=1e-3)


def test_leftovers_are_the_spectrum_of_what_is_not_explained():
    torch.manual_seed(0)
    clips = torch.randn(400, *SHAPE[1:]) * torch.linspace(2, 0.1, 8).view(8, 1, 1)
    found = leftovers_of(OneNumber(), clips)
    left = clips - clips.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(found.exp(), dct(left.movedim(1, -1)).square().mean(0).movedim(-1, 0))


def test_smooth_leftovers_fill_a_gap_smoothly():
    time = torch.linspace(0, 1, 8).view(1, 8, 1, 1)
    clips = (time * 0.4 - 0.2).expand(1, 8, 3, 3)
    is_seen = torch.ones(clips.shape, dtype=torch.bool)
    is_seen[:, 3:5] = False
    leftovers = torch.linspace(0, -14, 8).view(8, 1, 1).expand(SHAPE[1:])
    filled = impute(OneNumber(), clips, is_seen, torch.zeros(clips.shape), leftovers)
    assert (filled - clips).abs().max() < 5e-3


def test_draws_have_the_spread_of_what_is_not_known():
    """With the latent known exactly and white leftovers, each missing number has their deviation."""
    clips, is_seen, start = case()
    clips = clips.mean((1, 2, 3), keepdim=True) + 0.1 * clips
    clips, is_seen, start = (x[2:3].expand(2000, -1, -1, -1) for x in (clips, is_seen, start))
    draws = draw_imputations(OneNumber(), clips, is_seen, start, FLAT + 2 * math.log(0.1), num_draws=1, num_steps=30)[0]
    assert not draws[is_seen].view(2000, -1).std(0).any()
    spread = draws.view(2000, -1)[:, ~is_seen[0].flatten()].std(0)
    # about 0.1, as that of the few seen numbers is, and a little more: the mean, of which they are a part, is not sure
    assert (spread > 0.07).all()
    assert (spread < 0.16).all()


def test_gaps_of_clips_that_leave_over_more_are_wider():
    """Two clips, one of which leaves over a hundred times as much as the other; others are in between."""
    torch.manual_seed(0)
    quiet, is_seen = 0.1 * torch.randn(1, *SHAPE[1:]), torch.rand(1, *SHAPE[1:]) < 0.7
    clips = torch.cat([quiet, 100 * quiet]).repeat_interleave(500, 0)
    holes = is_seen.expand(clips.shape)
    draws = draw_imputations(OneNumber(), clips, holes, torch.zeros_like(clips), FLAT, num_draws=1, num_steps=10)[0]
    seen = is_seen.sum().item() / 8  # coordinates' worth of it; those of others count as one
    for part, variance in zip(draws.split(500), (0.01, 100), strict=True):
        expected = ((UNSEEN * seen * variance + 1) / (seen + 1)) ** 0.5
        assert part[:, ~is_seen[0]].std(0).mean().item() == pytest.approx(expected, rel=0.15)


def test_ascent_climbs_and_keeps_the_best_step():
    prior, (clips, is_seen, start) = model(), case()
    scores = [impute_map(prior, clips, is_seen, start, num_steps=n, lr=0.05).score for n in (0, 2, 8, 32)]
    for fewer, more in pairwise(scores):
        assert (more >= fewer).all()
    assert (scores[-1] > scores[0])[1:].all()
    assert scores[-1][0] == scores[0][0]  # the clip without gaps
    found = impute_map(prior, clips, is_seen, start, num_steps=8, lr=0.05)
    with torch.no_grad():
        again = log_posterior(prior.infer(found.clips, is_drawn=False)).sum(0)
    torch.testing.assert_close(again, found.score)
    assert (found.steps <= 8).all()


def test_ascent_finds_the_highest_prior():
    """log p(z|x) of ``OneNumber`` is highest where the clip's mean is 0."""
    clips, is_seen, start = case()
    found = impute_map(OneNumber(), clips[1:], is_seen[1:], start[1:] + 1, num_steps=200, lr=0.05)
    assert found.clips.mean((1, 2, 3)).abs().max() < 0.02


def test_ascent_leaves_the_model_as_it_was():
    prior, (clips, is_seen, start) = model(), case()
    before = {name: value.clone() for name, value in prior.state_dict().items()}
    impute_map(prior, clips, is_seen, start, num_steps=2)
    assert all(torch.equal(value, before[name]) for name, value in prior.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in prior.parameters())


def test_impossible_requests_are_refused(unchecked):
    clips, is_seen, start = case()
    for fill in (lambda *a: impute(OneNumber(), *a, FLAT), lambda *a: impute_map(OneNumber(), *a)):
        with pytest.raises(ValueError, match=r"start has shape \(4, 8, 3, 3\), clips \(5, 8, 3, 3\)"):
            fill(clips, is_seen, start[1:])
        with pytest.raises(ValueError, match="1 numbers that are seen are not finite"):
            fill(torch.where(torch.arange(clips.numel()).view(SHAPE) == 3, NAN, clips), is_seen, start)
        with pytest.raises(ValueError, match="numbers of the start that are not seen are not finite"):
            fill(clips, is_seen, start * NAN)
    with pytest.raises(ValueError, match="num_draws must be at least 1, got 0"):
        draw_imputations(OneNumber(), clips, is_seen, start, FLAT, num_draws=0)


def test_a_start_with_a_variance_is_a_second_opinion():
    prior, (clips, is_seen, start) = model(), case()
    unsure, sure = torch.full(SHAPE, 1e9), torch.full(SHAPE, 1e-12)
    alone = impute(prior, clips, is_seen, start, FLAT, num_steps=3)
    torch.testing.assert_close(impute(prior, clips, is_seen, start, FLAT, start_variance=unsure, num_steps=3), alone)
    kept = impute(prior, clips, is_seen, start, FLAT, start_variance=sure, num_steps=3)
    torch.testing.assert_close(kept, torch.where(is_seen, clips, start))
    # nothing seen and leftovers of variance 1: with a start of variance 1 the mean of both
    unseen = torch.zeros(SHAPE, dtype=torch.bool)
    both = impute(OneNumber(), clips, unseen, start, FLAT, start_variance=torch.ones(SHAPE), num_steps=1)
    torch.testing.assert_close(both, (start + OneNumber().reconstruct(start)) / 2)


def test_opinions_that_err_alike_are_weighed_so_that_the_mean_errs_least():
    """Errors of variances 1 and v that are correlated: against the weight that is best among many."""
    clips, _, start = case()
    unseen, weights = torch.zeros(SHAPE, dtype=torch.bool), torch.linspace(0, 1, 10_001)
    for v in (0.01, 0.3, 1.0, 4.0, 100.0):
        common = COMMON * min(1.0, v)
        best = weights[(weights**2 + (1 - weights) ** 2 * v + 2 * weights * (1 - weights) * common).argmin()].item()
        found = impute(OneNumber(), clips, unseen, start, FLAT, start_variance=torch.full(SHAPE, v), num_steps=1)
        expected = torch.lerp(start, OneNumber().reconstruct(start), best)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * (1 + start.abs().max().item()))
    assert 0.99 < best < 1  # an opinion ten times less exact has next to none


def test_draws_of_two_opinions_are_as_unsure_as_both_together():
    torch.manual_seed(0)
    clips, start = torch.zeros(4000, *SHAPE[1:]), torch.zeros(4000, *SHAPE[1:])
    unseen, variance = torch.zeros(clips.shape, dtype=torch.bool), torch.full(clips.shape, 0.5)
    drawn = draw_imputations(
        OneNumber(), clips, unseen, start, FLAT, start_variance=variance, num_draws=1, num_steps=1
    )[0]
    # drawn and weighed by variances of 0.5 and 1, both err by WIDER times 0.5, COMMON of it together. The latent, the
    # mean of a start of deviates for 9 coordinates, adds of its own, which hangs together with the start
    half, one, true = torch.tensor(0.5), torch.tensor(1.0), torch.tensor(WIDER * 0.5)
    share, spread = share_of_second(half, one), spread_of_draws(half, one, true)
    together = true * (COMMON + (1 - COMMON) * ((1 - share) ** 2 + share**2))
    own = share**2 + 2 * share * (1 - share) * spread
    assert drawn.var().item() == pytest.approx((together + own * 0.5 / 9).item(), rel=0.03)


@pytest.mark.parametrize("num_steps", [0, 1])
def test_draws_are_no_surer_for_what_a_model_leaves_over(num_steps):
    torch.manual_seed(0)
    clips = torch.zeros(2000, *SHAPE[1:])
    unseen, variance = torch.zeros(clips.shape, dtype=torch.bool), torch.ones(clips.shape)
    quiet, prior = FLAT - math.log(100), OneNumber()
    drawn = draw_imputations(
        prior, clips, unseen, clips, quiet, start_variance=variance, num_draws=1, num_steps=num_steps
    )
    # and after a step the latent, the mean of a start of deviates for 9 coordinates
    assert drawn.var().item() == pytest.approx(WIDER + num_steps / 9, rel=0.03)


def test_draws_of_several_clips_have_their_own_classes_latents_and_starts(monkeypatch):
    """Five clips of five classes, of which the model makes the class, 14 draws of each: three groups side by side."""
    sizes = []

    class Telling(OneNumber):
        def infer(self, clips, classes=None, **options):
            sizes.append(len(clips))
            found = super().infer(clips, classes, **options)
            whole = classes.float().view(-1, 1, 1, 1).expand(clips.shape)
            return Inference(found.posteriors, found.priors, found.latents, ClipGaussian(whole, 0 * whole))

    torch.manual_seed(0)
    clips, start, variance = torch.zeros(SHAPE), torch.zeros(SHAPE), torch.full(SHAPE, 1e-6)
    unseen, classes = torch.zeros(SHAPE, dtype=torch.bool), 100 * torch.arange(len(clips))
    monkeypatch.setattr(imputation, "CHUNK", 25)
    certain = FLAT + math.log(1e-6)
    drawn = draw_imputations(
        Telling(), clips, unseen, start, certain, start_variance=variance, num_draws=14, num_steps=1, classes=classes
    )
    # with equal variances the mean of the start, which is 0, and the class
    torch.testing.assert_close(drawn, 0.5 * classes.view(-1, 1, 1, 1).expand(drawn.shape).float(), rtol=0, atol=0.02)
    assert sizes[1:] == [25, 25, 20]  # after the first, in which spectra are looked up
    assert (drawn.std(0) > 1e-5).all()
    assert len({tuple(draw[0].flatten().tolist()) for draw in drawn}) == 14


@pytest.mark.parametrize(("num_steps", "asked"), [(0, 0), (1, 1), (2, 2), (5, 5)])
def test_the_model_is_asked_once_a_pass_and_opinions_are_weighed_anew_with_each_look(num_steps, asked):
    """Against the passes written out."""
    count, (clips, is_seen, start) = [], case()
    variance, prior = torch.rand(SHAPE), OneNumber()

    class Counting(OneNumber):
        def reconstruct(self, clips, classes=None):
            count.append(1)
            return super().reconstruct(clips, classes)

    found = impute(Counting(), clips, is_seen, start, FLAT, start_variance=variance, num_steps=num_steps)
    assert len(count) == asked
    expected, bridge = torch.where(is_seen, clips, start), Bridge.over(is_seen, FLAT[None])
    for step in range(num_steps):
        made = prior.reconstruct(expected)
        if step < 2:
            bridge = Bridge.over(is_seen, own_spectra(bridge, clips - made, FLAT))
        both = torch.lerp(start, bridge(clips, made), share_of_second(variance, UNSEEN * bridge.variance))
        expected = torch.where(is_seen, clips, both)
    torch.testing.assert_close(found, expected)


def test_draws_side_by_side_are_draws_of_their_own(monkeypatch):
    """Of one clip: as many at once as fill a chunk, and one by one."""
    asked = []

    class Noticing(OneNumber):
        def infer(self, clips, classes=None, **options):
            asked.append(len(clips))
            return super().infer(clips, classes, **options)

    def deviations(chunk):
        monkeypatch.setattr(imputation, "CHUNK", chunk)
        asked.clear()
        torch.manual_seed(0)
        draws = draw_imputations(Noticing(), clips, is_seen, start, FLAT, num_draws=1000, num_steps=2)
        assert draws.shape == (1000, *clips.shape)
        assert len({tuple(draw[~is_seen].tolist()) for draw in draws}) == 1000
        return draws[:, ~is_seen].std(0)

    clips, is_seen, start = (part[2:3] for part in case())
    together = deviations(300)
    assert [size for size in asked if size > 1] == [300, 300, 300, 300, 300, 300, 100, 100]
    apart = deviations(1)
    assert len(asked) >= 2 * 1000
    assert set(asked) == {1}
    torch.testing.assert_close(together, apart, rtol=0.2, atol=0)


def test_a_model_in_training_mode_is_asked_in_eval_mode_and_left_as_it_was():
    """Batch normalization would tell clips of each other, and learn from clips that were only filled."""
    (clips, is_seen, start), prior = case(), MotionVAE(MotionVAEConfig(3, 8, hidden=(8,), latent_dim=3)).train()
    for call in (
        lambda: leftovers_of(prior, clips),
        lambda: impute(prior, clips, is_seen, start, FLAT),
        lambda: draw_imputations(prior, clips, is_seen, start, FLAT, num_draws=1),
        lambda: impute_map(prior, clips, is_seen, start).clips,
    ):
        before = copy.deepcopy(prior.train().state_dict())
        torch.manual_seed(1)
        found = call()
        assert all(module.training for module in prior.modules())
        for name, value in prior.state_dict().items():
            assert torch.equal(value, before[name]), name
        prior.eval()
        torch.manual_seed(1)
        assert torch.equal(found, call())


def test_no_clips_are_filled_and_none_cannot_be_measured():
    (clips, is_seen, start), prior = (part[:0] for part in case()), model()
    assert impute(prior, clips, is_seen, start, FLAT).shape == clips.shape
    assert impute_map(prior, clips, is_seen, start).clips.shape == clips.shape
    assert draw_imputations(prior, clips, is_seen, start, FLAT, num_draws=2).shape == (2, *clips.shape)
    with pytest.raises(ValueError, match="there are no clips whose leftovers could be measured"):
        leftovers_of(prior, clips)
