"""The conventional VAE of clips: the size of its public program, a loss that is a bound, batch norm, and training."""

import math
from dataclasses import replace

import pytest
import torch

from motionkit.models.clip_nodes import ClipNodes
from motionkit.models.elbo import log_evidence
from motionkit.models.gaussian import LOG_VAR_RANGE, Gaussian
from motionkit.models.motion_vae import MotionVAE, MotionVAEConfig
from motionkit.training import TrainConfig, fit

TINY = MotionVAEConfig(3, 8, hidden=(20, 10), latent_dim=5)


def build(config=TINY):
    """In eval mode, with running statistics that are not those of a new model."""
    torch.manual_seed(0)
    model = MotionVAE(config)
    for _ in range(20):
        model.infer(clips(8).flip(0))
    return model.eval()


def clips(count=2, config=TINY):
    shape = (count, config.num_frames, config.num_joints, 3)
    return torch.linspace(-1, 1, math.prod(shape)).reshape(shape).sin()


def test_it_has_as_many_parameters_as_the_public_program():
    with torch.device("meta"):
        assert sum(p.numel() for p in MotionVAE(MotionVAEConfig()).parameters()) == 21_344_900


@pytest.mark.parametrize("likelihood", ["frames", "frequencies"])
def test_shapes(likelihood):
    model, x = build(replace(TINY, likelihood=likelihood)), clips(2)
    seen = model.infer(x)
    assert [tuple(z.shape) for z in seen.latents] == [(1, 2, 5)]
    assert seen.posteriors[0].mean.shape == seen.priors[0].mean.shape == (1, 2, 5)
    assert seen.output.mean.shape == seen.output.log_var.shape == x.shape
    assert seen.output.is_spectral == (likelihood == "frequencies")
    assert model.generate(model.sample_top(3)).mean.shape == (3, 8, 3, 3)
    assert model.loss({"clips": x}, 1).keys() == model.loss(x, 1).keys()


@pytest.mark.parametrize("is_spectral", [False, True])
def test_clips_become_nodes_and_come_back(is_spectral, tolerance):
    x, nodes = clips(5), ClipNodes(3, 8, is_spectral)
    seen = nodes(x)
    torch.testing.assert_close(seen[5, :, 0], x[:, :, 1, 2].sum(1) / math.sqrt(8), **tolerance())
    nodes.standardize(x)
    torch.testing.assert_close(nodes(x).mean(1), torch.zeros(9, 8), **tolerance())
    torch.testing.assert_close(nodes(x).std(1), torch.ones(9, 8), **tolerance())
    back = nodes.clips(Gaussian(nodes(x), torch.arange(9 * 5 * 8.0).view(9, 5, 8)))
    torch.testing.assert_close(back.mean, x, **tolerance())
    variance = seen.var(1)
    scaled = (variance if is_spectral else variance.mean(1, keepdim=True).expand(9, 8)).log()
    torch.testing.assert_close(back.log_var[2, 3, 1, 2], torch.tensor(5 * 40 + 2 * 8 + 3.0) + scaled[5, 3])
    assert nodes.state_dict().keys() == {"center", "scale"}  # saved with the weights


def test_each_number_of_the_output_stands_where_it_stands_in_the_input():
    """With layers that let everything pass, a clip comes back."""
    model, x = build(replace(TINY, hidden=(72,), latent_dim=72)), clips(2)
    model.encoder, model.decoder = torch.nn.Identity(), torch.nn.Identity()
    with torch.no_grad():
        for head in (model.latent, model.out):
            head.mean.weight.copy_(torch.eye(72))
            head.log_var.weight.zero_()
            head.log_var.bias.fill_(-100)
            head.mean.bias.zero_()
    assert (model.infer(x).output.mean - x).abs().max() < 1e-3
    assert torch.equal(model.infer(x).output.log_var, torch.full(x.shape, LOG_VAR_RANGE[0]))


