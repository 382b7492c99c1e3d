"""Predictors of motion: shapes, a start at zero velocity, no look ahead, what each is built on, and training."""

import math
import re
import sys
from dataclasses import replace

import pytest
import torch

from motionkit.models.predictors import PREDICTORS, build_predictors
from motionkit.models.predictors.conv_predictor import ConvPredictor, ConvPredictorConfig
from motionkit.models.predictors.dct_graph_predictor import PUBLISHED_SIZE, DCTGraphPredictor, DCTGraphPredictorConfig
from motionkit.models.predictors.motion_attention_predictor import (
    LEAST_SCORE,
    PUBLISHED_AMASS,
    MotionAttentionPredictor,
    MotionAttentionPredictorConfig,
)
from motionkit.models.predictors.prediction_loss import prediction_loss
from motionkit.models.predictors.trajectory_graph import TrajectoryGraph, slow_waves
from motionkit.models.predictors.zero_velocity import constant_velocity, zero_velocity
from motionkit.representation.dct import dct
from motionkit.training import TrainConfig, fit

TINY = {
    "convSeq2Seq": ConvPredictorConfig(3, 20, 8, num_recent=10, num_channels=16, hidden_dim=32),
    "LTD": DCTGraphPredictorConfig(3, 20, 8, num_coefficients=14, num_features=32, num_blocks=2),
    "HisRepItself": MotionAttentionPredictorConfig(
        3, 20, 8, kernel=4, num_coefficients=9, attention_dim=16, num_features=32, num_blocks=2
    ),
}
GRAPHS = ("LTD", "HisRepItself")
every = pytest.mark.parametrize("name", PREDICTORS)


def build(name, config=None, *, is_awake=True):
    """A model whose weights that begin at 0, with which it predicts zero velocity, are moved away from it."""
    torch.manual_seed(0)
    config_type, model_type = PREDICTORS[name]
    config = config or TINY[name]
    assert isinstance(config, config_type)
    model = model_type(config)
    with torch.no_grad():
        for parameter in model.parameters() if is_awake else ():
            if not parameter.any():
                parameter.uniform_(-0.3, 0.3)
    return model


def clips(count=2, num_frames=28):
    return torch.linspace(-3, 3, count * num_frames * 9).reshape(count, num_frames, 3, 3).sin()


def waves(count, seed, periods=(12, 18), num_frames=28):
    """Sinusoids whose amplitude, phase and period [frames], a whole number, are drawn; joints lag behind each other.
    And the periods."""
    generator = torch.Generator().manual_seed(seed)
    amplitude, phase = torch.rand(2, count, 1, 1, 1, generator=generator)
    period = torch.randint(periods[0], periods[1] + 1, (count,), generator=generator)
    lag = 0.7 * torch.arange(9).reshape(3, 3)
    turns = torch.arange(num_frames)[:, None, None] / period.view(-1, 1, 1, 1) + phase
    return (0.1 + 0.1 * amplitude) * (2 * math.pi * turns + lag).sin(), period


def mean_distance(model, x):
    context, future = x.split([model.config.num_context, model.config.horizon], 1)
    with torch.no_grad():
        still = zero_velocity(context, model.config.horizon)
        return [(p - future).norm(dim=-1).mean().item() for p in (model(context), still)]


def trained(model, batches, num_steps, lr=1e-2):
    fit(model, batches, TrainConfig(num_steps, lr=lr, schedule="cosine", progress="off"))
    return model


# ---- without a model -------------------------------------------------------------------------------------------------


def test_baselines_are_exact_for_what_they_assume(tolerance):
    line = torch.arange(6.0).view(1, 6, 1, 1) * torch.tensor([1.0, -2.0, 0.5]) + clips(1, 1)
    assert torch.equal(zero_velocity(line[:, :4], 2), line[:, [3, 3]])
    torch.testing.assert_close(constant_velocity(line[:, :4], 2), line[:, 4:], **tolerance())
    still = line[:, :1].expand(-1, 4, -1, -1)
    assert torch.equal(constant_velocity(still, 3), zero_velocity(still, 3))


@pytest.mark.parametrize("baseline", [zero_velocity, constant_velocity])
def test_baselines_move_with_the_body(baseline, tolerance):
    x, shift = clips(), torch.tensor([0.3, -1.0, 2.0])
    torch.testing.assert_close(baseline(x + shift, 5), baseline(x, 5) + shift, **tolerance())


def test_constant_velocity_needs_two_frames(unchecked):
    with pytest.raises(ValueError, match=r"a velocity needs 2 frames or more, got 1 in \(2, 1, 3, 3\)"):
        constant_velocity(clips()[:, :1], 2)


# ---- what all have in common -----------------------------------------------------------------------------------------


@every
def test_a_prediction_has_the_frames_of_the_horizon_and_each_clip_its_own(name, tolerance):
    model, x = build(name), clips(3)[:, :20]
    predicted = model(x)
    assert predicted.shape == (3, 8, 3, 3)
    torch.testing.assert_close(model(x[1:2]), predicted[1:2], **tolerance())


