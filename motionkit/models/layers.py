"""Blocks of 3D convolutional networks over (frames, height, width), used by more than one model.

Every block takes plain sizes and keeps the memory layout of its input.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalization with 32 groups, or fewer where the width asks for it: at least 4 channels share a group.

    Source: 32 groups at the published widths (64 and more). Differs: narrower layers, which are never published, would
    be left with one or two channels a group, where the statistics erase what a channel says.
    """
    groups = math.gcd(channels, 32 if channels >= 64 else max(1, channels // 4))
    return nn.GroupNorm(groups, channels, eps=1e-6)


class ResidualBlock(nn.Module):
    """Norm, swish, convolution, twice, around a skip connection (1x1x1 where the width changes)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = group_norm(in_channels)
        self.conv1 = nn.Conv3d(in_channels, out_channels, 3, padding=1)
        self.norm2 = group_norm(out_channels)
        self.conv2 = nn.Conv3d(out_channels, out_channels, 3, padding=1)
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv3d(in_channels, out_channels, 1)

    def forward(self, x: Float[Tensor, "batch c_in t h w"]) -> Float[Tensor, "batch c_out t h w"]:
        y = self.conv1(F.silu(self.norm1(x)))
        return self.skip(x) + self.conv2(F.silu(self.norm2(y)))


class SelfAttention(nn.Module):
    """One attention head over all positions of the volume; the residual is added to the *normalized* input.

    Cost grows with (t h w)^2: meant for volumes at 1/8 of the clip and below.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels, eps=1e-6)
        self.query, self.key, self.value, self.out = (nn.Conv3d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Float[Tensor, "batch c t h w"]) -> Float[Tensor, "batch c t h w"]:
        x = self.norm(x)
        # (B, C, t, h, w) -> (B, positions, C): a view when channels are stored last
        q, k, v = (conv(x).permute(0, 2, 3, 4, 1).flatten(1, 3) for conv in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1)).squeeze(1)
        mixed = mixed.reshape(x.shape[0], *x.shape[2:], x.shape[1]).permute(0, 4, 1, 2, 3)
        return x + self.out(mixed)


class Downsample(nn.Module):
    """Halves frames, height and width: one row of zeros at the far end of each axis, then a stride-2 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 3, stride=2)

    def forward(self, x: Float[Tensor, "batch c t h w"]) -> Float[Tensor, "batch c t2 h2 w2"]:
        return self.conv(F.pad(x, (0, 1) * 3))


class Upsample(nn.Module):
    """Doubles frames, height and width by repetition, then a 3x3x3 convolution.

    Both together are one transposed convolution: repeated neighbors share a voxel, so the kernel taps that fall on
    the same voxel are summed first (``kernel``). The result is the same; it takes 8 multiplications where the plain
    way takes 27, and the repeated volume is never written.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 3, padding=1)

    def kernel(self) -> Float[Tensor, "c_in c_out 4 4 4"]:
        """The 4x4x4 kernel of the equal transposed convolution with stride 2."""
        kernel = self.conv.weight.flip(2, 3, 4)
        for axis in (2, 3, 4):
            before, after = [0] * 6, [0] * 6
            before[2 * (4 - axis)] = after[2 * (4 - axis) + 1] = 1
            kernel = F.pad(kernel, before) + F.pad(kernel, after)
        return kernel.transpose(0, 1)

    def forward(self, x: Float[Tensor, "batch c t h w"]) -> Float[Tensor, "batch c t2 h2 w2"]:
        return F.conv_transpose3d(x, self.kernel(), self.conv.bias, stride=2, padding=1)
