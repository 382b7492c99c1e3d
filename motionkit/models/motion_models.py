"""The networks that paper 4 compares, by name, each built of the same few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from motionkit.models.hg_vae import HGVAE, HGVAEConfig, Layout, Shape, off_levels
from motionkit.models.hm_vae import HMVAE, HMVAEConfig
from motionkit.models.motion_vae import MotionVAE, MotionVAEConfig

MotionModel = HGVAE | HMVAE | MotionVAE
MODELS = ("HG-VAE", "HM-VAE", "VAE")
DEPTHS = 16  # levels of the models of Table 1


def build_motion_model(
    name: str,
    clips: Float[Tensor, "count frames joints 3"],
    *,
    seed: int,
    levels: Sequence[Shape],
    trunk_features: int,
    hidden: Sequence[int],
    kl_steps: int,
    depth: int | None = None,
    keep: Literal["lowest", "highest"] = "highest",
    off_latent: Literal["prior", "posterior"] = "prior",
    layout: Layout = "paper",
    num_classes: int = 0,
) -> MotionModel:
    """A network that has learned nothing yet but the scale of the clips, which are those of training.

    name: one of ``MODELS``. seed: of the initial weights; torch's global generators are left as they were.
    levels, trunk_features: of ``HGVAEConfig``; HM-VAE takes the lowest level's features for its own.
    hidden: of ``MotionVAEConfig``, whose latent has as many numbers as the last layer.
    kl_steps: the step from which the divergence weighs 1.
    depth, keep, off_latent: so many levels of HG-VAE are drawn (all), see ``off_levels`` and ``HGVAEConfig``.
    layout, num_classes: of ``HGVAEConfig``.

    Raises ``ValueError`` for an unknown name, and as the configs.
    """
    frames, joints = clips.shape[1:3]
    common = {"num_frames": frames, "num_joints": joints, "kl_steps": kl_steps}
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        if name == "HG-VAE":
            off = () if depth is None else off_levels(len(levels), depth, keep)
            config = HGVAEConfig(**common, levels=tuple(levels), trunk_features=trunk_features, off_levels=off,
                                 off_latent=off_latent, layout=layout, num_classes=num_classes)  # fmt: skip
            model = HGVAE(config)
        elif name == "HM-VAE":
            model = HMVAE(HMVAEConfig(**common, level_features=levels[0][1], trunk_features=trunk_features))
        elif name == "VAE":
            model = MotionVAE(MotionVAEConfig(**common, hidden=tuple(hidden), latent_dim=hidden[-1]))
        else:
            raise ValueError(f"no model is called {name!r}; there are {', '.join(MODELS)}")
    model.nodes.standardize(clips)
    return model


def table_row(model: MotionModel) -> str:
    """Where a model stands in Table 1: ``"depth 4"`` of those of 16 levels, with what is not the usual reading of which
    levels are off, and which mean they take; others by their name."""
    if not isinstance(model, HGVAE):
        return "HM-VAE" if isinstance(model, HMVAE) else "VAE"
    config = model.config
    off, count = config.off_levels, len(config.levels)
    if count != DEPTHS:
        return "HG-VAE"
    row = f"depth {count - len(off)}"
    if not off:
        return row
    row += ", lowest levels" * (0 in off)
    return row + ", posterior means" * (config.off_latent == "posterior")
