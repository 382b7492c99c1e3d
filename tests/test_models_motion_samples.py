"""Draws of classes, level by level and between clips: who is drawn, with which noise, and where lines end."""

from dataclasses import replace

import pytest
import torch

from motionkit.fitting.surroundings import seeded
from motionkit.models.hg_vae import HGVAE, HGVAEConfig
from motionkit.models.motion_samples import between, draw_classes, draw_classes_linear, level_by_level, tops_like

TINY = HGVAEConfig(3, 8, levels=((9, 8), (4, 8), (1, 12)), trunk_features=16)


def build(config=TINY):
    """A model in which every level has a say: at first the weights of all but z0 are 0."""
    torch.manual_seed(0)
    model = HGVAE(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "alpha" in name:
                parameter.fill_(0.3)
    return model


def test_classes_are_drawn_class_by_class_and_the_seed_decides():
    model = build(replace(TINY, num_classes=3))
    clips, classes = draw_classes(model, 4, seed=7)
    assert clips.shape == (12, 8, 3, 3)
    assert classes.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    before = torch.random.get_rng_state()
    assert torch.equal(draw_classes(model, 4, seed=7)[0], clips)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.equal(draw_classes(model, 4, seed=8)[0], clips)
    with pytest.raises(ValueError, match="the model has no classes; build it with num_classes"):
        draw_classes(build(), 4, seed=7)


def test_z0_of_a_class_is_drawn_where_its_clips_have_theirs():
    model = build(replace(TINY, num_classes=2))
    torch.manual_seed(1)
    clips, classes = torch.cat([torch.randn(300, 8, 3, 3), 3 + torch.randn(40, 8, 3, 3)]), torch.arange(340) // 300
    drawn = tops_like(model, clips, classes, 4000)[0].detach()
    posterior = model.infer(clips, classes).posteriors[0]
    for label, part in ((0, drawn[:4000]), (1, drawn[4000:])):
        mean, var = (x[0, classes == label].detach() for x in (posterior.mean, posterior.log_var.exp()))
        spread = mean.var(0) + var.mean(0)  # of one draw from the posterior of each clip
        assert ((part.mean(0) - mean.mean(0)).abs() < 5 * (spread / len(mean)).sqrt()).all()
        assert 0.5 < part.var(0).sum() / spread.sum() < 1.5
    like, labels = draw_classes(model, 3, seed=7, like=(clips, classes))
    assert torch.equal(like, draw_classes(model, 3, seed=7, like=(clips, classes))[0])
    assert labels.tolist() == [0] * 3 + [1] * 3
    assert not torch.equal(like, draw_classes(model, 3, seed=7)[0])
    with pytest.raises(ValueError, match="1 clips are of class 1; to be like them takes 2 or more"):
        draw_classes(model, 3, seed=7, like=(clips[:301], classes[:301]))


def test_fewer_levels_are_the_same_draw_of_the_others():
    model = build(replace(TINY, num_classes=3))
    rows = level_by_level(model, 1, seed=5)
    assert list(rows) == ["z0", "z0 to z1", "z0 to z2"]
    assert not torch.equal(rows["z0"], rows["z0 to z1"])
    changes = [torch.equal(row, again) for row, again in
               zip(rows.values(), level_by_level(model, 1, seed=5).values(), strict=True)]  # fmt: skip
    assert changes == [True] * 3
    with seeded(torch.device("cpu"), 5):  # all at once: the temperatures take no part in the draws
        everything = model.generate(model.sample_top(1), torch.tensor([1]), temperatures=(1, 1, 0)).mean[0]
    torch.testing.assert_close(everything, rows["z0 to z1"])
    assert draw_classes(model, 1, seed=5, drawn_levels=0)[0].shape == (3, 8, 3, 3)
    assert list(level_by_level(build(), seed=5, most=2)) == ["z0", "z0 to z2"]
    many = build(replace(TINY, levels=(*((9, 4),) * 15, (1, 6))))
    assert list(level_by_level(many, seed=5)) == ["z0", "z0 to z4", "z0 to z8", "z0 to z11", "z0 to z15"]


def test_a_line_begins_and_ends_where_the_clips_are_and_runs_straight_in_z0():
    model, ends = build(), torch.randn(2, 8, 3, 3)
    line = between(model, ends, 3)
    z0 = model.top_of(ends)
    expected = model.generate(torch.cat([z0[:, :1], z0.mean(1, keepdim=True), z0[:, 1:]], 1), drawn_levels=0).mean
    torch.testing.assert_close(line, expected)


def test_a_normal_distribution_is_fitted_to_each_class():
    torch.manual_seed(0)
    near, far = torch.randn(40, 8, 3, 3), 100 + torch.randn(6, 8, 3, 3)
    clips, classes = torch.cat([near, far]), torch.tensor([3] * 40 + [5] * 6)
    drawn, labels = draw_classes_linear(clips, classes, 10, num_components=8, seed=1)
    assert labels.tolist() == [3] * 10 + [5] * 10
    assert (drawn[:10].mean() - near.mean()).abs() < 0.5
    assert (drawn[10:].mean() - 100).abs() < 0.5
    away = (drawn[10:] - far.mean(0)).flatten(1)
    assert torch.linalg.matrix_rank(away, rtol=1e-3) == 3  # half of six clips
    assert torch.equal(drawn, draw_classes_linear(clips, classes, 10, num_components=8, seed=1)[0])
    with pytest.raises(ValueError, match="2 clips are of class 3; a linear model of them takes 3 or more"):
        draw_classes_linear(clips[:2], classes[:2], 10, num_components=8, seed=1)
