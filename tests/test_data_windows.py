"""Windows never cross a clip, resampling is exact at instants, batches depend on seed and index alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motionkit.data.clip import MotionClip
from motionkit.data.skeleton import Skeleton
from motionkit.data.windows import (
    WindowBatches,
    cut_windows,
    default_split,
    resample_clip,
    sample_segments,
    split_by_clip,
    split_by_subject,
    thin,
)

STICK = Skeleton("stick", ("foot", "head"), (-1, 0), ((0, 1),))
FORK = Skeleton("fork", ("foot", "prong"), (-1, 0), ((0, 1),))


def ramp(frames: int, *, number: int = 0, fps: float = 100.0, skeleton=STICK, subject="", confidence=None):
    """x is the frame, y the joint, z the clip's number: a window tells where it was cut from."""
    positions = np.zeros((frames, 2, 3), np.float32)
    positions[..., 0] = np.arange(frames)[:, None]
    positions[..., 1] = np.arange(2)
    positions[..., 2] = number
    return MotionClip(positions, fps, skeleton, name=f"clip{number}", subject=subject, confidence=confidence)


def motion(function, *, fps: float, frames: int) -> MotionClip:
    times = np.arange(frames) / fps
    return MotionClip(np.repeat(function(times)[:, None, None], 2, 1).repeat(3, 2), fps, STICK, name="m")


# --- cutting


@settings(max_examples=60, deadline=None)
@given(
    frames=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    length=st.integers(1, 12),
    stride=st.integers(1, 15),
)
@pytest.mark.filterwarnings("ignore:.*give no window")
def test_windows_are_exactly_the_cuts_that_fit(frames, length, stride):
    clips = [ramp(count, number=number) for number, count in enumerate(frames)]
    expected = [
        (number, start)
        for number, count in enumerate(frames)
        for start in range(0, count, stride)
        if start + length <= count
    ]
    if not expected:
        with pytest.raises(ValueError, match="no clip has"):
            cut_windows(clips, length=length, stride=stride)
        return
    windows = cut_windows(clips, length=length, stride=stride)
    assert list(zip(windows.clip_index.tolist(), windows.start.tolist(), strict=True)) == expected
    assert windows.positions.shape == (len(expected), length, 2, 3)
    for window, (number, start) in zip(windows.positions, expected, strict=True):
        torch.testing.assert_close(window[:, 0, 0], torch.arange(start, start + length, dtype=torch.float32))
        assert (window[..., 2] == number).all()  # no frame of another clip
    assert set(windows.too_short) == {f"clip{n}" for n, count in enumerate(frames) if count < length}


def test_short_clips_are_reported():
    with pytest.warns(UserWarning, match=r"1 of 2 clips are shorter than 10 frames at 100 fps.*clip1"):
        windows = cut_windows([ramp(20), ramp(9, number=1)], length=10, stride=10)
    assert windows.too_short == ("clip1",)
    assert windows.clip(1).name == "clip0"
    assert (len(windows), windows.num_frames, windows.fps) == (2, 10, 100.0)


def test_windows_do_not_alias_the_clip():
    clip = ramp(10)
    windows = cut_windows([clip], length=5, stride=1)
    windows.positions.zero_()
    assert clip.positions[9, 0, 0] == 9


def test_confidence_is_cut_along_and_complete_clips_count_as_certain():
    confidence = np.linspace(0, 1, 12, dtype=np.float32).reshape(6, 2)
    windows = cut_windows([ramp(6, confidence=confidence), ramp(6, number=1)], length=3, stride=3)
    np.testing.assert_array_equal(windows.confidence[1], confidence[3:])
    assert (windows.confidence[2:] == 1).all()
    assert cut_windows([ramp(6)], length=3, stride=3).confidence is None


