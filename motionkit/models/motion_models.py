"""The networks that paper 4 compares, by name, each built of the same few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from motionkit.fitting.surroundings import seeded
from motionkit.models.hg_vae import HGVAE, HGVAEConfig, Layout, off_levels
from motionkit.models.hm_vae import HMVAE, HMVAEConfig
from motionkit.models.motion_vae import MotionVAE, MotionVAEConfig

MotionModel = HGVAE | HMVAE | MotionVAE
MotionModelConfig = HGVAEConfig | HMVAEConfig | MotionVAEConfig
MODELS = ("HG-VAE", "HM-VAE", "VAE")
DEPTHS = 16  # levels of the models of Table 1


def motion_model_config(
    name: str,
    *,
    num_frames: int,
    num_joints: int,
    levels: Sequence[Sequence[int]],
    trunk_features: int,
    hidden: Sequence[int],
    kl_steps: int,
    depth: int | None = None,
    keep: Literal["lowest", "highest"] = "highest",
    off_latent: Literal["prior", "posterior"] = "prior",
    layout: Layout = "paper",
    num_classes: int = 0,
) -> MotionModelConfig:
    """The config of one of ``MODELS``.

    levels, trunk_features: of ``HGVAEConfig``; HM-VAE takes the lowest level's features for its own.
    hidden: of ``MotionVAEConfig``, whose latent has as many numbers as the last layer.
    kl_steps: the step from which the divergence weighs 1.
    depth, keep: so many levels of HG-VAE are drawn (all), see ``off_levels``.
    off_latent, layout, num_classes: of ``HGVAEConfig``.

    Raises ``ValueError`` for an unknown name, and as the configs.
    """
    common = {"num_frames": num_frames, "num_joints": num_joints, "kl_steps": kl_steps}
    if name == "HG-VAE":
        off = () if depth is None else off_levels(len(levels), depth, keep)
        return HGVAEConfig(**common, levels=tuple(map(tuple, levels)), trunk_features=trunk_features, off_levels=off,
                           off_latent=off_latent, layout=layout, num_classes=num_classes)  # fmt: skip
    if name == "HM-VAE":
        return HMVAEConfig(**common, level_features=levels[0][1], trunk_features=trunk_features)
    if name == "VAE":
        return MotionVAEConfig(**common, hidden=tuple(hidden), latent_dim=hidden[-1])
    raise ValueError(f"no model is called {name!r}; there are {', '.join(MODELS)}")


def build_motion_model(
    config: MotionModelConfig, clips: Float[Tensor, "count frames joints 3"], *, seed: int
) -> MotionModel:
    """A network that has learned nothing yet but the scale of the clips, which are those of training.

    seed: of the initial weights; torch's global generators are left as they were.
    """
    kind = {HGVAEConfig: HGVAE, HMVAEConfig: HMVAE, MotionVAEConfig: MotionVAE}[type(config)]
    with seeded(torch.device("cpu"), seed):
        model = kind(config)
    model.nodes.standardize(clips.cpu())
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
