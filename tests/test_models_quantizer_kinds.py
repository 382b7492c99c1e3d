"""What all kinds of quantizers have in common, and what is particular to residual, relaxed and fixed codes."""

import math
from typing import get_args

import pytest
import torch
from moving_bar import moving_bar

from motionkit.models.quantizers import (
    EMACodebook,
    FiniteScalars,
    GumbelCodebook,
    LookupFree,
    Quantizer,
    QuantizerKind,
    ResidualCodebooks,
    build_quantizer,
    levels_for,
)
from motionkit.models.quantizers.fixed import entropies
from motionkit.models.vqgan import VQGAN, VQGANConfig
from motionkit.training import TrainConfig, fit

KINDS = get_args(QuantizerKind)
FIXED = ("fsq", "lfq")


def build(kind, num_codes=16, dim=4, seed=0, **settings):
    torch.manual_seed(seed)
    return build_quantizer(kind, num_codes, dim, **({"depth": 3} | settings))


def latents(batch=2, dim=4, grid=(2, 3, 5), seed=0):
    return torch.randn(batch, dim, *grid, generator=torch.Generator().manual_seed(seed))


def model_of(kind):
    torch.manual_seed(0)
    sizes = {"widths": (8, 16), "num_downsamples": 1, "encoder_blocks": 1, "decoder_blocks": 1, "code_dim": 8}
    losses = {"l1_weight": 0.0, "l2_weight": 1.0, "perceptual": "none", "adversarial_start": None}
    kind_only = {"quantizer_depth": 2, "temperature_steps": 60, "commitment_weight": 0.1 if kind == "lfq" else 1.0}
    return VQGAN(VQGANConfig(**sizes, **losses, **kind_only, num_codes=64, quantizer=kind))


