"""Windows encoded once, and the statistics of their keypoints that need no model."""

import pytest
import torch

from motionkit.data.anomalies import backward, jittered, shuffled
from motionkit.data.cameras import dome
from motionkit.data.catalogue import load_dataset
from motionkit.data.skeleton import H36M_17
from motionkit.data.windows import cut_windows, thin
from motionkit.metrics.detection import auc
from motionkit.models.encoding import encode_windows, load_tokenizer
from motionkit.models.motion_statistics import STATISTICS, MotionStatistics, motion_statistics
from motionkit.models.vqgan import VQGAN, VQGANConfig
from motionkit.models.weights import save_weights
from motionkit.representation.heatmap_video import HeatmapVideo

VIDEO = HeatmapVideo(H36M_17, "2d", 32, 0.75, tuple(dome()))


@pytest.fixture(scope="module")
def windows():
    clips = load_dataset("synthetic", H36M_17, max_clips=24)
    return thin(cut_windows(clips, length=8, stride=8, fps=20.0), 40)


@pytest.fixture(scope="module")
def tokenizer():
    torch.manual_seed(0)
    config = VQGANConfig(
        16, 1, (8, 16), 3, 1, 1, True, num_codes=16, code_dim=8, adversarial_start=None, perceptual="none"
    )
    return VQGAN(config).eval()


def test_tokens_are_those_of_the_keypoints_beside_them(windows, tokenizer):
    encoded = encode_windows(tokenizer, VIDEO, windows, seed=0, batch_size=7)
    drawn = VIDEO.draw(encoded.keypoints[:3], windows.confidence[:3])
    assert torch.equal(tokenizer.encode(drawn["input"]), encoded.tokens[:3])
    assert encoded.tokens.shape == (40, 1, 4, 4)
    assert encoded.error is None


def test_views_follow_each_other_and_differ(windows, tokenizer):
    encoded = encode_windows(tokenizer, VIDEO, windows, seed=0, num_views=2)
    assert encoded.window.tolist() == [*range(40), *range(40)]
    assert not torch.allclose(encoded.keypoints[:40], encoded.keypoints[40:])


def test_the_seed_decides_the_views_and_the_batch_size_nothing(windows, tokenizer):
    one, two, other = (encode_windows(tokenizer, VIDEO, windows, seed=seed, batch_size=size)
                       for seed, size in ((0, 16), (0, 5), (1, 16)))  # fmt: skip
    assert torch.equal(one.keypoints, two.keypoints)
    assert torch.equal(one.tokens, two.tokens)
    assert not torch.allclose(one.keypoints, other.keypoints)


def test_equal_seeds_give_changed_windows_the_same_views(windows, tokenizer):
    usual, changed = (encode_windows(tokenizer, VIDEO, w, seed=0).keypoints for w in (windows, backward(windows, 0)))
    torch.testing.assert_close(changed.flip(1), usual, atol=1e-3, rtol=0)


def test_the_error_is_that_of_the_window_drawn_again(windows, tokenizer):
    encoded = encode_windows(tokenizer, VIDEO, windows, seed=0, with_error=True)
    drawn = VIDEO.draw(encoded.keypoints[3:4], windows.confidence[3:4])
    again = tokenizer.decode(encoded.tokens[3:4]).clamp(0, 1)
    assert encoded.error[3].item() == pytest.approx((again - drawn["target"]).abs().mean().item(), rel=1e-4)


def test_poses_are_the_keypoints_within_the_picture(windows, tokenizer):
    encoded = encode_windows(tokenizer, VIDEO, windows, seed=0)
    poses = encoded.poses(32)
    assert poses.shape == (40, 8, 34)
    assert poses.unflatten(2, (17, 2))[windows.confidence > 0].abs().max() <= 1
    torch.testing.assert_close((poses[3, 5] + 1) * 16, encoded.keypoints[3, 5].flatten())
    few = (encoded.poses(32, 4) + 1) * 16
    torch.testing.assert_close(few, encoded.keypoints[:, [0, 2, 4, 6]].round().flatten(2))


def test_a_tokenizer_of_ones_own_is_found_by_its_folder(tmp_path, tokenizer):
    save_weights(tokenizer, tmp_path / "mine", {})
    assert torch.equal(load_tokenizer(tmp_path / "mine").quantizer.codebook, tokenizer.quantizer.codebook)
    with pytest.raises(ValueError, match="'nobodys'"):
        load_tokenizer("nobodys")
    with pytest.raises(ValueError, match="'hg-vae-18-50' is a HGVAE, and no tokenizer"):
        load_tokenizer("hg-vae-18-50")


# ---- statistics without a model --------------------------------------------------------------------------------------


def test_statistics_by_hand():
    """One joint at x = t ** 2: speeds 1, 3, 5, 7, acceleration 2, no jerk."""
    keypoints = torch.zeros(1, 5, 1, 2)
    keypoints[0, :, 0, 0] = torch.arange(5.0) ** 2
    found = dict(zip(STATISTICS, motion_statistics(keypoints)[0].exp().tolist(), strict=True))
    expected = {
        "mean speed": 4,
        "highest speed": 7,
        "mean acceleration": 2,
        "highest acceleration": 2,
        "mean jerk": 1e-3,
    }
    assert found == pytest.approx(expected | {"spread of speed": torch.tensor([1.0, 3, 5, 7]).std().item()}, rel=1e-4)


def test_statistics_do_not_see_places_and_turns():
    keypoints = torch.randn(3, 9, 4, 2, generator=torch.Generator().manual_seed(0))
    turned = keypoints @ torch.tensor([[0.6, -0.8], [0.8, 0.6]]) + torch.tensor([5.0, -2.0])
    torch.testing.assert_close(motion_statistics(turned), motion_statistics(keypoints))
    torch.testing.assert_close(motion_statistics(keypoints.flip(1)), motion_statistics(keypoints))


def test_usual_windows_score_as_many_as_there_are_statistics(windows):
    keypoints, _ = VIDEO.place(windows.positions, torch.Generator().manual_seed(0), windows.confidence)
    scores = MotionStatistics(keypoints).score(keypoints)
    assert scores.mean().item() == pytest.approx(len(STATISTICS), rel=0.2)
    assert scores.min() >= 0


def test_noise_and_disorder_stand_out_and_standing_still_is_finite(windows):
    usual, noisy, mixed = (VIDEO.place(w.positions, torch.Generator().manual_seed(0), w.confidence)[0]
                           for w in (windows, jittered(windows, 0), shuffled(windows, 0)))  # fmt: skip
    model = MotionStatistics(usual)
    assert auc(model.score(usual), model.score(noisy)) > 0.9
    assert auc(model.score(usual), model.score(mixed)) > 0.9
    assert model.score(torch.zeros_like(usual)).isfinite().all()


def test_too_little_is_refused():
    with pytest.raises(ValueError, match="3 frames"):
        motion_statistics(torch.zeros(2, 3, 1, 2))
    with pytest.raises(ValueError, match="got 1"):
        MotionStatistics(torch.zeros(1, 5, 1, 2))