@every
def test_an_untrained_model_predicts_zero_velocity(name):
    model, x = build(name, is_awake=False), clips()
    assert torch.equal(model(x[:, :20]), zero_velocity(x[:, :20], 8))
    model.loss(x, 0)["loss"].backward()
    assert any(p.grad is not None and p.grad.any() for p in model.parameters())  # and can leave it


@every
def test_the_loss_predicts_without_the_frames_to_come(name, monkeypatch):
    model, x = build(name), clips()
    module = sys.modules[type(model).__module__]
    monkeypatch.setattr(module, "prediction_loss", lambda predicted, *_: {"loss": predicted[:, -8:]})
    other = torch.cat([x[:, :20], 5 - x[:, 20:]], 1)
    assert torch.equal(model.loss(x, 0)["loss"], model(x[:, :20]))
    assert torch.equal(model.loss(other, 0)["loss"], model(x[:, :20]))


@every
def test_the_whole_context_counts(name):
    model, x = build(name), clips()[:, :20].clone().requires_grad_()
    model(x).square().sum().backward()
    assert x.grad.abs().sum((0, 2, 3)).all()  # each frame


@every
def test_the_loss_is_the_mean_distance_in_metres(name, tolerance):
    model, x = build(name), clips()
    values = model.loss({"clips": x}, 0)
    distance = mean_distance(model, x)[0]
    torch.testing.assert_close(values["distance"].item(), distance, **tolerance())
    torch.testing.assert_close(values["loss"].item(), distance, **tolerance())
    if name in GRAPHS:
        values = build(name, replace(TINY[name], is_context_counted=True)).loss(x, 0)
        whole = model.whole(x[:, :20])
        assert whole.shape[1] == {"LTD": 28, "HisRepItself": 12}[name]
        torch.testing.assert_close(values["loss"], (whole - x[:, -whole.shape[1] :]).norm(dim=-1).mean())
        torch.testing.assert_close(values["distance"].item(), distance, **tolerance())


def test_distances_are_not_squared(tolerance):
    truth = torch.zeros(1, 3, 1, 3)
    predicted = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]]).view(1, 2, 1, 3)
    values = prediction_loss(predicted, truth, 1)
    assert (values["loss"].item(), values["distance"].item()) == (3.0, 1.0)  # (5 + 1) / 2, and the last


@every
def test_gradients_are_finite_where_nothing_moves(name):
    model, x = build(name), torch.zeros(2, 28, 3, 3)
    model.loss(x, 0)["loss"].backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    still = build(name, is_awake=False)
    still.loss(x, 0)["loss"].backward()  # all distances are 0: a norm has no gradient there
    assert all(p.grad.isfinite().all() for p in still.parameters())


@every
def test_it_learns_a_batch_by_heart(name):
    x = waves(8, 0)[0]
    model = trained(build(name, is_awake=False), lambda _: x, 80)
    learned, still = mean_distance(model, x)
    assert learned < 0.15 * still


@every
def test_it_learns_what_carries_over_to_other_clips(name):
    x, other = waves(256, 0)[0], waves(256, 1)[0]
    model = trained(build(name, is_awake=False), lambda index: x.roll(-32 * index, 0)[:32], 80)
    learned, still = mean_distance(model, other)
    assert learned < 0.3 * still


# ---- what each is built on -------------------------------------------------------------------------------------------


def test_steps_are_added_to_the_last_pose(tolerance):
    model, x = build("convSeq2Seq", is_awake=False), clips()[:, :20]
    step = torch.linspace(-1, 1, 9)
    with torch.no_grad():
        model.decoder[-1].bias.copy_(step)
    expected = x[:, -1:] + torch.arange(1.0, 9).view(-1, 1, 1) * step.view(3, 3)
    torch.testing.assert_close(model(x), expected, **tolerance())


def test_frames_are_predicted_one_after_the_other(tolerance):
    model, x = build("convSeq2Seq"), clips()[:, :20]
    short = ConvPredictor(replace(TINY["convSeq2Seq"], horizon=3))
    short.load_state_dict(model.state_dict())
    torch.testing.assert_close(short(x), model(x)[:, :3], **tolerance())
    # By hand: the summary of the context stays, the short-term encoder's frames move on to what was predicted.
    frames = torch.cat([x, model(x)[:, :4]], 1).flatten(2)
    hidden = torch.cat([model.long(x.flatten(2).mT), model.short(frames[:, -10:].mT)], -1)
    torch.testing.assert_close(frames[:, -1] + model.decoder(hidden), model(x)[:, 4].flatten(1), **tolerance())


def test_a_trajectory_graph_adds_slow_waves_alone():
    torch.manual_seed(0)
    graph, x = TrajectoryGraph(9, 5, 16, 2), clips()
    torch.nn.init.uniform_(graph.last.weight)
    added = dct((graph(x) - x).flatten(2).mT)
    assert added[..., :5].abs().min() > 1e-4
    assert added[..., 5:].abs().max() < 1e-5


