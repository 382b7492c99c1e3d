"""Poses in the axes of the pelvis: hand-made bodies, invariances, and AMASS files with and without their root."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from motionkit.data.amass import read_amass
from motionkit.data.clip import MotionClip, convert_clip
from motionkit.data.sample.cmu import load_sample
from motionkit.data.skeleton import (
    AMASS_18,
    BANDAI_NAMCO_21,
    BODY_25,
    CMU_31,
    COCO_17,
    H36M_17,
    H36M_32,
    HUMANML3D_22,
    PANOPTIC_19,
    SMPL_24,
    SMPLH_52,
    Skeleton,
)
from motionkit.representation.pelvis_frame import clip_to_pelvis_frame, pelvis_windows, to_pelvis_frame

LAYOUTS = (CMU_31, BANDAI_NAMCO_21, SMPLH_52, H36M_17, H36M_32, SMPL_24, HUMANML3D_22, PANOPTIC_19, COCO_17, BODY_25)
every_layout = pytest.mark.parametrize("skeleton", LAYOUTS, ids=lambda skeleton: skeleton.name)


def body(skeleton, frames=5, seed=0):
    """Poses of no likeness to a person's, float64, in metres."""
    return np.random.default_rng(seed).uniform(-1, 1, (frames, skeleton.num_joints, 3))


def moved(positions, seed=1):
    """Each frame turned and shifted in its own way."""
    turns = Rotation.random(len(positions), rng=np.random.default_rng(seed)).as_matrix()
    shifts = np.random.default_rng(seed).uniform(-5, 5, (len(positions), 1, 3))
    return positions @ turns.swapaxes(-1, -2) + shifts


def distances(positions):
    return np.linalg.norm(positions[..., :, None, :] - positions[..., None, :, :], axis=-1)


def place(positions, skeleton, name):
    """A joint by its anatomical name; a pelvis that is no joint is the middle of the hips."""
    names = [a or j for a, j in zip(skeleton.anatomy, skeleton.joints, strict=True)]
    if name in names:
        return positions[..., names.index(name), :]
    return (place(positions, skeleton, "left_hip") + place(positions, skeleton, "right_hip")) / 2


# --- hand-made --------------------------------------------------------------------------------------------------------

SMALL = Skeleton("small", ("pelvis", "left_hip", "right_hip", "spine_low", "head"), None, ())
# The person faces +X and leans a little to the left, so left is -Z; the pelvis is at (1, 1, 1).
LEANING = np.array([[1, 1, 1], [1, 0.9, 0.9], [1, 0.9, 1.1], [1, 1.2, 0.95], [1.3, 1.6, 1.0]])


def test_a_body_by_hand():
    """x is -Z, y is +Y (the lean along the hips is left out), z is +X."""
    expected = [[0, 0, 0], [0.1, -0.1, 0], [-0.1, -0.1, 0], [0.05, 0.2, 0], [0, 0.6, 0.3]]
    np.testing.assert_allclose(to_pelvis_frame(LEANING, SMALL), expected, atol=1e-12)


def test_bending_ahead_turns_the_axes_about_x():
    """A spine that lies ahead of the pelvis becomes y, and what was up becomes back."""
    bent = LEANING.copy()
    bent[3] = [1.2, 1, 1]
    np.testing.assert_allclose(to_pelvis_frame(bent, SMALL)[3], [0, 0.2, 0], atol=1e-12)
    np.testing.assert_allclose(to_pelvis_frame(bent, SMALL)[4], [0, 0.3, -0.6], atol=1e-12)


def test_the_lowest_joint_of_the_spine_is_up():
    for skeleton, joint in (
        (SMPLH_52, "spine1"),
        (CMU_31, "Spine"),
        (BANDAI_NAMCO_21, "Spine"),
        (H36M_17, "spine"),
        (H36M_32, "Spine1"),
    ):
        above = to_pelvis_frame(body(skeleton), skeleton)[:, skeleton.index(joint)]
        np.testing.assert_allclose(above[:, 2], 0, atol=1e-12)
        assert (above[:, 1] > 0).all()


# --- properties -------------------------------------------------------------------------------------------------------


@every_layout
def test_the_same_however_each_frame_is_moved(skeleton):
    positions = body(skeleton)
    expected = to_pelvis_frame(positions, skeleton)
    np.testing.assert_allclose(to_pelvis_frame(moved(positions), skeleton), expected, atol=1e-12)


