"""The part that LTD and HisRepItself have in common: a graph network that bends trajectories by slow waves."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from motionkit.models.graph_layers import GraphBlock, GraphConv
from motionkit.models.predictors.zero_velocity import zero_velocity
from motionkit.representation.dct import dct, idct


def held(context: Float[Tensor, "batch frames joints 3"], horizon: int) -> Float[Tensor, "batch frames2 joints 3"]:
    """The context, and its last frame for ``horizon`` frames more."""
    return torch.cat([context, zero_velocity(context, horizon)], 1)


def slow_waves(
    clips: Float[Tensor, "batch frames joints 3"], num_coefficients: int
) -> Float[Tensor, "nodes batch coefficients"]:
    """The first coefficients of the cosine transform over time of each coordinate of each joint."""
    return dct(clips.flatten(2).permute(2, 0, 1))[..., :num_coefficients]


class TrajectoryGraph(nn.Module):
    """Adds to clips the slow waves that a graph network makes of theirs, a node for each coordinate.

    At first it adds nothing: its last weights are 0.
    num_nodes: 3 a joint. num_coefficients: waves that are read and added. num_known: numbers that are read besides.

    Differs from the published network in three ways. ReZero and GELU (``GraphBlock``) stand in for batch norm, tanh and
    dropout. The waves read are of the motion away from the last pose, which is read as one number more: the constant
    wave of positions is so much larger than the others that these were learned late. What the waves leave out of a clip
    stays in it, so that with nothing added it is the clip itself.
    """

    def __init__(
        self, num_nodes: int, num_coefficients: int, num_features: int, num_blocks: int, num_known: int = 0
    ) -> None:
        super().__init__()
        self.num_coefficients = num_coefficients
        inside = (num_nodes, num_features)
        self.first = GraphConv((num_nodes, num_coefficients + 1 + num_known), inside, has_node_bias=False)
        self.blocks = nn.Sequential(*(GraphBlock(inside, has_node_bias=False) for _ in range(num_blocks)))
        self.last = GraphConv(inside, (num_nodes, num_coefficients), has_node_bias=False)
        nn.init.zeros_(self.last.weight)  # its mix stays: with both at 0 neither had a gradient
        nn.init.zeros_(self.last.bias)

    def forward(
        self, clips: Float[Tensor, "batch frames joints 3"], known: Float[Tensor, "nodes batch known"] | None = None
    ) -> Float[Tensor, "batch frames joints 3"]:
        pose = clips[:, -1:]
        read = [slow_waves(clips - pose, self.num_coefficients), pose.flatten(2).permute(2, 0, 1)]
        if known is not None:
            read.append(known)
        waves = self.last(self.blocks(self.first(torch.cat(read, -1))))
        added = idct(F.pad(waves, (0, clips.shape[1] - self.num_coefficients)))
        return clips + added.permute(1, 2, 0).reshape(clips.shape)