def test_joints_are_observed_that_any_window_shows():
    confidence = np.zeros((6, 2), dtype=np.float32)
    assert cut_windows([ramp(6, confidence=confidence)], length=3, stride=3).is_observed.tolist() == [False, False]
    confidence[4, 1] = 0.1
    assert cut_windows([ramp(6, confidence=confidence)], length=3, stride=3).is_observed.tolist() == [False, True]
    assert cut_windows([ramp(6)], length=3, stride=3).is_observed.tolist() == [True, True]


@pytest.mark.parametrize(
    ("clips", "arguments", "message"),
    [
        ([], {}, "no clips"),
        ([ramp(9), ramp(9, number=1, skeleton=FORK)], {}, r"'clip0' has 'stick', 'clip1' has 'fork'"),
        ([ramp(9), ramp(9, number=1, fps=30.0)], {}, r"'clip0' has 100 fps, 'clip1' has 30"),
        ([ramp(9)], {"length": 0}, "length 0"),
        ([ramp(9)], {"stride": 0}, "stride 0"),
        ([ramp(9)], {"length": 10}, r"no clip has 10 frames.*'clip0', has 9"),
        ([ramp(9)], {"fps": 0.0}, "cannot resample to 0"),
        ([ramp(9)], {"fps": float("nan")}, "cannot resample to nan"),
    ],
)
def test_wrong_requests_are_named(clips, arguments, message):
    with pytest.raises(ValueError, match=message):
        cut_windows(clips, **{"length": 4, "stride": 2, **arguments})


def test_clips_of_different_rates_meet_at_the_asked_rate():
    windows = cut_windows([ramp(101), ramp(31, number=1, fps=30.0)], length=21, stride=21, fps=20.0)
    assert len(windows) == 2
    assert windows.fps == 20
    torch.testing.assert_close(windows.positions[0, :, 0, 0], torch.arange(0, 101, 5.0))
    torch.testing.assert_close(windows.positions[1, :, 0, 0], torch.arange(21) * 1.5)


# --- resampling


@pytest.mark.parametrize("fps", [20.0, 24.0, 29.97, 50.0, 59.94, 90.0, 120.0, 250.0])
def test_linear_motion_stays_exact(fps):
    clip = resample_clip(motion(lambda t: 3 * t - 1, fps=60.0, frames=61), fps)
    times = np.arange(clip.num_frames) / fps
    np.testing.assert_allclose(clip.positions[:, 0, 0], 3 * times - 1, atol=1e-6)
    assert times[-1] <= 1 + 1e-9 < times[-1] + 1 / fps  # as many instants as the recording covers
    assert clip.fps == fps


def test_sinusoidal_motion_is_off_by_less_than_stated():
    function = lambda t: 0.1 * np.sin(2 * np.pi * 2 * t)  # noqa: E731
    clip = resample_clip(motion(function, fps=30.0, frames=91), 77.0)
    times = np.arange(clip.num_frames) / 77
    inside = (times > 0.3) & (times < 2.7)  # the spline's ends are less exact
    error = np.abs(clip.positions[:, 0, 0] - function(times))
    assert error[inside].max() < 0.1 * (2 * np.pi * 2 / 30) ** 4 / 384 * 1.2
    assert error.max() < 2e-4


def test_an_integer_ratio_picks_frames_bit_for_bit():
    clip = motion(lambda t: np.sin(40 * t), fps=120.00004577636719, frames=1000)
    np.testing.assert_array_equal(resample_clip(clip, 20.0).positions, clip.positions[::6])
    np.testing.assert_array_equal(resample_clip(clip, clip.fps).positions, clip.positions)


def test_up_and_down_again_returns_the_recording():
    clip = motion(lambda t: np.sin(9 * t) * np.exp(-t), fps=50.0, frames=77)
    back = resample_clip(resample_clip(clip, 150.0), 50.0)
    np.testing.assert_allclose(back.positions, clip.positions, atol=1e-6)


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_very_short_clips_resample(frames):
    clip = resample_clip(motion(lambda t: 2 * t, fps=10.0, frames=frames), 25.0)
    np.testing.assert_allclose(clip.positions[:, 1, 2], 2 * np.arange(clip.num_frames) / 25, atol=1e-6)
    assert clip.num_frames == int((frames - 1) * 2.5) + 1