@every_layout
def test_all_lengths_are_kept_and_nothing_is_mirrored(skeleton):
    positions = body(skeleton)
    result = to_pelvis_frame(positions, skeleton)
    np.testing.assert_allclose(distances(result), distances(positions), atol=1e-12)

    def volume(points):  # of the body spanned by four joints; negative in a mirror
        return np.linalg.det(points[:, 1:4] - points[:, :1])

    spread = [0, 2, skeleton.num_joints // 2, skeleton.num_joints - 1]
    np.testing.assert_allclose(volume(result[:, spread]), volume(positions[:, spread]), atol=1e-12)


@every_layout
def test_the_pelvis_is_at_the_origin_and_the_hips_lie_along_x(skeleton):
    result = to_pelvis_frame(body(skeleton), skeleton)
    np.testing.assert_allclose(place(result, skeleton, "pelvis"), 0, atol=1e-12)
    across = place(result, skeleton, "left_hip") - place(result, skeleton, "right_hip")
    np.testing.assert_allclose(across[..., 1:], 0, atol=1e-12)
    assert (across[..., 0] > 0).all()


@every_layout
def test_once_is_enough(skeleton):
    once = to_pelvis_frame(body(skeleton), skeleton)
    np.testing.assert_allclose(to_pelvis_frame(once, skeleton), once, atol=1e-12)


@every_layout
def test_the_mirror_image_of_a_body_becomes_the_mirror_image_of_its_pose(skeleton):
    positions = body(skeleton)
    swapped = list(skeleton.mirrored_joints())
    result = to_pelvis_frame(positions[:, swapped] * (1, 1, -1), skeleton)
    np.testing.assert_allclose(result, to_pelvis_frame(positions, skeleton)[:, swapped] * (-1, 1, 1), atol=1e-12)


def test_any_leading_axes_and_the_dtype_are_kept():
    positions = body(SMPL_24, 6).astype(np.float32)
    given = positions.copy()
    result = to_pelvis_frame(positions, SMPL_24)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(to_pelvis_frame(positions.reshape(2, 3, 24, 3), SMPL_24).reshape(6, 24, 3), result)
    np.testing.assert_array_equal(to_pelvis_frame(positions[0], SMPL_24), result[0])
    assert to_pelvis_frame(positions[:0], SMPL_24).shape == (0, 24, 3)
    np.testing.assert_array_equal(positions, given)


# --- clips ------------------------------------------------------------------------------------------------------------


def test_a_recording_stands_still_and_faces_ahead():
    clip = replace(load_sample()[0], confidence=None)
    clip = replace(clip, positions=clip.positions[::40])
    posed = clip_to_pelvis_frame(clip)
    assert (posed.name, posed.fps, posed.skeleton, posed.confidence) == (clip.name, clip.fps, CMU_31, None)
    assert posed.positions.dtype == np.float32
    assert np.abs(posed.positions[:, 0]).max() < 1e-6
    head, toe, heel = (posed.positions[:, CMU_31.index(name)] for name in ("Head", "LeftToeBase", "LeftFoot"))
    assert (head[:, 1] > 0.2).all()
    assert np.median(toe[:, 2] - heel[:, 2]) > 0.05  # feet point ahead
    for parent, child in CMU_31.limbs:
        lengths = [np.linalg.norm(c.positions[:, child] - c.positions[:, parent], axis=-1) for c in (clip, posed)]
        np.testing.assert_allclose(*lengths, atol=2e-6)


def test_confidence_is_kept():
    confidence = np.linspace(0, 1, 5 * 24).reshape(5, 24)
    clip = MotionClip(body(SMPL_24), 30, SMPL_24, confidence=confidence)
    np.testing.assert_array_equal(clip_to_pelvis_frame(clip).confidence, clip.confidence)


def amass_file(folder):
    """In the exact public layout, of a made-up body; the root turns and moves, and so do all joints."""
    rng = np.random.default_rng(3)
    rest = np.zeros((52, 3))
    rest[:4] = [[0, -0.22, 0.03], [0.06, -0.31, 0.01], [-0.06, -0.31, 0.01], [0, -0.11, 0.0]]
    for joint, parent in list(enumerate(SMPLH_52.parents))[4:]:
        rest[joint] = rest[parent] + rng.uniform(-0.1, 0.1, 3)
    fields = {"poses": rng.normal(0, 0.7, (8, 156)), "trans": rng.normal(0, 1, (8, 3)), "mocap_framerate": 120.0}
    np.savez(folder / "01_01_poses.npz", **fields, betas=np.zeros(16), gender="male")
    np.savez(folder / "smpl_skeleton.npz", p3d0=rest[None], parents=np.array(SMPLH_52.parents))
    return folder / "01_01_poses.npz", folder / "smpl_skeleton.npz"


def test_amass_without_its_root_is_the_same_up_to_one_turn(tmp_path):
    """In SMPL-H hips and lowest spine are one with the pelvis: the axes are its own, up to a turn that stays."""
    paths = amass_file(tmp_path)
    posed = clip_to_pelvis_frame(read_amass(*paths)).positions
    unturned = read_amass(*paths, keep_root=False).positions
    unturned = unturned - unturned[:, :1]
    np.testing.assert_allclose(distances(posed), distances(unturned), atol=2e-6)
    turn, error = Rotation.align_vectors(posed.reshape(-1, 3), unturned.reshape(-1, 3))
    assert error < 1e-4  # over 416 points in all
    np.testing.assert_allclose(turn.apply(unturned.reshape(-1, 3)).reshape(posed.shape), posed, atol=2e-6)
    still = to_pelvis_frame(unturned, SMPLH_52)
    np.testing.assert_allclose(posed, still, atol=2e-6)


# --- what cannot be used ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("skeleton", "lacking"),
    [
        (AMASS_18, "'amass_18' has no pelvis, left_hip, right_hip: its pelvis has no axes"),
        (Skeleton("legs", ("pelvis", "left_hip", "right_hip"), None, ()), "'legs' has no spine_low or spine_mid or"),
        (Skeleton("one", ("pelvis", "left_hip", "spine_low"), None, ()), "'one' has no right_hip:"),
        (Skeleton("none", ("a", "b"), None, ()), "'none' has no pelvis, left_hip, right_hip, spine_low or"),
    ],
)
def test_a_skeleton_without_axes_is_refused_by_name_and_joints(skeleton, lacking):
    with pytest.raises(ValueError, match=lacking):
        to_pelvis_frame(body(skeleton), skeleton)


