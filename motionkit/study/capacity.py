"""How much of an HG-VAE learns when levels are turned off: Table 1 calls its depths "independent of capacity"."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch

from motionkit.fitting.surroundings import seeded
from motionkit.models.hg_vae import HGVAE, HGVAEConfig, Shape, off_levels
from motionkit.study.hg_vae_claims import DEPTHS, READINGS, label_of


def learning_parameters(config: HGVAEConfig) -> tuple[int, int]:
    """(all parameters, those on which the loss depends and which therefore learn). Builds the model."""
    with seeded(torch.device("cpu"), 0):
        model = HGVAE(config)
        clips = torch.zeros(1, config.num_frames, config.num_joints, 3)
        model.loss(clips, step=config.kl_steps)["loss"].backward()
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    learns = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    return sum(sizes.values()), sum(sizes[name] for name in learns)


def capacity_table(levels: Sequence[Shape], trunk_features: int) -> pd.DataFrame:
    """Share of the parameters that learn, as text, by depth (line) and reading (column), of a model of these sizes
    (``HGVAEConfig``), whose parameters the index counts. Depths beyond the number of levels are left out."""
    table: dict[str, dict[str, str]] = {}
    for reading, (keep, off_latent) in READINGS.items():
        for depth in (depth for depth in DEPTHS if depth <= len(levels)):
            off = off_levels(len(levels), depth, keep)
            config = HGVAEConfig(levels=levels, trunk_features=trunk_features, off_levels=off, off_latent=off_latent)
            total, learning = learning_parameters(config)
            table.setdefault(label_of(reading), {})[f"depth {depth}"] = f"{100 * learning / total:.0f} %"
    return pd.DataFrame(table).rename_axis(f"of {total:,}")
