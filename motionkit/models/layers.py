"""Blocks of 3D convolutional networks over (frames, height, width), used by more than one model.

Every block takes plain sizes. Volumes are kept with channels stored last (``torch.channels_last_3d``), which
convolutions on a CPU and half-precision ones on a GPU prefer; the layers of torch that fall back to the other layout
are avoided or corrected here, for one of them makes all that follow convert back and forth.
"""

from __future__ import annotations

import math

import torch
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


class Pointwise(nn.Module):
    """A convolution with a 1x1x1 kernel: one linear map at every position."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, x: Float[Tensor, "batch c_in t h w"]) -> Float[Tensor, "batch c_out t h w"]:
        return self.linear(x.movedim(1, -1)).movedim(-1, 1)


class Conv3d(nn.Conv3d):
    """A 3x3x3 convolution, with padding 1, or with stride 2 and none, that is also fast on a single clip on a CPU.

    For one small clip torch takes a fallback that is about six times slower than what it does for two (its choice, in
    ``use_mkldnn``, looks at batch, channels and the first two axes). A clip is then cut in two that overlap, and put
    together again: the same sums, in another order.
    """

    SMALL = range(1024, 20_481)  # channels x frames x height: below it the cut costs more, above it torch needs no help

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride=stride, padding=2 - stride)

    def forward(self, x: Float[Tensor, "batch c_in t h w"]) -> Float[Tensor, "batch c_out t2 h2 w2"]:
        axis = 2 if x.shape[2] >= x.shape[3] else 3
        if self._is_slow(x) and x.shape[axis] >= 4 and (self.stride[0] == 1 or x.shape[axis] % 4 == 1):
            return self._in_halves(x, axis)
        return super().forward(x)

    def _is_slow(self, x: Tensor) -> bool:
        is_plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        return is_plain and len(x) == 1 and x.shape[1] * x.shape[2] * x.shape[3] in self.SMALL

    def _in_halves(self, x: Tensor, axis: int) -> Tensor:
        length = x.shape[axis]
        if self.stride[0] == 2:  # the far row of zeros is there already: both halves share the frame in the middle
            half = length // 2
            both = torch.cat([x.narrow(axis, 0, half + 1), x.narrow(axis, half, half + 1)])
            first, second = super().forward(both).chunk(2)
            return torch.cat([first, second], axis)
        half = (length + 1) // 2
        both = torch.cat([x.narrow(axis, 0, half + 1), x.narrow(axis, length - half - 1, half + 1)])
        first, second = super().forward(both).chunk(2)  # each has one row that saw the cut as an edge
        return torch.cat([first.narrow(axis, 0, half), second.narrow(axis, 1 + 2 * half - length, length - half)], axis)


class ResidualBlock(nn.Module):
    """Norm, swish, convolution, twice, around a skip connection (1x1x1 where the width changes)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = group_norm(in_channels)
        self.conv1 = Conv3d(in_channels, out_channels)
        self.norm2 = group_norm(out_channels)
        self.conv2 = Conv3d(out_channels, out_channels)
        self.skip = nn.Identity() if in_channels == out_channels else Pointwise(in_channels, out_channels)

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
        self.query, self.key, self.value, self.out = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, x: Float[Tensor, "batch c t h w"]) -> Float[Tensor, "batch c t h w"]:
        x = self.norm(x)
        rows = x.movedim(1, -1).flatten(1, 3).unsqueeze(1)  # (B, 1 head, positions, C): a view, channels are last
        mixed = F.scaled_dot_product_attention(self.query(rows), self.key(rows), self.value(rows))
        mixed = self.out(mixed).reshape(x.shape[0], *x.shape[2:], x.shape[1])
        return x + mixed.movedim(-1, 1)


class Downsample(nn.Module):
    """Halves frames, height and width: one row of zeros at the far end of each axis, then a stride-2 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv3d(channels, channels, stride=2)

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
        x = F.conv_transpose3d(x, self.kernel(), self.conv.bias, stride=2, padding=1)
        return x.contiguous(memory_format=torch.channels_last_3d)
