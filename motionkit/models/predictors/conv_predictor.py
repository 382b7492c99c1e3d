"""convSeq2Seq: frame by frame, from what the whole context tells and what the last frames do.

A convolutional encoder of all frames seen gives the long-term summary, once. Another one, of the last few frames, gives
the short-term summary; a decoder maps both to a step that is added to the last pose. The new frame then belongs to the
last frames, in training too: the model meets its own errors.

Source: Li, Zhang, Lee and Lee, CVPR 2018, "Convolutional Sequence to Sequence Model for Human Dynamics", section 3.
Differs: convolutions are over time with all coordinates as channels, not over the picture of frames and coordinates,
which depends on the order of the joints; positions, not angles; no discriminator.
Not equivariant to moving the body: where a joint is, relative to the root, is part of what it reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motionkit.models.predictors.prediction_loss import checked_clips, prediction_loss

NUM_HALVINGS = 3  # convolutions of an encoder, each of stride 2, as published


@dataclass(frozen=True)
class ConvPredictorConfig:
    """Sizes of a ``ConvPredictor``.

    num_joints, num_context, horizon: joints, frames seen, frames to predict.
    num_recent: last frames that the short-term encoder sees, of num_context.
    num_channels: of the convolutions. hidden_dim: length of a summary, and of the decoder's hidden layer.

    Raises: ``ValueError`` naming the field and its value.
    """

    num_joints: int = 18
    num_context: int = 50
    horizon: int = 25
    num_recent: int = 20
    num_channels: int = 64
    hidden_dim: int = 128

    def __post_init__(self) -> None:
        for name in ("num_joints", "num_context", "horizon", "num_recent", "num_channels", "hidden_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.num_recent > self.num_context:
            raise ValueError(f"num_recent must be at most num_context {self.num_context}, got {self.num_recent}")


class ConvPredictor(nn.Module):
    """Contexts (batch, frames, joints, 3), metres, root at the origin -> the frames that follow. Trains with ``loss``.

    Untrained it predicts zero velocity: the decoder's last weights are 0.
    Raises: ``ValueError`` for clips of another shape.
    """

    def __init__(self, config: ConvPredictorConfig) -> None:
        super().__init__()
        self.config = c = config
        self.long = _encoder(c.num_context, 3 * c.num_joints, c.num_channels, c.hidden_dim)
        self.short = _encoder(c.num_recent, 3 * c.num_joints, c.num_channels, c.hidden_dim)
        last = nn.Linear(c.hidden_dim, 3 * c.num_joints)
        self.decoder = nn.Sequential(nn.Linear(2 * c.hidden_dim, c.hidden_dim), nn.LeakyReLU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, context: Float[Tensor, "batch frames joints 3"]) -> Float[Tensor, "batch horizon joints 3"]:
        c = self.config
        frames = list(checked_clips(context, c.num_context, c.num_joints).flatten(2).unbind(1))
        summary = self.long(torch.stack(frames, -1))
        for _ in range(c.horizon):
            recent = self.short(torch.stack(frames[-c.num_recent :], -1))
            frames.append(frames[-1] + self.decoder(torch.cat([summary, recent], -1)))
        return torch.stack(frames[-c.horizon :], 1).unflatten(-1, (c.num_joints, 3))

    def loss(self, batch: Tensor | Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """See ``prediction_loss``. batch: clips (B, num_context + horizon, J, 3), or ``{"clips": ...}``."""
        c = self.config
        clips = checked_clips(batch, c.num_context + c.horizon, c.num_joints)
        return prediction_loss(self(clips[:, : c.num_context]), clips, c.horizon)


def _encoder(num_frames: int, in_dim: int, num_channels: int, out_dim: int) -> nn.Sequential:
    """Frames (batch, in_dim, num_frames) -> a summary (batch, out_dim)."""
    layers: list[nn.Module] = []
    for _ in range(NUM_HALVINGS):
        layers += [nn.Conv1d(in_dim, num_channels, 5, stride=2, padding=2), nn.LeakyReLU()]
        in_dim, num_frames = num_channels, (num_frames + 1) // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(num_frames * num_channels, out_dim), nn.LeakyReLU())
