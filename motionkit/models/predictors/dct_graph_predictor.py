"""LTD: all frames to come at once, as a change of the slow waves of each joint's trajectory.

The context is held at its last frame to the end of the horizon; a graph network reads the first coefficients of the
cosine transform of these trajectories and corrects them. As it may correct slow waves alone, what it predicts is smooth
and goes on from the context without a jump.

Source: Mao, Liu, Salzmann and Li, ICCV 2019, "Learning Trajectory Dependencies for Human Motion Prediction", sections
3.1 and 3.2: 12 blocks of 256 features, Adam with learning rate 5e-4. Differs: see ``TrajectoryGraph``.
Not equivariant to moving the body: where a joint is, relative to the root, is part of what it reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from motionkit.models.predictors.prediction_loss import checked_clips, prediction_loss
from motionkit.models.predictors.trajectory_graph import TrajectoryGraph, held


@dataclass(frozen=True)
class DCTGraphPredictorConfig:
    """Sizes of a ``DCTGraphPredictor``.

    num_joints: three nodes each.
    num_context, horizon: frames seen and frames to predict.
    num_coefficients: slow waves that are read and corrected, of num_context + horizon.
    num_features, num_blocks: width of the graph network, and residual blocks of two layers.
    is_context_counted: whether the loss is over the frames of the context too, as published; they begin without error,
        and without them predictions are closer.

    Raises: ``ValueError`` naming the field and its value.
    """

    num_joints: int = 18
    num_context: int = 50
    horizon: int = 25
    num_coefficients: int = 40
    num_features: int = 96
    num_blocks: int = 4
    is_context_counted: bool = False

    def __post_init__(self) -> None:
        for name in ("num_joints", "num_context", "horizon", "num_coefficients", "num_features", "num_blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.num_coefficients > self.num_context + self.horizon:
            frames = self.num_context + self.horizon
            raise ValueError(
                f"num_coefficients must be at most num_context + horizon, {frames}, got {self.num_coefficients}"
            )


# The coefficients are ours.
PUBLISHED_SIZE = DCTGraphPredictorConfig(num_features=256, num_blocks=12, is_context_counted=True)


class DCTGraphPredictor(nn.Module):
    """Contexts (batch, frames, joints, 3), metres, root at the origin -> the frames that follow. Trains with ``loss``.

    Untrained it predicts zero velocity.
    Raises: ``ValueError`` for clips of another shape.
    """

    def __init__(self, config: DCTGraphPredictorConfig) -> None:
        super().__init__()
        self.config = c = config
        self.graph = TrajectoryGraph(3 * c.num_joints, c.num_coefficients, c.num_features, c.num_blocks)

    def forward(self, context: Float[Tensor, "batch frames joints 3"]) -> Float[Tensor, "batch horizon joints 3"]:
        return self.whole(context)[:, -self.config.horizon :]

    def whole(self, context: Float[Tensor, "batch frames joints 3"]) -> Float[Tensor, "batch all_frames joints 3"]:
        """The context as the model has it, and the prediction."""
        c = self.config
        return self.graph(held(checked_clips(context, c.num_context, c.num_joints), c.horizon))

    def loss(self, batch: Tensor | Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """See ``prediction_loss``. batch: clips (B, num_context + horizon, J, 3), or ``{"clips": ...}``."""
        c = self.config
        clips = checked_clips(batch, c.num_context + c.horizon, c.num_joints)
        whole = self.whole(clips[:, : c.num_context])
        return prediction_loss(whole if c.is_context_counted else whole[:, -c.horizon :], clips, c.horizon)
