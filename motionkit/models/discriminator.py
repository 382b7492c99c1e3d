"""A 3D patch discriminator and its hinge losses.

Source: paper 1 (adversarially refined VQ-GAN), III-B.4 and Eq. 5. The text leaves the network open; layers, widths and
initialization are those of the published code.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """One real/fake logit for each overlapping patch of a clip: (B, C, T, H, W) -> (B, 1, T/8, H/8, W/8).

    Convolutions with 4x4x4 kernels: one per entry of ``widths``, with stride 2 except for the last, then one to a
    single channel; LeakyReLU(0.2) between them, batch normalization on all but the outer two. The weights are drawn
    from N(0, 0.02), batch-norm scales from N(1, 0.02).

    in_channels: channels of the clips.
    widths: four in the published network, (64, 128, 256, 512): 11.05 M parameters.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...] = (64, 128, 256, 512)) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv3d(in_channels, widths[0], 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for index, (before, width) in enumerate(pairwise(widths), start=1):
            halves = index < len(widths) - 1
            if not halves:
                layers.append(nn.ZeroPad3d((1, 2) * 3))
            conv = nn.Conv3d(before, width, 4, stride=1 + halves, padding=int(halves), bias=False)
            layers += [conv, nn.BatchNorm3d(width), nn.LeakyReLU(0.2)]
        layers += [nn.ZeroPad3d((1, 2) * 3), nn.Conv3d(widths[-1], 1, 4)]
        self.layers = nn.Sequential(*layers)
        for module in self.layers:
            if isinstance(module, nn.Conv3d):
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, nn.BatchNorm3d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, clips: Float[Tensor, "batch c t h w"]) -> Float[Tensor, "batch 1 t2 h2 w2"]:
        return self.layers(clips)


def hinge_loss_discriminator(real: Float[Tensor, "*any"], fake: Float[Tensor, "*any"]) -> Float[Tensor, ""]:
    """mean max(0, 1 - real) + mean max(0, 1 + fake) over all logits. Source: Eq. 5.

    Differs: the published code halves it, which Adam undoes.
    """
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_loss_generator(fake: Float[Tensor, "*any"]) -> Float[Tensor, ""]:
    """-mean of the logits of generated clips. Source: L_G of III-B.4."""
    return -fake.mean()