def test_convert_to_layouts_without_hips_afterwards():
    clip = MotionClip(body(SMPLH_52), 30, SMPLH_52, name="a")
    posed = convert_clip(clip_to_pelvis_frame(clip), AMASS_18)
    np.testing.assert_array_equal(posed.positions, clip_to_pelvis_frame(clip).positions[:, 4:22])
    with pytest.raises(ValueError, match="clip 'a': skeleton 'amass_18' has no pelvis"):
        clip_to_pelvis_frame(convert_clip(clip, AMASS_18))


def test_frames_without_a_direction_are_refused_by_number():
    hips = [SMPL_24.index("left_hip"), SMPL_24.index("right_hip")]
    positions = body(SMPL_24)
    positions[[2, 4], hips[0]] = positions[[2, 4], hips[1]]
    with pytest.raises(ValueError, match=r"'smpl_24': the hips coincide in frame\[2\], one of 2: 0 m"):
        to_pelvis_frame(positions, SMPL_24)
    with pytest.raises(ValueError, match=r"coincide in frame\[1\]\[0\]"):
        to_pelvis_frame(positions[1:5].reshape(4, 1, 24, 3), SMPL_24)
    positions = body(SMPL_24)
    positions[3, SMPL_24.index("spine1")] = positions[3, 0] + 2 * (positions[3, hips[0]] - positions[3, hips[1]])
    with pytest.raises(ValueError, match=r"pelvis and spine_low coincide, or lie in line with the hips in frame\[3\]"):
        to_pelvis_frame(positions, SMPL_24)
    with pytest.raises(ValueError, match="positions have 24 joints, skeleton 'smplh_52' has 52"):
        to_pelvis_frame(positions, SMPLH_52)


# --- windows of a folder ----------------------------------------------------------------------------------------------


def write_h36m(folder, person, trial):
    path = folder / person / f"walking_{trial}.txt"
    path.parent.mkdir(exist_ok=True)
    rows = 0.3 * np.random.default_rng(trial).normal(size=(100, 99))  # 2 s at 50 frames a second
    path.write_text("".join(",".join(f"{value:.7f}" for value in row) + "\n" for row in rows))


def write_amass(folder, person, trial):
    path = folder / person / f"{trial}_poses.npz"
    path.parent.mkdir(exist_ok=True)
    rng = np.random.default_rng(trial)
    fields = {"poses": 0.3 * rng.normal(size=(240, 156)), "trans": rng.normal(size=(240, 3))}
    np.savez(path, **fields, betas=rng.normal(size=16), gender=np.array("male"), mocap_framerate=np.array(120.0))
    rest = np.random.default_rng(0).uniform(0.1, 1, (1, 52, 3))
    np.savez(folder / "smpl_skeleton.npz", p3d0=rest, parents=np.array(SMPLH_52.parents))


@pytest.mark.parametrize("write", [write_h36m, write_amass])
def test_a_folder_of_files_becomes_windows_of_18_joints_parted_by_people(write, tmp_path):
    for person in ("S1", "S5", "S9"):
        for trial in (1, 2):
            write(tmp_path, person, trial)
    parts = pelvis_windows(tmp_path, length=10, stride=5, fps=25.0, held_out=["S9"], most=3)
    assert {name: {clip.subject for clip in part.clips} for name, part in parts.items()} == {
        "train": {"S1", "S5"}, "calibration": {"S9"}, "test": {"S9"},
    }  # fmt: skip
    assert {clip.name for clip in parts["test"].clips}.isdisjoint(clip.name for clip in parts["calibration"].clips)
    for part in parts.values():
        assert part.positions.shape[1:] == (10, 18, 3)
        assert part.fps == 25
        assert part.skeleton == AMASS_18
    assert len(parts["train"]) > len(parts["test"]) == len(parts["calibration"]) == 3
    # the pelvis is where it was in every frame: nothing of the way through the room is left
    assert max(part.positions.abs().max() for part in parts.values()) < 8
    # Human3.6M has no joints for collars, upper spine and head
    assert parts["test"].is_observed.sum() == (18 if write is write_amass else 14)
