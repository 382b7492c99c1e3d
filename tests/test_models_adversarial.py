"""The adversarial part of a training: its schedule, and that a generator feels nothing of it before its time."""

from dataclasses import replace

import pytest
import torch
from moving_bar import moving_bar
from torch import nn

from motionkit.models.adversarial import Injected, adaptive_weight, adversarial_losses, adversarial_strength
from motionkit.models.vqgan import VQGAN, VQGANConfig
from motionkit.training import History, TrainConfig, fit

PLAIN = VQGANConfig(
    widths=(8, 8, 16),
    num_downsamples=2,
    encoder_blocks=1,
    decoder_blocks=1,
    num_codes=16,
    code_dim=8,
    quantizer="ema",
    perceptual="none",
    discriminator_widths=(4, 8, 8, 8),
    adversarial_start=None,
)
QUIET = {"device": "cpu", "progress": "off", "lr": 3e-3}


def build(config, seed=0):
    torch.manual_seed(seed)
    return VQGAN(config)


def clips(index):
    return moving_bar().roll(index, 4)


def generator_state(model):
    return {name: t for name, t in model.state_dict().items() if not name.startswith("discriminator")}


def convolutions(model):
    return [layer for layer in model.discriminator.layers if isinstance(layer, nn.Conv3d)]


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name


@pytest.mark.parametrize(
    ("start", "warmup", "ramp", "expected"),
    [
        (None, 0, 0, [None] * 6),
        (2, 0, 0, [None, None, 1, 1, 1, 1]),
        (0, 0, 4, [0.25, 0.5, 0.75, 1, 1, 1]),
        (1, 3, 0, [None, 0, 0, 0, 1, 1]),
        (1, 1, 2, [None, 0, 0.5, 1, 1, 1]),
    ],
)
def test_schedules_by_hand(start, warmup, ramp, expected):
    assert [adversarial_strength(step, start, warmup, ramp) for step in range(6)] == expected


def test_the_generator_feels_nothing_while_the_discriminator_warms_up():
    """Bit for bit: a warm-up that lasts to the end leaves the generator of a run without any adversary."""
    without = build(PLAIN)
    warming = build(replace(PLAIN, adversarial_start=2, adversarial_warmup=10))
    begun = [layer.weight.detach().clone() for layer in convolutions(warming)]
    fit(without, clips, TrainConfig(num_steps=8, **QUIET))
    records = fit(warming, clips, TrainConfig(num_steps=8, log_every=1, **QUIET)).records
    assert_equal(generator_state(warming), generator_state(without))
    assert all(not torch.equal(layer.weight, t) for layer, t in zip(convolutions(warming), begun, strict=True))
    assert ["adversarial_weight" in r for r in records] == [False] * 2 + [True] * 6
    assert {r["adversarial_weight"] for r in records[2:]} == {0.0}


def test_a_factor_of_zero_is_no_adversary_watched_all_the_same():
    without = build(PLAIN)
    resting = build(replace(PLAIN, adversarial_start=2, adversarial_factor=0.0, guard_window=2))
    fit(without, clips, TrainConfig(num_steps=6, **QUIET))
    records = fit(resting, clips, TrainConfig(num_steps=6, log_every=1, **QUIET)).records
    assert_equal(generator_state(resting), generator_state(without))
    assert not any("adversarial" in r for r in records)
    assert [r["step"] for r in records if r["split"] == "guard"] == [2, 4, 6]


def test_a_warmed_up_discriminator_tells_from_the_first_moment_and_a_fresh_one_does_not():
    first = {}
    for warmup in (0, 40):
        model = build(replace(PLAIN, adversarial_start=20, adversarial_warmup=warmup))
        fit(model, clips, TrainConfig(num_steps=20 + warmup, **QUIET))
        values = model.train().loss(clips(0), 20 + warmup)  # the first in which the generator feels it
        assert values["adversarial_weight"] > 0
        first[warmup] = (values["logit_real"] - values["logit_fake"]).item()
    assert first[40] > 0.5 > abs(first[0])


