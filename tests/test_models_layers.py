"""Blocks of the 3D convolutional networks against plain twins."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from motionkit.models.autoencoder import Decoder, Encoder
from motionkit.models.layers import Conv3d, Downsample, Pointwise, ResidualBlock, SelfAttention, Upsample, group_norm

WIDTHS = (8, 8, 16, 16, 16)


def ramp(*shape):
    return torch.sin(torch.arange(float(torch.Size(shape).numel()))).reshape(shape)


@pytest.mark.parametrize("size", [(2, 3, 4), (1, 1, 1), (3, 2, 5)])
def test_upsample_is_repetition_and_convolution(size, tolerance):
    block = Upsample(6).double()
    x = ramp(2, 6, *size).double().requires_grad_()
    plain = F.conv3d(F.interpolate(x, scale_factor=2, mode="nearest"), block.conv.weight, block.conv.bias, padding=1)
    torch.testing.assert_close(block(x), plain, **tolerance(torch.float64))
    weights = ramp(*plain.shape).double()
    inputs = [x, *block.parameters()]
    fast, slow = (torch.autograd.grad((y * weights).sum(), inputs) for y in (block(x), plain))
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b, **tolerance(torch.float64))


def test_downsample_halves_and_looks_only_at_its_own_end():
    block = Downsample(4)
    x = ramp(1, 4, 8, 8, 8)
    y = block(x)
    assert y.shape == (1, 4, 4, 4, 4)
    changed = x.clone()
    changed[:, :, 5:] += 1  # output i reads 2i, 2i+1, 2i+2: the first two outputs end at input 4
    assert torch.equal(block(changed)[:, :, :2], y[:, :, :2])
    assert not torch.allclose(block(changed)[:, :, 2:], y[:, :, 2:])


def test_pointwise_is_a_convolution_with_kernel_one(tolerance):
    block = Pointwise(5, 3)
    x = ramp(2, 5, 2, 3, 4)
    expected = F.conv3d(x, block.linear.weight[:, :, None, None, None], block.linear.bias)
    torch.testing.assert_close(block(x), expected, **tolerance())


def test_attention_against_the_written_out_formula(tolerance):
    block = SelfAttention(8)
    x = ramp(2, 8, 2, 3, 2)
    rows = F.group_norm(x, 1, eps=1e-6).flatten(2).transpose(1, 2)  # (B, positions, C)
    q, k, v = block.query(rows), block.key(rows), block.value(rows)
    expected = rows + block.out((q @ k.transpose(1, 2) / 8**0.5).softmax(-1) @ v)
    torch.testing.assert_close(block(x).flatten(2).transpose(1, 2), expected, **tolerance())


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (128, 32), (256, 32), (16, 4), (32, 8), (8, 2), (3, 1)])
def test_groups_follow_the_width(channels, groups):
    assert group_norm(channels).num_groups == groups


def test_residual_block_starts_from_its_skip():
    block = ResidualBlock(4, 4)
    nn.init.zeros_(block.conv2.weight)
    nn.init.zeros_(block.conv2.bias)
    x = ramp(1, 4, 2, 2, 2)
    assert torch.equal(block(x), x)


def test_the_doubling_head_draws_the_outer_frames_like_the_inner_ones():
    torch.manual_seed(0)
    decoder = Decoder(12, 3, WIDTHS, 3, 1, doubling_head=True)
    still = torch.randn(1, WIDTHS[0], 1, 4, 4).expand(-1, -1, 4, -1, -1)  # the same in all frames
    decoder.layers, decoder.norm = torch.nn.Identity(), torch.nn.Identity()
    decoder.first = torch.nn.Identity()
    frames = decoder(still)
    assert frames.shape == (1, 3, 8, 8, 8)
    for phase in (0, 1):  # a transposed convolution of stride 2 draws even and odd frames with other taps
        torch.testing.assert_close(frames[:, :, phase::2], frames[:, :, phase, None].expand(-1, -1, 4, -1, -1))


@pytest.mark.parametrize("halving_stem", [False, True])
@pytest.mark.parametrize("num_downsamples", [1, 2, 3, 4, 5])
def test_encoder_and_decoder_mirror_each_other(num_downsamples, halving_stem):
    factor = 2**num_downsamples
    encoder = Encoder(2, 12, WIDTHS, num_downsamples, 1, halving_stem)
    decoder = Decoder(12, 3, WIDTHS, num_downsamples, 1, halving_stem)
    z = encoder(ramp(1, 2, factor, 2 * factor, factor))
    assert z.shape == (1, 12, 1, 2, 1)
    assert decoder(z).shape == (1, 3, factor, 2 * factor, factor)


@pytest.mark.parametrize(
    "module", [Upsample(8), Downsample(8), SelfAttention(8), ResidualBlock(8, 16), Pointwise(8, 4)]
)
def test_blocks_keep_channels_last(module):
    module = module.to(memory_format=torch.channels_last_3d)
    x = ramp(2, 8, 4, 4, 4).contiguous(memory_format=torch.channels_last_3d)
    assert module(x).is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "shape", [(4, 16, 16, 8), (4, 15, 16, 8), (4, 17, 17, 9), (32, 9, 9, 9), (8, 7, 32, 4), (16, 3, 64, 3)]
)
def test_one_clip_in_halves_is_the_convolution(shape, stride):
    torch.manual_seed(0)
    conv = Conv3d(shape[0], 5, stride=stride)
    clip = torch.randn(1, *shape, requires_grad=True)
    plain = F.conv3d(clip, conv.weight, conv.bias, stride=stride, padding=2 - stride)
    drawn = conv(clip)
    torch.testing.assert_close(drawn, plain, atol=1e-5, rtol=1e-5)
    pull = torch.randn_like(plain)
    wanted = [clip, conv.weight, conv.bias]
    for ours, theirs in zip(
        torch.autograd.grad(drawn, wanted, pull), torch.autograd.grad(plain, wanted, pull), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_one_clip_is_cut_where_torch_would_be_slow(monkeypatch):
    seen = []
    monkeypatch.setattr(
        nn.Conv3d, "forward", lambda self, x: seen.append(len(x)) or F.conv3d(x, self.weight, padding=1)
    )
    conv = Conv3d(16, 16)
    for batch, frames in ((1, 16), (2, 16), (1, 1), (1, 64)):
        conv(torch.zeros(batch, 16, frames, 32, 4))
    assert seen == [2, 2, 1, 1]
