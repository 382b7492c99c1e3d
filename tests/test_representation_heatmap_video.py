import pytest
import torch

from motionkit.data.cameras import dome
from motionkit.data.skeleton import H36M_17
from motionkit.representation.heatmap_video import HeatmapVideo, center_on_ground, turn


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def windows(batch: int = 3, frames: int = 8) -> torch.Tensor:
    """Bodies of about human size that drift away from the origin."""
    positions = torch.randn(batch, frames, H36M_17.num_joints, 3, generator=generator(7)) * 0.3
    drift = torch.linspace(0, 1, frames)[:, None, None] * torch.tensor([0.5, 0.0, 0.2])
    return positions + drift + torch.tensor([5.0, 1.0, -3.0])


def video(dimensions: str, **changes) -> HeatmapVideo:
    return HeatmapVideo(H36M_17, dimensions, size=32, sigma_px=1.0, cameras=tuple(dome()), **changes)


@pytest.mark.parametrize("dimensions", ["2d", "3d"])
def test_shapes_and_range(dimensions):
    maker = video(dimensions)
    batch = maker(windows(), generator())
    assert batch["input"].shape == (3, maker.in_channels, 8, 32, 32)
    assert batch["target"].shape == (3, maker.out_channels, 8, 32, 32)
    assert batch["target"].min() >= 0
    assert 0.5 < batch["target"].max() <= 1 + 1e-6


def test_2d_target_is_the_maximum_over_the_limbs():
    batch = video("2d")(windows(), generator())
    torch.testing.assert_close(batch["target"], batch["input"].amax(1, keepdim=True), rtol=0, atol=0)


@pytest.mark.parametrize("dimensions", ["2d", "3d"])
def test_what_was_placed_is_what_is_drawn(dimensions):
    maker = video(dimensions)
    drawn = maker.draw(*maker.place(windows(), generator()))
    assert all(torch.equal(drawn[key], value) for key, value in maker(windows(), generator()).items())


@pytest.mark.parametrize("dimensions", ["2d", "3d"])
def test_place_in_the_room_does_not_matter(dimensions):
    moved = windows() + torch.tensor([-2.0, 0.0, 4.0])
    here, there = (video(dimensions)(positions, generator())["target"] for positions in (windows(), moved))
    torch.testing.assert_close(here, there, atol=2e-3, rtol=0)


@pytest.mark.parametrize("dimensions", ["2d", "3d"])
def test_the_generator_decides_the_view(dimensions):
    same, again, other = (video(dimensions)(windows(), generator(seed))["target"] for seed in (1, 1, 2))
    assert torch.equal(same, again)
    assert not torch.allclose(same, other)


@pytest.mark.parametrize("dimensions", ["2d", "3d"])
def test_body_fills_its_box_and_stays_inside(dimensions):
    keypoints, peaks = video(dimensions).place(windows(), generator())
    extent = (keypoints.amax((1, 2)) - keypoints.amin((1, 2))).amax(-1)
    torch.testing.assert_close(extent, torch.full((3,), 0.9 * 32))
    assert torch.equal(peaks, torch.ones_like(peaks))


def test_unobserved_joints_are_not_drawn():
    positions = windows()
    confidence = torch.ones(positions.shape[:-1])
    confidence[..., 3] = 0
    layers = video("2d")(positions, generator(), confidence)["input"]
    touches = torch.tensor([3 in limb for limb in H36M_17.limbs])
    assert layers[:, touches].amax() == 0
    assert (layers[:, ~touches].amax((0, 2, 3, 4)) > 0.5).all()


def test_joints_behind_the_camera_are_not_drawn():
    positions = windows(1)
    positions[0, :, 5] += torch.tensor(
        [0.0, 0.0, 9.0]
    )  # 9 m along z: behind a camera that stands 2.75 m away on that side
    maker = HeatmapVideo(H36M_17, "2d", size=32, sigma_px=1.0, cameras=tuple(dome()[:1]))
    _, peaks = maker.place(positions, generator())
    assert peaks[0, :, 5].max() == 0
    assert peaks[0, :, :5].min() == 1


def test_center_on_ground_keeps_heights():
    centered = center_on_ground(windows())
    torch.testing.assert_close(centered[..., 1], windows()[..., 1])
    torch.testing.assert_close(centered.mean((1, 2))[:, [0, 2]], torch.zeros(3, 2), atol=1e-5, rtol=0)


def test_turn_is_a_rotation_about_the_vertical():
    positions = windows()
    turned = turn(positions, generator())
    torch.testing.assert_close(turned[..., 1], positions[..., 1])
    torch.testing.assert_close(turned.norm(dim=-1), positions.norm(dim=-1))
    assert torch.linalg.det(torch.linalg.lstsq(positions[0, 0], turned[0, 0]).solution) == pytest.approx(1, abs=1e-3)


def test_errors_name_the_value():
    with pytest.raises(ValueError, match="'4d'"):
        video("4d")
    with pytest.raises(ValueError, match="at least one camera"):
        HeatmapVideo(H36M_17, "2d", size=32, sigma_px=1.0)


@pytest.mark.parametrize("dimensions", ["2d", "3d"])
def test_scored_batches_tell_what_was_drawn(dimensions):
    maker = video(dimensions)
    batch, expected = maker.scored(windows(), generator()), maker(windows(), generator())
    assert torch.equal(batch["input"], expected["input"])
    assert torch.equal(batch["target"], expected["target"])
    assert torch.equal(maker.draw(batch["keypoints"], batch["peaks"])["target"], expected["target"])


def test_sampled_frames_are_frames_of_the_span_in_order():
    # joint 0 rises by the frame's number; a confidence that counts frames too must travel with its frame
    positions = windows(4, 40)
    positions[..., 0, 1] = torch.arange(40.0)
    maker = video("3d", sampled_frames=8)
    keypoints, peaks = maker.place(positions, generator(), torch.arange(1.0, 41)[None, :, None].expand(4, 40, 17) / 40)
    assert keypoints.shape == (4, 8, 17, 3)
    frames = (peaks[..., 0] * 40 - 1).round()
    assert (frames.diff(dim=1) >= 0).all()
    assert len(set(frames[:, -1].tolist())) > 1  # parts of different length
    rise = keypoints[:, :, 0, 1]
    scale = (rise[:, -1] - rise[:, 0]) / (frames[:, -1] - frames[:, 0])
    torch.testing.assert_close(rise - rise[:, :1], (frames - frames[:, :1]) * scale[:, None], atol=1e-3, rtol=0)


def test_random_peaks_dim_the_picture_and_keep_unobserved_joints_dark():
    confidence = torch.ones(windows().shape[:-1])
    confidence[..., 3] = 0
    _, peaks = video("2d", has_random_peaks=True).place(windows(), generator(), confidence)
    assert (peaks[..., 3] == 0).all()
    rest = peaks[..., torch.arange(17) != 3]
    assert 0.6 < rest.mean() < 0.7
    assert 0.1 < rest.std() < 0.22
