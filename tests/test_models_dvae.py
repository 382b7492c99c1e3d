"""Discrete VAE: the baseline with the same trunk."""

import math
from dataclasses import replace

import pytest
import torch
from moving_bar import moving_bar

from motionkit.models import vqgan
from motionkit.models.dvae import DVAE, PAPER_2D_DVAE_F8_2048, PAPER_3D_DVAE_F8_2048, DVAEConfig
from motionkit.training import TrainConfig, fit

TINY = DVAEConfig(widths=(8, 8, 16), num_downsamples=2, encoder_blocks=1, decoder_blocks=1, num_codes=16, code_dim=8)


def build(config):
    torch.manual_seed(0)
    return DVAE(config)


@pytest.mark.parametrize(
    ("config", "vq"),
    [(PAPER_2D_DVAE_F8_2048, vqgan.PAPER_2D_F8_512), (PAPER_3D_DVAE_F8_2048, vqgan.PAPER_3D_F8_1024)],
)
def test_published_rows_share_the_trunk_of_the_vqgan(config, vq):
    with torch.device("meta"):
        model, other = DVAE(config), vqgan.VQGAN(vq)
        logits = model.logits(model.encoder(torch.empty(1, config.in_channels, 64, 128, 128)))
    assert config.num_codes == 2048
    assert logits.shape == (1, 2048, 8, 16, 16)
    for part in ("encoder", "decoder"):
        shapes = [[p.shape for p in getattr(m, part).parameters()] for m in (model, other)]
        assert shapes[0] == shapes[1]


def test_small_models_compare_like_with_like():
    sizes = {"widths": (8, 16, 16), "encoder_blocks": 1, "decoder_blocks": 1, "code_dim": 8, "halving_stem": True}
    with torch.device("meta"):
        model, other = DVAE(DVAEConfig(**sizes)), vqgan.VQGAN(vqgan.VQGANConfig(**sizes))
    for part in ("encoder", "decoder"):
        shapes = [{name: p.shape for name, p in getattr(m, part).named_parameters()} for m in (model, other)]
        assert shapes[0] == shapes[1]
    assert model.encoder.first.stride == (2, 2, 2)


@pytest.mark.parametrize("num_downsamples", [2, 3, 4, 5])
def test_shapes(num_downsamples):
    factor = 2**num_downsamples
    model = build(replace(TINY, widths=(8,) * 5, num_downsamples=num_downsamples, in_channels=2, out_channels=3))
    result = model.reconstruct(torch.rand(1, 2, 32, 32, 64))
    assert result.output.shape == (1, 3, 32, 32, 64)
    assert result.tokens.shape == (1, 32 // factor, 32 // factor, 64 // factor)
    assert result.q_loss is None


def test_reconstruct_is_decode_of_encode():
    model = build(TINY)
    result = model.reconstruct(moving_bar())
    assert torch.equal(result.tokens, model.encode(moving_bar()))
    assert torch.equal(result.output, model.decode(result.tokens))


def test_overfits_one_batch_with_hard_tokens():
    clips, model = moving_bar(), build(TINY)
    optimizer = torch.optim.Adam(model.players()["generator"], lr=5e-3)
    for step in range(80):
        optimizer.zero_grad()
        model.loss(clips, step)["loss/generator"].backward()
        optimizer.step()
    assert (model.reconstruct(clips).output - clips).square().mean() < 0.5 * clips.square().mean()


def test_temperature_falls_to_its_end():
    model = build(replace(TINY, temperature=2.0, final_temperature=0.5, temperature_steps=4))
    assert [model.temperature(step) for step in (0, 1, 2, 4, 1000)] == pytest.approx([2.0, 2**0.5, 1.0, 0.5, 0.5])
    assert build(TINY).temperature(100_000) == pytest.approx(math.exp(-0.1))  # the default is slow


def test_divergence_from_uniform_by_hand():
    """Equal logits: 0. One certain code of 16: log 16."""
    model = build(replace(TINY, kl_weight=0.5))
    torch.nn.init.zeros_(model.logits.linear.weight)
    torch.nn.init.zeros_(model.logits.linear.bias)
    losses = model.loss(moving_bar(), 0)
    assert losses["kl"].item() == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        model.logits.linear.bias[3] = 100
    losses = model.loss(moving_bar(), 0)
    assert losses["kl"].item() == pytest.approx(math.log(16), rel=1e-5)
    torch.testing.assert_close(losses["loss/generator"].detach(), losses["reconstruction"] + 0.5 * losses["kl"])
    assert losses["perplexity"].item() == pytest.approx(1)
    assert (model.encode(moving_bar()) == 3).all()


def test_every_parameter_learns_and_metrics_are_detached():
    model = build(replace(TINY, kl_weight=0.1))
    losses = model.loss(moving_bar(), 0)
    losses["loss/generator"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert [name for name, value in losses.items() if value.requires_grad] == ["loss/generator"]


def test_noise_comes_from_the_global_generator():
    model, clips = build(TINY), moving_bar()
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append(model.loss(clips, 0)["loss"].item())
    assert values[0] == values[1] != values[2]


def test_wrong_clips_are_refused_with_their_shape():
    with pytest.raises(ValueError, match=r"\(2, 1, 8, 16, 18\): expected \(B, 1, T, H, W\)"):
        build(TINY).loss(torch.zeros(2, 1, 8, 16, 18), 0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_downsamples": 0}, "num_downsamples must be 1 to 5"),
        ({"final_temperature": 2.0}, "got 2.0"),
        ({"num_codes": 1}, "num_codes must be at least 2, got 1"),
        ({"code_dim": 0}, "code_dim must be at least 1, got 0"),
    ],
)
def test_impossible_configurations_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        DVAEConfig(**values)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    def batches(index):
        return moving_bar(frames=4).roll(index, -1)

    settings = {"lr": 1e-3, "schedule": "constant", "progress": "off", "checkpoint_every": 2}
    whole, first, second = (build(replace(TINY, temperature_steps=4)) for _ in range(3))
    fit(whole, batches, TrainConfig(4, **settings))
    fit(first, batches, TrainConfig(2, **settings), checkpoint_dir=tmp_path)
    assert fit(second, batches, TrainConfig(4, **settings), checkpoint_dir=tmp_path).resumed_from == 2
    for (name, a), b in zip(whole.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