def test_latents_are_means_and_the_output_is_left_out_where_asked(unchecked):
    model, x = build(), clips()
    seen = [model.infer(x, is_drawn=False, has_output=has_output) for has_output in (True, False)]
    assert torch.equal(seen[0].latents[0], seen[0].posteriors[0].mean)
    assert torch.equal(seen[0].latents[0], seen[1].latents[0])
    assert seen[1].output is None


def test_standardized_clips_are_the_same_in_any_unit():
    """In mm the network sees the same; what comes back is in mm."""
    x, found = clips(6), []
    for unit in (1.0, 1000.0):
        model = build(replace(TINY, likelihood="frequencies"))
        model.nodes.standardize(unit * x)
        found.append(model.infer(unit * x, is_drawn=False))
    torch.testing.assert_close(found[1].posteriors[0].mean, found[0].posteriors[0].mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[1].output.mean, 1000 * found[0].output.mean, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(found[1].output.variance(), 1e6 * found[0].output.variance(), rtol=1e-3, atol=1e-3)


def test_batch_statistics_in_training_running_ones_after_it():
    model, x = build(), clips(4)
    alone, among = (model.infer(part).posteriors[0].mean[:, :2] for part in (x[:2], x))
    torch.testing.assert_close(alone, among)
    model.train()
    alone, among = (model.infer(part).posteriors[0].mean[:, :2] for part in (x[:2], x))
    assert (alone - among).abs().max() > 0.01


def test_the_loss_is_the_mean_log_weight_of_draws_and_bounded_by_the_evidence():
    """The bound is the mean of what ``log_evidence`` tells of draws; test_metrics_scores has what that leads to."""
    model, x = build(), clips(1).expand(4000, -1, -1, -1)
    with torch.no_grad():
        weights = log_evidence(model.infer(x), x)
        bound = -model.loss(x, 1)["loss"]
    spread = weights.std() / math.sqrt(len(weights))
    assert abs(weights.mean() - bound) < 5 * spread
    assert torch.logsumexp(weights, 0) - math.log(len(weights)) > bound


def test_the_divergence_warms_up_in_a_line():
    model = build(replace(TINY, kl_start=0.2, kl_steps=4))
    assert [round(model.kl_weight(step), 6) for step in (0, 2, 4, 9)] == [0.2, 0.6, 1.0, 1.0]


def test_it_learns_a_batch_by_heart():
    torch.manual_seed(0)
    model, x = MotionVAE(TINY), clips(8)
    before = model.loss(x, 1)
    fit(model, lambda _: x, TrainConfig(200, lr=1e-2, schedule="constant", clip_norm=100.0, progress="off"))
    after = model.train().loss(x, 1)  # running statistics lag behind a constant rate
    assert after["mse"] < 0.05 * before["mse"]
    assert after["log_likelihood"] > before["log_likelihood"] + 50


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_joints": 0}, "num_joints must be at least 1, got 0"),
        ({"latent_dim": 0}, "latent_dim must be at least 1, got 0"),
        ({"kl_steps": 0}, "kl_steps must be at least 1, got 0"),
        ({"hidden": ()}, r"hidden must be one width or more, each at least 1, got \(\)"),
        ({"hidden": (4, 0)}, r"hidden must be one width or more, each at least 1, got \(4, 0\)"),
        ({"likelihood": "pixels"}, "likelihood must be 'frames' or 'frequencies', got 'pixels'"),
        ({"kl_start": 1.5}, "kl_start must be 0 to 1, got 1.5"),
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
        with pytest.raises(ValueError, match="MotionVAE knows no classes, and 2 are given"):
            call()
    with pytest.raises(ValueError, match=r"clips have shape \(2, 7, 3, 3\); expected \(batch, 8, 3, 3\)"):
        model.infer(torch.zeros(2, 7, 3, 3))


def test_one_clip_has_no_variance_to_standardize_by():
    with pytest.raises(ValueError, match="1 clips have no variance; standardize by 2 or more"):
        ClipNodes(3, 8, is_spectral=False).standardize(torch.randn(1, 8, 3, 3))
