"""The networks of paper 4 by name: what each is built of, and their place in Table 1."""

from dataclasses import replace

import pytest
import torch

from motionkit.models.hg_vae import NODES_OF_16_LEVELS, HGVAEConfig, off_levels
from motionkit.models.motion_models import MODELS, build_motion_model, motion_model_config, table_row

SIZES = {"num_frames": 6, "num_joints": 18, "levels": [[54, 4], [8, 4], [1, 6]], "trunk_features": 8,
         "hidden": [10, 5], "kl_steps": 7}  # fmt: skip
CLIPS = torch.randn(4, 6, 18, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_trains_on_its_clips_and_its_seed_decides(name):
    config = motion_model_config(name, **SIZES)
    before = torch.get_rng_state()
    model, again, other = (build_motion_model(config, CLIPS, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert table_row(model) == name
    assert model.loss(CLIPS, 1)["loss"].isfinite()
    assert model.kl_weight(7) == 1 > model.kl_weight(6)
    same = [torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)]
    assert all(same)
    assert not all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    nodes = model.nodes(CLIPS)
    torch.testing.assert_close(nodes.mean(1), torch.zeros_like(nodes[:, 0]), atol=1e-5, rtol=0)  # the clips' own scale


def test_depth_says_which_levels_are_drawn():
    assert motion_model_config("HG-VAE", **SIZES).off_levels == ()
    config = motion_model_config("HG-VAE", **SIZES, depth=1, keep="lowest", off_latent="posterior")
    assert (config.off_levels, config.off_latent) == ((0, 1), "posterior")
    assert motion_model_config("HM-VAE", **SIZES).level_features == 4
    assert motion_model_config("VAE", **SIZES).latent_dim == 5
    with pytest.raises(ValueError, match="no model is called 'GAN'; there are HG-VAE, HM-VAE, VAE"):
        motion_model_config("GAN", **SIZES)


def test_rows_of_table_one_tell_depth_and_reading():
    levels = tuple((nodes, 2) for nodes in NODES_OF_16_LEVELS)
    whole = HGVAEConfig(num_frames=6, levels=levels, trunk_features=4)
    rows = {
        (16, "highest", "prior"): "depth 16",
        (16, "lowest", "posterior"): "depth 16",
        (4, "highest", "prior"): "depth 4",
        (4, "lowest", "prior"): "depth 4, lowest levels",
        (1, "highest", "posterior"): "depth 1, posterior means",
        (2, "lowest", "posterior"): "depth 2, lowest levels, posterior means",
    }
    for (depth, keep, latent), row in rows.items():
        config = replace(whole, off_levels=off_levels(16, depth, keep), off_latent=latent)
        assert table_row(build_motion_model(config, CLIPS, seed=0)) == row