def test_unobserved_joints_bend_nothing_and_lower_confidence():
    clip = motion(lambda t: 5 * t, fps=10.0, frames=9)
    confidence = np.ones((9, 2), np.float32)
    confidence[4, 0] = 0
    clip.positions[4, 0] = 1e6  # what an unobserved joint holds is arbitrary
    dirty = MotionClip(clip.positions, 10.0, STICK, confidence=confidence)
    resampled = resample_clip(dirty, 15.0)
    np.testing.assert_allclose(resampled.positions[:, 0, 0], np.arange(13) / 3, atol=1e-5)
    # instants in frames: 0, 2/3, 4/3, 2, 8/3, 10/3, 4, 14/3, 16/3, ...: those within one frame of 4 are uncertain
    np.testing.assert_array_equal(np.flatnonzero(resampled.confidence[:, 0] == 0), [5, 6, 7])
    assert (resampled.confidence[:, 1] == 1).all()


# --- splitting


def test_thin_keeps_first_and_last_and_what_belongs_together():
    windows = cut_windows([ramp(50, confidence=np.ones((50, 2))), ramp(50, number=1)], length=5, stride=1)
    few = thin(windows, 7)
    assert len(few) == len(few.clip_index) == len(few.start) == len(few.confidence) == 7
    assert [int(few.start[0]), int(few.clip_index[0])] == [0, 0]
    assert [int(few.start[-1]), int(few.clip_index[-1])] == [45, 1]
    assert torch.equal(few.positions[:, 0, 0, 0], few.start.float())
    assert thin(windows, 1000) is windows
    with pytest.raises(ValueError, match="got 0"):
        thin(windows, 0)


def people(count: int) -> list[MotionClip]:
    return [ramp(3, number=n, subject=f"person {n % count}") for n in range(3 * count)]


def test_no_person_is_on_both_sides():
    clips = people(10)
    train, test = split_by_subject(clips)
    assert {c.subject for c in train}.isdisjoint(c.subject for c in test)
    assert len(train) + len(test) == len(clips)
    assert len({c.subject for c in test}) == 2
    again = split_by_subject(clips[::-1])[1]
    assert {c.subject for c in again} == {c.subject for c in test}  # does not depend on the order


def test_held_out_subjects_are_the_named_ones():
    train, test = split_by_subject(people(3), held_out=["person 1"])
    assert {c.subject for c in test} == {"person 1"}
    assert {c.subject for c in train} == {"person 0", "person 2"}
    assert split_by_subject(people(3), held_out="person 1")[1][0].name == test[0].name


@pytest.mark.parametrize(
    ("count", "held_out", "message"),
    [(1, None, "only 'person 0'"), (3, ["nobody"], "'nobody' is not among the 3"), (2, [], "one part empty")],
)
def test_impossible_splits_are_refused(count, held_out, message):
    with pytest.raises(ValueError, match=message):
        split_by_subject(people(count), held_out=held_out)


def test_data_of_one_person_is_split_by_clip():
    clips = people(1)
    train, test = default_split(clips)
    assert sorted(c.name for c in train + test) == [c.name for c in clips]
    assert [c.name for c in test] == [c.name for c in split_by_clip(clips)[1]]
    assert {c.subject for c in default_split(people(5))[1]}.isdisjoint(c.subject for c in default_split(people(5))[0])


# --- batches


def numbered(count: int):
    return cut_windows([ramp(count)], length=1, stride=1)


def ids(batch) -> list[int]:
    return batch[:, 0, 0, 0].int().tolist()


