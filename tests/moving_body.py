"""A person that moves, drawn as its limbs; shared by the tests of reading and of cleaning keypoints."""

import torch

from motionkit.data.skeleton import H36M_17
from motionkit.metrics.position import keypoint_error_px
from motionkit.models.autoencoder import Reconstruction

LIMBS, SIGMA, SIZE = H36M_17.limbs, 0.75, 64
# A person with bent limbs, so that the picture shows where every joint is; pixels.
POSE = torch.tensor([
    [32, 34], [29, 34], [24, 41], [28, 49], [35, 35], [41, 41], [37, 49], [33, 28], [31, 22], [34, 17], [31, 12],
    [37, 23], [43, 27], [48, 21], [25, 21], [19, 26], [14, 20],
], dtype=torch.float32)  # fmt: skip


def moving(frames: int = 12) -> torch.Tensor:
    """(1, T, J, 2): the person swings its limbs and drifts to the right."""
    phase = torch.linspace(0, 1.5, frames)[:, None, None]
    swing = 2 * torch.sin(phase + torch.arange(17)[:, None] * torch.tensor([0.3, 0.5]))
    return (POSE + swing + phase * torch.tensor([3.0, 0.0]))[None]


def noise(like: torch.Tensor, std: float, seed: int = 0) -> torch.Tensor:
    return std * torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))


def error(found: torch.Tensor, truth: torch.Tensor) -> float:
    return keypoint_error_px(found, truth).mean().item()


class Draws:
    """A tokenizer that answers every clip with the same picture, or with its input's limbs merged."""

    def __init__(self, picture: torch.Tensor | None = None) -> None:
        self.picture, self.inputs = picture, []

    def reconstruct(self, clips):
        self.inputs.append(clips)
        output = clips.amax(1, keepdim=True) if self.picture is None else self.picture
        return Reconstruction(output, torch.zeros(1, 1, 1, 1, dtype=torch.int64), None)
