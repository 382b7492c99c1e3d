"""HisRepItself: the last frames are compared with all earlier stretches of the context, and what followed the ones like
them is what the prediction begins from.

Two small encoders of ``kernel`` frames give a query, of the last ones, and keys, one for each stretch that is followed
by ``horizon`` frames of the context. A value is the slow waves of a stretch and what follows it. The sum of the values,
weighted by likeness, goes to the graph network of LTD together with the slow waves of the last frames held still.

Source: Mao, Liu and Salzmann, ECCV 2020, "History Repeats Itself: Human Motion Prediction via Motion Attention",
section 3.1, Eq. 1 to 3. Differs: the network puts out the waves alone, not a second half that nothing reads; see also
``TrajectoryGraph``. Not equivariant to moving the body: where a joint is, relative to the root, is part of what it
reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motionkit.models.predictors.prediction_loss import checked_clips, prediction_loss
from motionkit.models.predictors.trajectory_graph import TrajectoryGraph, held, slow_waves

LEAST_SCORE = 1e-4  # added to scores, so that their sum is never 0; of body motion they begin at 0.01 and more


@dataclass(frozen=True)
class MotionAttentionPredictorConfig:
    """Sizes of a ``MotionAttentionPredictor``.

    num_joints: three nodes each.
    num_context, horizon: frames seen and frames to predict.
    kernel: frames of a query or key.
    num_coefficients: slow waves that are read and corrected, of kernel + horizon.
    attention_dim: length of queries and keys.
    num_features, num_blocks: width of the graph network, and residual blocks of two layers.
    is_context_counted: whether the loss is over the last ``kernel`` frames of the context too, as published.

    Raises: ``ValueError`` naming the field and its value.
    """

    num_joints: int = 18
    num_context: int = 50
    horizon: int = 25
    kernel: int = 10
    num_coefficients: int = 35
    attention_dim: int = 64
    num_features: int = 96
    num_blocks: int = 4
    is_context_counted: bool = False

    def __post_init__(self) -> None:
        sizes = ("num_joints", "num_context", "horizon", "kernel", "num_coefficients", "attention_dim", "num_features")
        for name in (*sizes, "num_blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        frames = self.kernel + self.horizon
        if frames > self.num_context:
            raise ValueError(f"num_context must be at least kernel + horizon, {frames}, got {self.num_context}")
        if self.num_coefficients > frames:
            raise ValueError(
                f"num_coefficients must be at most kernel + horizon, {frames}, got {self.num_coefficients}"
            )

    @property
    def num_stretches(self) -> int:
        return self.num_context - self.kernel - self.horizon + 1


# The public program's command for AMASS: all 35 coefficients, where its options default to 10.
PUBLISHED_AMASS = MotionAttentionPredictorConfig(
    attention_dim=256, num_features=256, num_blocks=12, is_context_counted=True
)


class MotionAttentionPredictor(nn.Module):
    """Contexts (batch, frames, joints, 3), metres, root at the origin -> the frames that follow. Trains with ``loss``.

    Untrained it predicts zero velocity.
    Raises: ``ValueError`` for clips of another shape.
    """

    def __init__(self, config: MotionAttentionPredictorConfig) -> None:
        super().__init__()
        self.config = c = config
        self.query = _encoder(3 * c.num_joints, c.attention_dim, c.kernel)
        self.key = _encoder(3 * c.num_joints, c.attention_dim, c.kernel)
        self.graph = TrajectoryGraph(
            3 * c.num_joints, c.num_coefficients, c.num_features, c.num_blocks, num_known=c.num_coefficients
        )

    def forward(self, context: Float[Tensor, "batch frames joints 3"]) -> Float[Tensor, "batch horizon joints 3"]:
        return self.whole(context)[:, -self.config.horizon :]

    def whole(self, context: Float[Tensor, "batch frames joints 3"]) -> Float[Tensor, "batch last_frames joints 3"]:
        """The last ``kernel`` frames of the context as the model has them, and the prediction."""
        c = self.config
        context = checked_clips(context, c.num_context, c.num_joints)
        known = torch.einsum("bs,nbsk->nbk", self.attention(context), self.values(context))
        return self.graph(held(context[:, -c.kernel :], c.horizon), known)

    def attention(self, context: Float[Tensor, "batch frames joints 3"]) -> Float[Tensor, "batch stretches"]:
        """Weight of each stretch, by its first frame; they add up to 1."""
        c = self.config
        channels = context.flatten(2).mT
        query = self.query(channels[..., -c.kernel :]).squeeze(-1)
        keys = self.key(channels[..., : -c.horizon])
        scores = torch.einsum("bd,bds->bs", query, keys) + LEAST_SCORE  # none is negative: both end in a ReLU
        return scores / scores.sum(1, keepdim=True)

    def values(
        self, context: Float[Tensor, "batch frames joints 3"]
    ) -> Float[Tensor, "nodes batch stretches coefficients"]:
        """Slow waves of each stretch of ``kernel`` frames and the ``horizon`` after it, away from the last pose."""
        c = self.config
        stretches = (
            (context - context[:, -1:]).unfold(1, c.kernel + c.horizon, 1).movedim(-1, 2)
        )  # (B, stretches, frames, J, 3)
        waves = slow_waves(stretches.flatten(0, 1), c.num_coefficients)
        return waves.unflatten(1, (len(context), c.num_stretches))

    def loss(self, batch: Tensor | Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """See ``prediction_loss``. batch: clips (B, num_context + horizon, J, 3), or ``{"clips": ...}``."""
        c = self.config
        clips = checked_clips(batch, c.num_context + c.horizon, c.num_joints)
        whole = self.whole(clips[:, : c.num_context])
        return prediction_loss(whole if c.is_context_counted else whole[:, -c.horizon :], clips, c.horizon)


def _encoder(in_dim: int, dim: int, kernel: int) -> nn.Sequential:
    """Two convolutions over time that see ``kernel`` frames together; for 10, of 6 and 5 as published."""
    first = kernel // 2 + 1
    return nn.Sequential(
        nn.Conv1d(in_dim, dim, first, bias=False), nn.ReLU(),
        nn.Conv1d(dim, dim, kernel - first + 1, bias=False), nn.ReLU(),
    )  # fmt: skip