# ---- all kinds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [(), (7,), (2, 3, 5)])
@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_in_range_and_stand_for_what_is_decoded(kind, grid):
    quantizer = build(kind)
    z = latents(grid=grid)
    with torch.no_grad():
        quantized = quantizer(z)
    assert isinstance(quantizer, Quantizer)
    assert quantized.tokens.dtype == torch.int64
    assert quantized.tokens.shape == (2, *grid, *((3,) if kind == "residual" else ()))
    assert quantized.tokens.min() >= 0
    assert quantized.tokens.max() < quantizer.num_codes == 16
    assert torch.equal(quantizer.codes(quantized.tokens).movedim(-1, 1), quantized.z_q)
    assert quantizer.bits_per_cell == (12 if kind == "residual" else 4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_loss_is_a_finite_scalar_and_gradients_reach_latents_and_parameters(kind):
    quantizer = build(kind)
    z = latents().requires_grad_()
    quantized = quantizer(z)
    assert quantized.loss.shape == quantized.codebook_loss.shape == quantized.perplexity.shape == ()
    assert 1 <= quantized.perplexity <= 16
    assert all(not value.requires_grad for value in quantized.extra.values())
    weights = torch.linspace(-1, 1, z.numel()).reshape(z.shape)
    ((quantized.z_q * weights).sum() + quantized.loss).backward()
    assert z.grad.isfinite().all()
    assert z.grad.abs().sum() > 0
    for name, parameter in quantizer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_taken_and_computed_with_in_single(kind):
    """The latents of autocast are bfloat16: quantized as their values in single precision are."""
    quantizer = build(kind).eval()
    z = latents().bfloat16()
    expected = quantizer(z.float())
    with torch.autocast("cpu", torch.bfloat16):
        quantized = quantizer(z)
    assert torch.equal(quantized.tokens, expected.tokens)
    assert quantized.z_q.dtype == torch.float32
    assert torch.equal(quantized.z_q, expected.z_q)


@pytest.mark.parametrize("kind", KINDS)
def test_inference_mode_changes_nothing(kind):
    quantizer = build(kind)
    before = {name: tensor.clone() for name, tensor in quantizer.state_dict().items()}
    with torch.inference_mode():
        quantized = quantizer(latents())
        quantizer.codes(quantized.tokens)
    assert all(torch.equal(tensor, before[name]) for name, tensor in quantizer.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_channels_are_named(kind):
    with pytest.raises(ValueError, match=r"\(2, 5, 3\) need 4 channels"):
        build(kind)(torch.zeros(2, 5, 3))


@pytest.mark.parametrize(
    ("kind", "num_codes", "settings", "message"),
    [
        ("kmeans", 16, {}, "got 'kmeans'"),
        ("ema", 1, {}, "num_codes must be at least 2, got 1"),
        ("fsq", 48, {}, "power of two.*got 48"),
        ("lfq", 500, {}, "power of two.*got 500"),
        ("residual", 16, {"depth": 0}, "depth must be at least 1, got 0"),
        ("gumbel", 16, {"final_temperature": 2.0}, "got 2.0"),
    ],
)
def test_impossible_settings_are_refused(kind, num_codes, settings, message, unchecked):
    with pytest.raises(ValueError, match=message):
        build(kind, num_codes, **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_decodes_its_tokens_to_its_reconstruction(kind):
    model = model_of(kind)
    result = model.reconstruct(moving_bar())
    assert torch.equal(result.tokens, model.encode(moving_bar()))
    assert torch.equal(result.output, model.decode(result.tokens))
    assert (result.q_error is None) == (kind in ("gumbel", *FIXED))


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_learns_one_batch(kind):
    """Its tokens tell where the bar is: better than the best constant picture and than the mean over time."""
    clips, model = moving_bar(), model_of(kind)
    fit(model, lambda _: clips, TrainConfig(60, lr=5e-3, progress="off"))
    result = model.reconstruct(clips)
    error = (result.output - clips).square().mean()
    assert error < 0.85 * (clips.mean((0, 2), keepdim=True) - clips).square().mean()
    assert len(result.tokens.unique()) > 8


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_equals_an_uninterrupted_one(kind, tmp_path):
    def batches(index):
        return moving_bar(frames=4).roll(index, -1)

    settings = {"lr": 1e-3, "schedule": "constant", "progress": "off", "checkpoint_every": 2}
    whole, halves = model_of(kind), model_of(kind)
    fit(whole, batches, TrainConfig(4, **settings))
    fit(halves, batches, TrainConfig(2, **settings), checkpoint_dir=tmp_path)
    halves = model_of(kind)
    history = fit(halves, batches, TrainConfig(4, **settings), checkpoint_dir=tmp_path)
    assert history.resumed_from == 2
    for (name, a), b in zip(whole.state_dict().items(), halves.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("kind", ["ema", "residual"])
def test_accumulation_equals_the_joined_batch(kind, tolerance):
    whole, parts = (build(kind, restart_below=0.0) for _ in range(2))
    z = latents(batch=4)
    whole(z)
    parts(z[:1])
    parts(z[1:])
    for quantizer in (whole, parts):
        quantizer.update()
    for (name, a), b in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
        if "recent" not in name:  # drawn by chance
            torch.testing.assert_close(a, b, **tolerance(), msg=name)


# ---- residual ------------------------------------------------------------------------------------------------------


def test_residual_codebooks_by_hand():
    """Codes 0, 10 and then -1, 2: 9.5 is 10 - 1 and 2.5 is 0 + 2; squared errors .25 at both depths, then 6.25."""
    quantizer = ResidualCodebooks(2, 1, depth=2, commitment_weight=0.5)
    for book, codes in zip(quantizer.books, ([[0.0], [10.0]], [[-1.0], [2.0]]), strict=True):
        book.codebook.copy_(torch.tensor(codes))
    z = torch.tensor([[[9.5, 2.5]]], requires_grad=True)
    quantized = quantizer(z)
    assert quantized.tokens.tolist() == [[[1, 0], [0, 1]]]
    assert quantized.z_q.tolist() == [[[9.0, 2.0]]]
    assert quantized.commitment_loss.item() == (0.25 + 6.25) / 2 + (0.25 + 0.25) / 2
    assert quantized.loss.item() == 0.5 * 3.5
    quantized.loss.backward()
    assert z.grad.tolist() == [[[0.5 * (-0.5 + 0.5), 0.5 * (2.5 + 0.5)]]]
    assert quantizer.codes(torch.tensor([[1], [0]])).tolist() == [[10.0], [0.0]]  # the first depth alone
    with pytest.raises(ValueError, match=r"\(1, 3\): the last axis is the depth, 1 to 2"):
        quantizer.codes(torch.zeros(1, 3, dtype=torch.int64))


def test_one_residual_codebook_is_a_moving_average_codebook():
    one, plain = ResidualCodebooks(8, 4, depth=1), EMACodebook(8, 4)
    plain.load_state_dict(one.books[0].state_dict())
    for seed in range(3):
        for quantizer in (one, plain):
            torch.manual_seed(seed)
            quantizer.last = quantizer(latents(seed=seed))
            quantizer.update()
        assert torch.equal(one.last.tokens[..., 0], plain.last.tokens)
        assert torch.equal(one.last.z_q, plain.last.z_q)
        assert torch.equal(one.last.loss, plain.last.loss)
    assert torch.equal(one.books[0].codebook, plain.codebook)


def test_each_depth_brings_the_codes_nearer():
    torch.manual_seed(0)
    quantizer, z = ResidualCodebooks(16, 4, depth=3), latents(batch=8)
    for _ in range(10):
        tokens = quantizer(z).tokens
        quantizer.update()
    rows = z.movedim(1, -1)
    tokens = quantizer.eval()(z).tokens
    errors = [(quantizer.codes(tokens[..., :depth]) - rows).square().mean().item() for depth in (1, 2, 3)]
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]


# ---- relaxed -------------------------------------------------------------------------------------------------------


def test_the_temperature_falls_with_updates_and_travels_with_the_state():
    quantizer = GumbelCodebook(4, 2, temperature=2.0, final_temperature=0.5, temperature_steps=4)
    seen = []
    for _ in range(6):
        seen.append(quantizer.temperature.item())
        quantizer.update()
    assert seen == pytest.approx([2.0, 2**0.5, 1.0, 2**-0.5, 0.5, 0.5])
    other = GumbelCodebook(4, 2, temperature=2.0, final_temperature=0.5, temperature_steps=4)
    other.load_state_dict(quantizer.state_dict())
    assert torch.equal(other.temperature, quantizer.temperature)


def test_cold_mixtures_of_sure_cells_are_their_codes_and_training_alone_mixes(tolerance):
    z = 50 * torch.eye(4)[None, :, [2, 0, 3]]
    cold = GumbelCodebook(4, 4, temperature=0.1, final_temperature=0.1)
    with torch.no_grad():
        cold.logits.weight.copy_(torch.eye(4))
        cold.logits.bias.zero_()
    torch.testing.assert_close(cold(z).z_q, cold.codes(torch.tensor([[2, 0, 3]])).movedim(-1, 1), **tolerance())
    warm = build("gumbel")
    assert not torch.equal(warm(latents()).z_q, warm(latents()).z_q)  # noise
    warm.eval()
    assert torch.equal(warm(latents()).z_q, warm(latents()).z_q)


def test_divergence_from_uniform_by_hand():
    quantizer = GumbelCodebook(4, 2, kl_weight=0.5)
    torch.nn.init.zeros_(quantizer.logits.weight)
    torch.nn.init.zeros_(quantizer.logits.bias)
    assert quantizer(torch.ones(1, 2, 3)).loss.item() == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        quantizer.logits.bias[1] = 100
    quantized = quantizer(torch.ones(1, 2, 3))
    assert quantized.loss.item() == pytest.approx(0.5 * math.log(4))
    assert quantized.tokens.tolist() == [[1, 1, 1]]


# ---- fixed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(1, 13))
def test_levels_multiply_to_the_codes(bits):
    levels = levels_for(2**bits)
    assert math.prod(levels) == 2**bits
    assert set(levels) <= ({2, 4, 8} if bits == 1 else {4, 8})
    assert list(levels) == sorted(levels, reverse=True)


def plain(quantizer):
    """Linear maps that copy the numbers: what is left is the rounding."""
    for layer in (quantizer.down, quantizer.up):
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return quantizer


def test_finite_scalars_by_hand():
    """8 x 4 levels: sevenths and thirds from -1 to 1, the first number is the lowest digit."""
    quantizer = plain(FiniteScalars(32, 2))
    z = torch.tensor([[-1e9, -1e9], [1e9, 1e9], [math.atanh(0.16), math.atanh(-0.3)]]).T[None]
    quantized = quantizer(z)
    assert quantized.tokens.tolist() == [[0, 31, 4 + 8 * 1]]
    expected = torch.tensor([[-1, -1], [1, 1], [1 / 7, -1 / 3]]).T[None]
    torch.testing.assert_close(quantized.z_q.detach(), expected)
    assert quantized.loss == 0
    assert quantizer.codes(torch.arange(32)).unique(dim=0).shape == (32, 2)


def test_signs_by_hand():
    quantizer = plain(LookupFree(8, 3, commitment_weight=0.5, entropy_weight=0.0))
    quantized = quantizer(torch.tensor([[0.5, -2.0, 3.0]])[..., None])
    assert quantized.tokens.tolist() == [[0b101]]
    assert quantized.z_q.flatten().tolist() == [1, -1, 1]
    assert quantized.loss.item() == pytest.approx(0.5 * (0.25 + 1 + 4) / 3)


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_entropies_against_all_codes(bits, tolerance):
    """Twin: the softmax of minus the squared distances over the whole codebook."""
    numbers = torch.randn(50, bits, generator=torch.Generator().manual_seed(0))
    codebook = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * bits).reshape(-1, bits)
    chances = (-torch.cdist(numbers, codebook).square()).softmax(-1)
    of_vectors, of_mean = entropies(numbers)
    torch.testing.assert_close(of_vectors, torch.special.entr(chances).sum(-1).mean(), **tolerance())
    torch.testing.assert_close(of_mean, torch.special.entr(chances.mean(0)).sum(), **tolerance())


def test_entropies_at_their_limits_have_finite_gradients():
    sure = 100 * torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)  # every code once, beyond doubt
    for numbers, expected in ((sure, (0, math.log(8))), (sure[:1], (0, 0)), (0 * sure, (math.log(8), math.log(8)))):
        numbers = numbers.clone().requires_grad_()
        values = entropies(numbers)
        assert [value.item() for value in values] == pytest.approx(expected, abs=1e-5)
        sum(values).backward()
        assert numbers.grad.isfinite().all()


def test_the_entropy_term_puts_codes_to_use():
    """Latents of one cloud far from zero begin with one code; the term alone spreads them over the signs."""
    z = latents(batch=8) + torch.tensor([3.0, 3, 3, 3])[:, None, None, None]
    used = {}
    for weight in (0.0, 1.0):
        quantizer = build("lfq", entropy_weight=weight, commitment_weight=0.1)
        optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.05)
        for _ in range(100):
            optimizer.zero_grad()
            quantized = quantizer(z)
            quantized.loss.backward()
            optimizer.step()
        used[weight] = quantized.perplexity.item()
    assert used[1.0] > 12
    assert used[1.0] > 2 * used[0.0]
