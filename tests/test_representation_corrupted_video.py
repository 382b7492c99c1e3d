import pytest
import torch

from motionkit.data.cameras import dome
from motionkit.data.skeleton import H36M_17
from motionkit.representation.corrupted_video import CorruptedVideo
from motionkit.representation.heatmap_video import HeatmapVideo

CLEAN = HeatmapVideo(H36M_17, "2d", 32, 1.0, tuple(dome()))


def windows() -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return 0.3 * torch.randn(3, 8, 17, 3, generator=generator) + torch.tensor([0.0, 1.0, 0.0])


def drawn(video, seed: int = 0, **levels) -> dict[str, torch.Tensor]:
    video = CorruptedVideo(video, levels) if levels else video
    return video(windows(), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["jitter", "occlusion", "outliers", "side swaps"])
def test_the_target_stays_clean_and_the_input_does_not(kind):
    clean, corrupted = drawn(CLEAN), drawn(CLEAN, **{kind: 0.9})
    assert torch.equal(corrupted["target"], clean["target"])
    assert corrupted["input"].shape == clean["input"].shape
    assert (corrupted["input"] - clean["input"]).abs().mean() > 1e-3


def test_level_zero_is_the_clean_video():
    clean, same = drawn(CLEAN), drawn(CLEAN, jitter=0.0, occlusion=0.0)
    assert all(torch.equal(clean[key], same[key]) for key in clean)


def test_the_generator_decides():
    first, again, other = drawn(CLEAN, jitter=2.0), drawn(CLEAN, jitter=2.0), drawn(CLEAN, seed=1, jitter=2.0)
    assert torch.equal(first["input"], again["input"])
    assert not torch.equal(first["input"], other["input"])


def test_kinds_and_amounts_vary_from_batch_to_batch():
    generator = torch.Generator().manual_seed(0)
    video = CorruptedVideo(CLEAN, {"jitter": 3.0, "side swaps": 1.0})
    changes = []
    for _ in range(12):
        batch = video(windows(), generator)
        changes.append((batch["input"].amax(1, keepdim=True) - batch["target"]).abs().mean().item())
    # A picture of all limbs does not show that sides were exchanged; it does show jitter, the more the stronger.
    assert 2 <= sum(change < 1e-6 for change in changes) <= 10
    shown = [change for change in changes if change >= 1e-6]
    assert max(shown) > 1.2 * min(shown)


def test_refusals():
    with pytest.raises(ValueError, match="video has dimensions '3d'"):
        CorruptedVideo(HeatmapVideo(H36M_17, "3d", 32, 1.0), {"jitter": 1.0})
    with pytest.raises(ValueError, match=r"levels are for \['fog'\]"):
        CorruptedVideo(CLEAN, {"fog": 1.0})
    with pytest.raises(ValueError, match=r"levels are for \[\]"):
        CorruptedVideo(CLEAN, {})