def test_stretches_are_what_their_names_say(tolerance):
    """Against a loop over the stretches: kernel 4, horizon 8, so the last of 9 begins at frame 8 and ends at 19."""
    model, x = build("HisRepItself"), clips()[:, :20]
    channels = x.flatten(2).mT
    query = model.query(channels[..., 16:]).squeeze(-1)
    scores = [(query * model.key(channels[..., s : s + 4]).squeeze(-1)).sum(-1) + LEAST_SCORE for s in range(9)]
    weights, values = model.attention(x), model.values(x)
    assert model.config.num_stretches == 9
    torch.testing.assert_close(weights.sum(1), torch.ones(2))
    torch.testing.assert_close(weights, torch.stack(scores, 1) / sum(scores)[:, None], **tolerance())
    for s in range(9):
        torch.testing.assert_close(values[:, :, s], slow_waves(x[:, s : s + 12] - x[:, 19:], 9), **tolerance())


def test_what_followed_the_same_frames_is_what_will_come(tolerance):
    x, _ = waves(4, 0, periods=(10, 10))
    values = build("HisRepItself").values(x[:, :20])
    expected = slow_waves(x[:, 16:] - x[:, 19:20], 9)
    torch.testing.assert_close(values[:, :, 16 - 10], expected, rtol=1e-4, atol=1e-5)


def test_attention_learns_to_find_the_repeat():
    """The right stretch begins one period before the last frames. Neighbors, a frame off, are nearly as good."""
    config = replace(TINY["HisRepItself"], num_context=24, horizon=12, kernel=6, num_coefficients=12)
    (x, _), (other, periods) = waves(256, 0, num_frames=36), waves(256, 1, num_frames=36)
    right = 24 - 6 - periods
    model = build("HisRepItself", config, is_awake=False)
    before = model.attention(other[:, :24])
    trained(model, lambda index: x.roll(-32 * index, 0)[:32], 150)
    after = model.attention(other[:, :24])
    shares = [((weights.argmax(1) - right).abs() <= 1).float().mean() for weights in (before, after)]
    assert shares[0] < 0.5
    assert shares[1] > 0.75
    assert after.gather(1, right[:, None]).mean() > 1.5 / 7  # 7 stretches


def test_attention_is_even_where_nothing_is_like_anything():
    weights = build("HisRepItself").attention(torch.zeros(2, 20, 3, 3))
    assert torch.equal(weights, torch.full((2, 9), 1 / 9))


# ---- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_type", "config", "count"),
    [
        (ConvPredictor, ConvPredictorConfig(), 238_902),
        (DCTGraphPredictor, DCTGraphPredictorConfig(), 111_572),
        (DCTGraphPredictor, PUBLISHED_SIZE, 1_675_868),
        (MotionAttentionPredictor, MotionAttentionPredictorConfig(), 196_399),
        (MotionAttentionPredictor, PUBLISHED_AMASS, 2_503_511),
    ],
)
def test_numbers_of_parameters(model_type, config, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in model_type(config).parameters()) == count


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        *((name, {"num_joints": 0}, "num_joints must be at least 1, got 0") for name in PREDICTORS),
        *((name, {"horizon": 0}, "horizon must be at least 1, got 0") for name in PREDICTORS),
        *((name, {"num_blocks": -1}, "num_blocks must be at least 1, got -1") for name in GRAPHS),
        ("convSeq2Seq", {"num_recent": 21}, "num_recent must be at most num_context 20, got 21"),
        ("LTD", {"num_coefficients": 29}, "num_coefficients must be at most num_context + horizon, 28, got 29"),
        ("HisRepItself", {"num_coefficients": 13}, "num_coefficients must be at most kernel + horizon, 12, got 13"),
        ("HisRepItself", {"kernel": 13}, "num_context must be at least kernel + horizon, 21, got 20"),
    ],
)
def test_impossible_configurations_are_refused(name, values, message, unchecked):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        replace(TINY[name], **values)


@every
def test_clips_of_another_shape_are_refused(name, unchecked):
    model = build(name)
    with pytest.raises(ValueError, match=r"clips have shape \(2, 28, 3, 3\); expected \(batch, 20, 3, 3\)"):
        model(clips())
    with pytest.raises(ValueError, match=r"clips have shape \(2, 20, 3, 3\); expected \(batch, 28, 3, 3\)"):
        model.loss(clips()[:, :20], 0)


def test_all_are_built_of_three_numbers_and_the_seed():
    built = build_predictors(3, 40, 8, seed=1)
    assert list(built) == list(PREDICTORS)
    still = zero_velocity(clips(num_frames=40), 8)
    for name, model in built.items():
        assert (model.config.num_joints, model.config.num_context, model.config.horizon) == (3, 40, 8)
        torch.testing.assert_close(model(clips(num_frames=40)), still, atol=1e-5, rtol=0)
        again = build_predictors(3, 40, 8, seed=1)[name].state_dict()
        assert all(torch.equal(weight, again[key]) for key, weight in model.state_dict().items())
