"""HM-VAE: groups of joints, pooling and its way back, latents that lead on by unpooling alone, and training."""

import math
from dataclasses import replace

import pytest
import torch

from motionkit.data.skeleton import AMASS_18
from motionkit.models.elbo import log_evidence
from motionkit.models.gaussian import Gaussian
from motionkit.models.hm_vae import AMASS_18_GROUPS, HMVAE, PUBLISHED, HMVAEConfig, Pooling
from motionkit.training import TrainConfig, fit

GROUPS = ((0, 3), (1,), (4, 2))
TINY = HMVAEConfig(5, 8, groups=GROUPS, level_features=8, trunk_features=16)


def build(config=TINY, alpha=0.3):
    """Every residual weight at ``alpha``: at 0, where training begins, the blocks would be invisible."""
    torch.manual_seed(0)
    model = HMVAE(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "alpha" in name:
                parameter.fill_(alpha)
    return model


def clips(count=2, config=TINY):
    shape = (count, config.num_frames, config.num_joints, 3)
    return torch.linspace(-1, 1, math.prod(shape)).reshape(shape).sin()


@pytest.fixture
def draws(monkeypatch):
    """``draws(f)``: from now on draw number n, from the top down, is ``f(n, distribution)``."""

    def patch(draw):
        count = iter(range(1000))
        monkeypatch.setattr(Gaussian, "sample", lambda self: draw(next(count), self))

    return patch


# ---- pooling ---------------------------------------------------------------------------------------------------------


def test_pooling_averages_the_joints_of_a_group_axis_by_axis(tolerance):
    x = torch.rand(15, 2, 4)
    joints = x.unflatten(0, (5, 3))
    plain = torch.stack([joints[list(group)].mean(0) for group in GROUPS])
    torch.testing.assert_close(Pooling(GROUPS)(x), plain.flatten(0, 1), **tolerance())


def test_undoing_the_pooling_copies_to_each_joint_of_a_group(tolerance):
    pooling, above = Pooling(GROUPS), torch.rand(9, 2, 4)
    constant = pooling.undo(above)
    for number, group in enumerate(GROUPS):
        for joint in group:
            assert torch.equal(constant.unflatten(0, (5, 3))[joint], above.unflatten(0, (3, 3))[number])
    torch.testing.assert_close(pooling(constant), above, **tolerance())
    torch.testing.assert_close(pooling.undo(pooling(constant)), constant, **tolerance())


def test_the_groups_of_the_amass_joints_hang_together():
    for group in AMASS_18_GROUPS:
        reached = {group[0]}
        for _ in group:
            reached |= {joint for limb in AMASS_18.limbs if reached & set(limb) for joint in limb if joint in group}
        assert reached == set(group)
    swap = {a: b for pair in AMASS_18.swaps for a, b in (pair, pair[::-1])}
    mirrored = {tuple(swap.get(joint, joint) for joint in group) for group in AMASS_18_GROUPS}
    assert mirrored == set(AMASS_18_GROUPS)


# ---- the model -------------------------------------------------------------------------------------------------------


def test_the_number_of_parameters_is_known():
    with torch.device("meta"):
        assert sum(p.numel() for p in HMVAE(PUBLISHED).parameters()) == 1_181_854


@pytest.mark.parametrize("likelihood", ["frames", "frequencies"])
def test_shapes(likelihood):
    model, x = build(replace(TINY, likelihood=likelihood)), clips(2)
    seen = model.infer(x)
    for tensors in (seen.latents, [p.mean for p in seen.posteriors], [p.log_var for p in seen.priors]):
        assert [tuple(z.shape) for z in tensors] == [(9, 2, 8), (15, 2, 8)]
    assert seen.output.mean.shape == seen.output.log_var.shape == x.shape
    assert seen.output.is_spectral == (likelihood == "frequencies")
    with torch.device("meta"):
        assert HMVAE(HMVAEConfig()).sample_top(2).shape == (18, 2, 128)


def test_a_lower_latent_changes_nothing_above_it(draws):
    model, x = build(), clips()
    for level in range(2):
        runs = []
        for shift in (0.0, 1.0):
            draws(lambda number, d, s=shift, at=level: d.mean + s * (number == at))
            runs.append(model.infer(x))
        same = [torch.equal(a.mean, b.mean) for a, b in zip(runs[0].priors, runs[1].priors, strict=True)]
        assert same == [True, level == 1]
        assert not torch.equal(runs[0].output.mean, runs[1].output.mean)


def test_clips_reach_the_output_through_latents_alone(draws):
    model = build()
    draws(lambda _, d: torch.ones_like(d.mean))
    runs = [model.infer(x) for x in (clips(), clips().flip(0))]
    assert not torch.equal(runs[0].posteriors[0].mean, runs[1].posteriors[0].mean)
    assert torch.equal(runs[0].output.mean, runs[1].output.mean)
    assert torch.equal(runs[0].priors[1].mean, runs[1].priors[1].mean)


def test_what_is_generated_from_latents_is_what_is_inferred_with_them(draws):
    model, x = build(), clips()
    z0 = model.sample_top(2)
    draws(lambda number, d: z0 if number == 0 else torch.ones_like(d.mean))
    seen = model.infer(x)
    draws(lambda _, d: torch.ones_like(d.mean))
    assert torch.equal(model.generate(z0).mean, seen.output.mean)


def test_latents_are_means_and_the_output_is_left_out_where_asked(unchecked):
    model, x = build(), clips()
    seen = [model.infer(x, is_drawn=False, has_output=has_output) for has_output in (True, False)]
    for level in range(2):
        assert torch.equal(seen[0].latents[level], seen[0].posteriors[level].mean)
        assert torch.equal(seen[0].latents[level], seen[1].latents[level])
    assert seen[1].output is None


def test_standardized_clips_are_the_same_in_any_unit_and_place():
    model, x = build(), clips(6)
    model.nodes.standardize(x)
    moved = build()
    moved.nodes.standardize(3 * x + 1)
    posteriors = [m.infer(y, is_drawn=False).posteriors[1].mean for m, y in ((model, x), (moved, 3 * x + 1))]
    torch.testing.assert_close(*posteriors, rtol=1e-3, atol=1e-3)


def test_samples_are_drawn_down_to_a_level():
    model = build()
    z0 = model.sample_top(3)
    means = [model.generate(z0, drawn_levels=0).mean for _ in range(2)]
    drawn = [model.generate(z0).mean for _ in range(2)]
    assert torch.equal(*means)
    assert not torch.equal(*drawn)


def test_the_loss_is_the_mean_log_weight_of_draws_and_bounded_by_the_evidence():
    """The bound is the mean of what ``log_evidence`` tells of draws; test_metrics_scores has what that leads to."""
    model, x = build(), clips(1).expand(4000, -1, -1, -1)
    with torch.no_grad():
        weights = log_evidence(model.infer(x), x)
        bound = -model.loss(x, 1)["loss"]
    spread = weights.std() / math.sqrt(len(weights))
    assert abs(weights.mean() - bound) < 5 * spread
    assert torch.logsumexp(weights, 0) - math.log(len(weights)) > bound


def test_the_divergence_warms_up_in_a_line_to_its_last_weight():
    model = build(replace(TINY, kl_start=0.2, kl_end=0.6, kl_steps=4))
    assert [round(model.kl_weight(step), 6) for step in (0, 2, 4, 9)] == [0.2, 0.4, 0.6, 0.6]
    x = clips()
    torch.manual_seed(1)
    loss = model.loss(x, 9)
    torch.testing.assert_close(loss["loss"], 0.6 * loss["kl"] - loss["log_likelihood"])
    assert build().kl_weight(1) == 1.0
    assert HMVAE(replace(TINY, kl_end=PUBLISHED.kl_end)).kl_weight(1) == pytest.approx(0.003)


def test_it_learns_a_batch_by_heart():
    torch.manual_seed(0)
    model, x = HMVAE(TINY), clips(4)
    before = model.loss(x, 1)
    fit(model, lambda _: x, TrainConfig(200, lr=5e-3, schedule="constant", clip_norm=100.0, progress="off"))
    after = model.loss({"clips": x}, 1)
    assert after["mse"] < 0.02 * before["mse"]
    assert after["log_likelihood"] > before["log_likelihood"] + 100


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_frames": 0}, "num_frames must be at least 1, got 0"),
        ({"level_features": 0}, "level_features must be at least 1, got 0"),
        ({"groups": ((0, 1), (2, 3))}, r"groups must hold each joint from 0 to 4 once, got \(\(0, 1\), \(2, 3\)\)"),
        ({"groups": ((0, 1, 2), (2, 3, 4))}, "groups must hold each joint from 0 to 4 once"),
        ({"groups": ((0, 1, 2, 3, 4), ())}, "groups must hold each joint from 0 to 4 once"),
        ({"num_joints": 6}, "groups must hold each joint from 0 to 5 once"),
        ({"kl_start": -0.1}, "kl_start must be 0 to 1, got -0.1"),
        ({"kl_end": 1.5}, "kl_end must be 0 to 1, got 1.5"),
        ({"likelihood": "pixels"}, "likelihood must be 'frames' or 'frequencies', got 'pixels'"),
    ],
)
def test_impossible_configurations_are_refused(values, message, unchecked):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **values)


def test_classes_and_clips_of_another_shape_are_refused(unchecked):
    model, classes = build(), torch.tensor([0, 1])
    for call in (
        lambda: model.infer(clips(), classes),
        lambda: model.generate(model.sample_top(2), classes),
        lambda: model.loss({"clips": clips(), "classes": classes}, 0),
    ):
        with pytest.raises(ValueError, match="HMVAE knows no classes, and 2 are given"):
            call()
    with pytest.raises(ValueError, match=r"clips have shape \(2, 7, 5, 3\); expected \(batch, 8, 5, 3\)"):
        model.infer(torch.zeros(2, 7, 5, 3))