def test_the_ramp_scales_the_generators_term_and_not_the_discriminators():
    batch, values = clips(0), {}
    for ramp in (0, 4):
        model = build(replace(PLAIN, adversarial_start=0, adversarial_ramp=ramp))
        model.loss(batch, 0)["loss/generator"].backward(inputs=[model.last_layer])
        values[ramp] = model.loss(batch, 0), model.last_layer.grad
    never = build(PLAIN)
    never.loss(batch, 0)["loss/generator"].backward(inputs=[never.last_layer])
    full, quarter = (values[ramp][0] for ramp in (0, 4))
    torch.testing.assert_close(quarter["adversarial_weight"], 0.25 * full["adversarial_weight"])
    torch.testing.assert_close(quarter["loss/discriminator"], full["loss/discriminator"])
    pull = [values[ramp][1] - never.last_layer.grad for ramp in (0, 4)]
    torch.testing.assert_close(pull[1], 0.25 * pull[0], rtol=1e-3, atol=1e-6)


def test_another_generator_can_use_it():
    """output = w x, D(x) = mean of v x: every number by hand."""
    w, x, v = torch.tensor([5.0], requires_grad=True), torch.tensor([1.0, 2.0]), nn.Parameter(torch.tensor([0.0, 2.0]))

    class Judge(nn.Module):
        def forward(self, clip):
            return (v * clip).sum()

    output = w * x
    leaf = output.detach().requires_grad_()
    rest = {"scale": 1.0, "cap": 1e4, "factor": 0.5}
    loss, push, losses = adversarial_losses(
        Judge(), output, torch.zeros(2), w, leaf, torch.tensor([3.0, 0.0]), strength=0.5, **rest
    )
    weight = 0.5 * 0.5 * 3 / 4.0001  # pulls at w: 3 by reconstruction, 2 * 2 by the judge
    assert losses["adversarial_weight"].item() == pytest.approx(weight)
    assert loss.item() == pytest.approx(-20 * weight)
    assert push.tolist() == pytest.approx([0.0, -2 * weight])
    assert losses["loss/discriminator"].item() == pytest.approx(0.5 * (1 + 21))
    Injected.apply(output, loss, push).backward()
    assert w.grad.item() == pytest.approx(-4 * weight)
    pulled = adaptive_weight(w * x, w, torch.tensor([3.0, 0.0]), torch.tensor([0.0, -2.0]), 1.0, 1e4)
    assert weight == pytest.approx(0.25 * pulled.item())


def test_a_ruinous_adversary_is_dismissed_by_its_guard(tmp_path):
    """One that pulls a thousand times too strongly ruins a run; the guarded one ends near that without."""
    start = 40
    settings = {"adversarial_start": start, "adversarial_weight": 1000.0, "guard_window": 10, "guard_tolerance": 0.2}
    train = TrainConfig(num_steps=90, log_every=5, **QUIET)
    errors = {}
    for name, changes in {
        "never": {},
        "ruined": settings,
        "guarded": {**settings, "on_harm": "return"},
    }.items():
        model = build(replace(PLAIN, **changes))
        explode_factor = None if name == "ruined" else 1e3  # else it would be stopped
        history = fit(model, clips, replace(train, explode_factor=explode_factor), checkpoint_dir=tmp_path / name)
        errors[name] = (model.reconstruct(clips(0)).output - clips(0)).abs().mean().item()
    assert errors["ruined"] > 2 * errors["never"]
    assert errors["guarded"] < 1.2 * errors["never"]
    (returned,) = (r for r in history.records if "returned_to" in r)
    assert (returned["split"], returned["step"], returned["returned_to"]) == ("guard", start + 10, start)
    assert returned["harm"] > 1.2
    last = [r for r in history.records if r["split"] == "train"][-1]
    assert "adversarial" not in last
    assert model.adversarial_strength(10**6) is None
    assert History.read(tmp_path / "guarded").records == history.records
