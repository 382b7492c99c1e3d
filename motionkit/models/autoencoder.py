"""What the autoencoders of heatmap clips share: encoder, decoder, and the forms of their batch and result.

Source: paper 1 (adversarially refined VQ-GAN), III-B.1 and III-B.3 and Table II; the text names the kinds of layers,
their numbers and widths are those of the published code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from motionkit.models.layers import Conv3d, Downsample, ResidualBlock, SelfAttention, Upsample, group_norm

Batch = Tensor | dict[str, Tensor]


@dataclass(frozen=True)
class Reconstruction:
    """A clip after encoding and decoding.

    output: (B, C_out, T, H, W), not clamped to [0, 1].
    tokens: (B, t, h, w) int64.
    q_loss: L_VQ of Eq. 4 on this batch, a scalar (the paper's Q-loss), whichever of its terms moved the codes;
        ``None`` where codes are not near the latents they stand for.
    q_error: mean ||z - e||^2 / mean ||z||^2 of latents z and their codes e on this batch, a scalar: the share of the
        latents' power that quantization loses, free of their scale and of loss weights. ``None`` where z has no code.
    """

    output: Tensor
    tokens: Tensor
    q_loss: Tensor | None
    q_error: Tensor | None = None


def input_and_target(batch: Batch, in_channels: int, out_channels: int, num_downsamples: int) -> tuple[Tensor, Tensor]:
    """Input (B, in_channels, T, H, W) and target (B, out_channels, T, H, W) of a batch.

    batch: a tensor that is both, or a dict with the keys ``"input"`` and ``"target"``.
    Raises: ``ValueError`` for other channels, other keys, or T, H, W that are no multiples of 2**num_downsamples.
    """
    if isinstance(batch, Tensor):
        batch = {"input": batch, "target": batch}
    if set(batch) != {"input", "target"}:
        raise ValueError(f"a batch is a tensor or a dict with 'input' and 'target', got the keys {sorted(batch)}")
    clips, target = batch["input"], batch["target"]
    check_clip_shape(clips, in_channels, num_downsamples)
    if target.shape[1] != out_channels or target.shape[2:] != clips.shape[2:]:
        raise ValueError(
            f"target of shape {tuple(target.shape)} for {out_channels} output channels and input {tuple(clips.shape)}"
        )
    return clips, target


def check_clip_shape(clips: Tensor, channels: int, num_downsamples: int) -> None:
    """``ValueError`` unless clips are (B, channels, T, H, W) with T, H, W multiples of 2**num_downsamples."""
    factor = 2**num_downsamples
    if clips.ndim != 5 or clips.shape[1] != channels or any(size % factor for size in clips.shape[2:]):
        raise ValueError(
            f"clips of shape {tuple(clips.shape)}: expected (B, {channels}, T, H, W) with T, H, W multiples of {factor}"
        )


class Encoder(nn.Module):
    """Clip (B, in_channels, T, H, W) -> latents (B, latent_dim, T/f, H/f, W/f) with f = 2**num_downsamples.

    Stem convolution; one stage per entry of ``widths`` with ``num_blocks`` residual blocks; the first
    ``num_downsamples`` stages end in a downsampling; stages that work at 1/8 of the input follow each residual block
    by attention; then residual block, attention, residual block; norm, swish, convolution.

    halving_stem: the stem convolution does the first downsampling (4x4x4, stride 2), the stages the others. Nothing
        then runs at the clip's own size, which takes most of the time on a CPU. Not published.
    """

    def __init__(
        self,
        in_channels: int,
        latent_dim: int,
        widths: tuple[int, ...],
        num_downsamples: int,
        num_blocks: int,
        halving_stem: bool = False,
    ) -> None:
        super().__init__()
        channels = widths[0]
        by_stages = num_downsamples - halving_stem
        if halving_stem:
            self.first = nn.Conv3d(in_channels, channels, 4, stride=2, padding=1)
        else:
            self.first = Conv3d(in_channels, channels)
        layers: list[nn.Module] = []
        for stage, width in enumerate(widths):
            for _ in range(num_blocks):
                layers.append(ResidualBlock(channels, width))
                channels = width
                if min(stage, by_stages) + halving_stem == 3:
                    layers.append(SelfAttention(channels))
            if stage < by_stages:
                layers.append(Downsample(channels))
        layers += _middle(channels)
        self.layers = nn.Sequential(*layers)
        self.norm = group_norm(channels)
        self.last = Conv3d(channels, latent_dim)

    def forward(self, x: Float[Tensor, "batch c_in t h w"]) -> Float[Tensor, "batch latent t2 h2 w2"]:
        # The convolution would convert the clip itself, once forward and once more backward. With one input channel
        # both memory layouts look alike and it picks the slow one: what it returns is converted too.
        x = self.first(x.contiguous(memory_format=torch.channels_last_3d))
        x = x.contiguous(memory_format=torch.channels_last_3d)
        return self.last(F.silu(self.norm(self.layers(x))))


class Decoder(nn.Module):
    """Latents (B, latent_dim, t, h, w) -> clip (B, out_channels, t f, h f, w f) with f = 2**num_upsamples.

    Stem convolution; residual block, attention, residual block; one stage per entry of ``widths`` (given from the
    encoder's side, used in reverse) with ``num_blocks`` residual blocks, in the first two of them each followed by
    attention; norm, swish, convolution without an output non-linearity. Stages 1 to ``num_upsamples``, counted from
    0, end in an upsampling.

    Differs: with as many upsamplings as stages (F32) the published code leaves one out and returns half the size;
    here stage 0 then upsamples too.

    doubling_head: the last convolution does the last upsampling (transposed, 4x4x4, stride 2): the counterpart of the
        encoder's ``halving_stem``.
    """

    def __init__(
        self,
        latent_dim: int,
        out_channels: int,
        widths: tuple[int, ...],
        num_upsamples: int,
        num_blocks: int,
        doubling_head: bool = False,
    ) -> None:
        super().__init__()
        channels = widths[-1]
        by_stages = num_upsamples - doubling_head
        first = 0 if by_stages == len(widths) else 1
        self.first = Conv3d(latent_dim, channels)
        layers = _middle(channels)
        for stage, width in enumerate(reversed(widths)):
            for _ in range(num_blocks):
                layers.append(ResidualBlock(channels, width))
                channels = width
                if stage < 2:
                    layers.append(SelfAttention(channels))
            if first <= stage < first + by_stages:
                layers.append(Upsample(channels))
        self.layers = nn.Sequential(*layers)
        self.norm = group_norm(channels)
        self.doubling_head = doubling_head
        if doubling_head:
            self.last = nn.ConvTranspose3d(channels, out_channels, 4, stride=2, padding=(3, 1, 1))
        else:
            self.last = Conv3d(channels, out_channels)

    def forward(self, z: Float[Tensor, "batch latent t h w"]) -> Float[Tensor, "batch c_out t2 h2 w2"]:
        x = self.first(z).contiguous(memory_format=torch.channels_last_3d)
        x = F.silu(self.norm(self.layers(x)))
        if self.doubling_head:  # the first and the last frame stand for their missing neighbors; else they come out dim
            x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], dim=2)
        return self.last(x)


def _middle(channels: int) -> list[nn.Module]:
    return [ResidualBlock(channels, channels), SelfAttention(channels), ResidualBlock(channels, channels)]
