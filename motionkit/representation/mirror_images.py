"""Mirror images of clips: left and right exchanged. Bodies nearly have this symmetry, so that a mirror image is a clip
more to learn from."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from motionkit.data.skeleton import Skeleton


def mirrored(
    positions: Float[Tensor, "*batch frames joints 3"], skeleton: Skeleton
) -> Float[Tensor, "*batch frames joints 3"]:
    """The mirror image: left and right joints exchanged, x negated. Twice it is the clip again.

    skeleton: of the clips, whose x axis points to the person's left (``to_pelvis_frame``).
    Raises ``ValueError`` for positions of another number of joints.
    """
    if positions.shape[-2] != skeleton.num_joints:
        raise ValueError(
            f"positions have {positions.shape[-2]} joints, and skeleton {skeleton.name!r} has {skeleton.num_joints}"
        )
    return positions[..., list(skeleton.mirrored_joints()), :] * positions.new_tensor([-1.0, 1.0, 1.0])


def half_mirrored(
    positions: Float[Tensor, "batch frames joints 3"], skeleton: Skeleton, generator: torch.Generator
) -> Float[Tensor, "batch frames joints 3"]:
    """Each clip or its mirror image, as the generator has it; both are as likely."""
    is_mirrored = torch.rand(len(positions), generator=generator, device=positions.device) < 0.5
    return torch.where(is_mirrored[:, None, None, None], mirrored(positions, skeleton), positions)