@settings(max_examples=60, deadline=None)
@given(data=st.data(), count=st.integers(1, 30), seed=st.integers(0, 2**40))
def test_every_epoch_holds_every_window_once(data, count, seed):
    size = data.draw(st.integers(1, count))
    batches = WindowBatches(numbered(count), size, seed=seed)
    stream = [i for index in range(-(-3 * count // size)) for i in ids(batches(index))]
    for epoch in range(3):
        part = stream[epoch * count : (epoch + 1) * count]
        assert sorted(part) == list(range(count))


def test_a_batch_depends_on_seed_and_index_alone():
    noisy = lambda positions, generator: positions + torch.randn(positions.shape, generator=generator)  # noqa: E731
    forward = WindowBatches(numbered(20), 7, seed=3, transform=noisy)
    backward = WindowBatches(numbered(20), 7, seed=3, transform=noisy)
    there = {index: forward(index) for index in (0, 1, 2, 3, 50, 10**9)}
    for index in reversed(there):
        assert torch.equal(backward(index), there[index])
    assert not torch.equal(there[0], there[1])
    other = WindowBatches(numbered(20), 7, seed=4, transform=noisy)
    assert not torch.equal(other(0), there[0])


def test_epochs_and_seeds_are_shuffled_differently():
    epochs = [tuple(ids(WindowBatches(numbered(50), 50, seed=seed)(epoch))) for seed in range(3) for epoch in range(3)]
    assert len(set(epochs)) == 9


def test_evaluation_goes_in_order_once_and_repeats_itself():
    noisy = lambda positions, generator: (positions, torch.rand(2, generator=generator))  # noqa: E731
    batches = WindowBatches(numbered(10), 4, seed=0, transform=noisy)
    passes = [list(batches.in_order()) for _ in range(2)]
    assert [ids(batch) for batch, _ in passes[0]] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    for (_, first), (_, second) in zip(*passes, strict=True):
        assert torch.equal(first, second)
    assert [len(batch) for batch, _ in batches.in_order(10)] == [10]


def test_confidence_reaches_the_transform():
    confidence = np.linspace(0, 1, 10, dtype=np.float32).reshape(5, 2)
    windows = cut_windows([ramp(5, confidence=confidence)], length=1, stride=1)
    batches = WindowBatches(windows, 3, seed=0, transform=lambda p, g, c: (p, c))
    positions, chosen = batches(1)
    np.testing.assert_array_equal(chosen[:, 0], confidence[ids(positions)])


@pytest.mark.parametrize(
    ("size", "seed", "message"),
    [(6, 0, "batch_size is 6, but there are 5 windows"), (0, 0, "batch_size is 0"), (2, -1, "seed must be 0 or more")],
)
def test_impossible_batches_are_refused(size, seed, message):
    with pytest.raises(ValueError, match=message):
        WindowBatches(numbered(5), size, seed=seed)


def test_negative_index_is_refused():
    with pytest.raises(ValueError, match="got -1"):
        WindowBatches(numbered(5), 2, seed=0)(-1)


def test_segments_cover_a_random_part_of_the_span_in_order():
    span = torch.arange(300.0).reshape(1, 300, 1, 1).expand(400, 300, 2, 3)
    drawn = sample_segments(span, torch.Generator().manual_seed(0))[:, :, 0, 0]
    assert drawn.shape == (400, 64)
    assert (drawn.diff(dim=1) >= 0).all()
    ends = drawn[:, -1]
    assert ends.min() >= 14  # of at least 16 frames, the last of 64 segments
    assert ends.max() < 299
    assert 120 < ends.mean() < 190  # n is uniform in [16, 300): mean 157.5
    lengths = (ends + 1).clamp(min=16)
    segment = torch.arange(64) * lengths[:, None] / 64
    assert (drawn >= segment.floor() - 1).all()
    again = sample_segments(span, torch.Generator().manual_seed(0))[:, :, 0, 0]
    assert torch.equal(drawn, again)
