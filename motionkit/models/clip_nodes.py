"""Clips as graph models see them: a node for each coordinate of each joint, the cosine transform of its frames as its
features; and distributions of clips from distributions of such features.

Nodes are ordered by joint, then by axis: node = 3 joint + axis.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motionkit.models.clip_gaussian import ClipGaussian
from motionkit.models.gaussian import Gaussian
from motionkit.representation.dct import dct, idct

Layout = Literal["paper", "published_code"]
SMALLEST_SCALE = 1e-5  # metres: below what any recording resolves


class ClipNodes(nn.Module):
    """Clips (batch, frames, joints, 3), metres <-> nodes (joints x 3, batch, frames), coefficients slowest first.

    is_spectral: the variances that a network puts out are of the coefficients; else they are taken for those of the
        frames, as the public program of paper 4 does, although the means are turned back into frames.
    layout: "published_code" does as that program: clips are reshaped to (joints x 3, frames) instead of transposed, so
        that a node is a run of unrelated numbers, and the cosine transform is replaced by its inverse.
    Raises: ``ValueError`` for clips of another shape.
    """

    def __init__(self, num_joints: int, num_frames: int, is_spectral: bool, layout: Layout = "paper") -> None:
        super().__init__()
        self.num_joints, self.num_frames = num_joints, num_frames
        self.is_spectral, self.is_paper = is_spectral, layout == "paper"
        self.register_buffer("center", torch.zeros(3 * num_joints, 1, num_frames))
        self.register_buffer("scale", torch.ones(3 * num_joints, 1, num_frames))

    @torch.no_grad()
    def standardize(self, clips: Float[Tensor, "clips frames joints 3"]) -> None:
        """From now on nodes have mean 0 and variance 1 on these clips, and what a network puts out is scaled alike.

        The fast coefficients of motion are a thousandth of the slow ones; left as they are (as published), the slow
        ones take thousands of steps to be noticed. Call it before training; it is saved with the weights.

        Raises ``ValueError`` for fewer than 2 clips.
        """
        if len(clips) < 2:
            raise ValueError(f"{len(clips)} clips have no variance; standardize by 2 or more")
        nodes = self._coefficients(clips)
        self.center.copy_(nodes.mean(1, keepdim=True))
        self.scale.copy_(nodes.std(1, keepdim=True).clamp_min(SMALLEST_SCALE))

    def forward(self, clips: Float[Tensor, "batch frames joints 3"]) -> Float[Tensor, "nodes batch frames"]:
        return (self._coefficients(clips) - self.center) / self.scale

    def clips(self, nodes: Gaussian) -> ClipGaussian:
        """The distribution of clips whose nodes, (nodes, batch, frames), are so distributed."""
        variance = self.scale.square()
        if not self.is_spectral:  # the transform keeps lengths: of a node's frames they have their mean
            variance = variance.mean(-1, keepdim=True)
        log_var = nodes.log_var + variance.log()
        return ClipGaussian(self.mean_clips(nodes.mean), self._in_frames(log_var), self.is_spectral)

    def mean_clips(self, nodes: Float[Tensor, "nodes batch frames"]) -> Float[Tensor, "batch frames joints 3"]:
        """The clips with these nodes: the inverse of ``forward``."""
        back = idct if self.is_paper else dct
        return self._in_frames(back(torch.addcmul(self.center, self.scale, nodes)))

    def _coefficients(self, clips: Tensor) -> Tensor:
        if clips.ndim != 4 or clips.shape[1:] != (self.num_frames, self.num_joints, 3):
            raise ValueError(
                f"clips have shape {tuple(clips.shape)}; expected (batch, {self.num_frames}, {self.num_joints}, 3)"
            )
        if self.is_paper:
            return dct(clips.flatten(2).permute(2, 0, 1))
        return idct(clips.reshape(len(clips), 3 * self.num_joints, self.num_frames)).transpose(0, 1)

    def _in_frames(self, nodes: Tensor) -> Tensor:
        across = nodes.permute(1, 2, 0) if self.is_paper else nodes.transpose(0, 1)
        return across.reshape(-1, self.num_frames, self.num_joints, 3)
