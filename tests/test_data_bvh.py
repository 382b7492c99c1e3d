"""BVH: reading every layout, writing, and the errors for files that cannot be used."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from motionkit.data.bvh import CMU_UNIT_M, read_bvh, write_bvh
from motionkit.data.clip import MotionClip
from motionkit.data.kinematics import axis_angle_to_matrix, forward_kinematics
from motionkit.data.skeleton import BANDAI_NAMCO_21, CMU_31, COCO_17, PANOPTIC_19, SKELETONS, SMPL_24

# Channels in a different order on each joint, a position on a joint that is no root, and one without channels.
TEXT = """HIERARCHY
ROOT Hips
{
\tOFFSET 1 2 3
\tCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
\tJOINT Chest
\t{
\t\tOFFSET 0 20 0
\t\tCHANNELS 3 Yrotation Zrotation Xrotation
\t\tJOINT Head
\t\t{
\t\t\tOFFSET 0 10 0
\t\t\tCHANNELS 0
\t\t\tEnd Site
\t\t\t{
\t\t\t\tOFFSET 0 5 0
\t\t\t}
\t\t}
\t}
\tJOINT Leg
\t{
\t\tOFFSET 4 0 0
\t\tCHANNELS 4 Xrotation Yposition Zrotation Xposition
\t\tEnd Site
\t\t{
\t\t\tOFFSET 0 -30 0
\t\t}
\t}
}
MOTION
Frames: 3
Frame Time: 0.0166667
0 100 0 0 0 0 0 0 0 0 0 0 4
10 100 -20 90 0 0 0 0 0 0 -1 90 5
10 100 -20 10 20 30 40 50 60 70 -1 80 5
"""


def write(folder, text, name="walk.bvh"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_positions_by_hand(tmp_path):
    clip = read_bvh(write(tmp_path, TEXT), end_sites=True)
    assert clip.skeleton.joints == ("Hips", "Chest", "Head", "Head_end", "Leg", "Leg_end")
    assert clip.skeleton.parents == (-1, 0, 1, 2, 0, 4)
    assert (clip.fps, clip.name, clip.num_frames) == (60.0, "walk", 3)
    cm = clip.positions * 100
    np.testing.assert_allclose(
        cm[0], [[0, 100, 0], [0, 120, 0], [0, 130, 0], [0, 135, 0], [4, 100, 0], [4, 70, 0]], atol=1e-4
    )
    # the root turns by 90 degrees about z: up becomes -x; the leg's own place (5, -1, 0) becomes (1, 5, 0)
    np.testing.assert_allclose(
        cm[1],
        [[10, 100, -20], [-10, 100, -20], [-20, 100, -20], [-25, 100, -20], [11, 105, -20], [11, 135, -20]],
        atol=1e-4,
    )
    hips = Rotation.from_euler("ZXY", [10, 20, 30], degrees=True)
    chest = hips * Rotation.from_euler("YZX", [40, 50, 60], degrees=True)
    leg = hips * Rotation.from_euler("XZ", [70, 80], degrees=True)
    root = np.array([10, 100, -20])
    expected = {
        "Chest": root + hips.apply([0, 20, 0]),
        "Head": root + hips.apply([0, 20, 0]) + chest.apply([0, 10, 0]),
        "Head_end": root + hips.apply([0, 20, 0]) + chest.apply([0, 15, 0]),
        "Leg": root + hips.apply([5, -1, 0]),
        "Leg_end": root + hips.apply([5, -1, 0]) + leg.apply([0, -30, 0]),
    }
    for joint, place in expected.items():
        np.testing.assert_allclose(cm[2, clip.skeleton.index(joint)], place, atol=1e-4)


def test_options(tmp_path):
    path = write(tmp_path, TEXT)
    clip = read_bvh(path)
    assert clip.skeleton.joints == ("Hips", "Chest", "Head", "Leg")
    assert clip.skeleton.limbs == ((0, 1), (1, 2), (0, 3))
    inches = read_bvh(path, unit_m=0.0254, skip_frames=1)
    np.testing.assert_allclose(inches.positions, clip.positions[1:] * 2.54, rtol=1e-6)
    own = read_bvh(path, skeleton=type(CMU_31)("two", ("Leg", "Hips"), (-1, 0), ((0, 1),)))
    np.testing.assert_array_equal(own.positions, clip.positions[:, [3, 0]])
    with pytest.raises(ValueError, match=r"walk\.bvh: no joint 'LHipJoint' of skeleton 'cmu_31'"):
        read_bvh(path, skeleton=CMU_31)
    with pytest.raises(ValueError, match=r"walk\.bvh: skip_frames is 3, the file has 3 frames"):
        read_bvh(path, skip_frames=3)


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("\n", "\r\n"),
        "\ufeff" + TEXT,
        TEXT.replace("\t", "  ").replace("{", " { ").replace("\n  {", " {"),
        TEXT.replace("Frames:", "Frames :\t").replace("Frame Time", "FRAME  TIME"),
        TEXT.replace("Xposition", "XPOSITION").replace("Zrotation", "zrotation"),
        TEXT.rstrip("\n") + "\n\n   \n",
        TEXT.replace("\n10 100", "\n\n  10\t100"),
    ],
    ids=["windows", "byte order mark", "braces", "headers", "case", "blank end", "blank lines and tabs"],
)
def test_ways_of_writing_the_same_file(tmp_path, text):
    expected = read_bvh(write(tmp_path, TEXT, "plain.bvh"))
    clip = read_bvh(write(tmp_path, text))
    np.testing.assert_array_equal(clip.positions, expected.positions)
    assert clip.skeleton.joints == expected.skeleton.joints


LAST = TEXT.splitlines()[-1]
BROKEN = {
    "empty": (b" \n", r"the file is empty \(2 bytes\)"),
    "encoding": (TEXT.replace("Chest", "K\u00f6rper").encode("latin-1"), r"line 6: byte 0xf6 is not UTF-8"),
    "utf-16": (TEXT.encode("utf-16"), r"line 1: byte 0xff is not UTF-8"),
    "no motion": (TEXT.split("MOTION")[0], r"no line MOTION in 29 lines"),
    "other file": ("PK\x03\x04 zip", r"no line MOTION"),
    "cut hierarchy": (
        TEXT.replace("\t}\n}\nMOTION", "MOTION"),
        r"line 27: the hierarchy ends too early, joint 'Leg_end'",
    ),
    "no joints": (
        "HIERARCHY\nMOTION\nFrames: 1\nFrame Time: 1\n0\n",
        r"line 1: the hierarchy ends too early, no joint",
    ),
    "brace missing": (
        TEXT.replace("ROOT Hips\n{", "ROOT Hips"),
        r"line 3: 'OFFSET 1 2 3' where an opening brace is due",
    ),
    "brace too many": (TEXT.replace("CHANNELS 0", "{"), r"line 13: '\{' where none is due"),
    "closed too often": (TEXT.replace("}\nMOTION", "}\n}\nMOTION"), r"line 30: '\}' outside of any joint"),
    "keyword": (TEXT.replace("CHANNELS 0", "CANALS 0"), r"line 13: unknown keyword 'CANALS'"),
    "root inside": (TEXT.replace("JOINT Leg", "ROOT Leg"), r"line 20: 'ROOT Leg' inside of another joint"),
    "joint outside": (TEXT.replace("ROOT Hips", "JOINT Hips"), r"line 2: 'JOINT Hips' outside of another joint"),
    "name twice": (TEXT.replace("JOINT Leg", "JOINT Head"), r"line 20: joint name 'Head' is used twice"),
    "no name": (TEXT.replace("JOINT Leg", "JOINT"), r"line 20: joint name '' is missing"),
    "no offset": (TEXT.replace("\t\t\tOFFSET 0 10 0\n", ""), r"line 10: joint 'Head' has no OFFSET"),
    "no channels": (TEXT.replace("\t\t\tCHANNELS 0\n", ""), r"line 10: joint 'Head' has no CHANNELS"),
    "short offset": (TEXT.replace("OFFSET 0 20 0", "OFFSET 0 20"), r"line 8: 'OFFSET 0 20' does not give three"),
    "nan offset": (TEXT.replace("OFFSET 0 20 0", "OFFSET 0 nan 0"), r"line 8: 'OFFSET 0 nan 0'"),
    "word offset": (TEXT.replace("OFFSET 0 20 0", "OFFSET 0 a 0"), r"line 8: 'OFFSET 0 a 0'"),
    "channel name": (TEXT.replace("3 Yrotation", "3 Wrotation"), r"line 9: unknown channel 'Wrotation'"),
    "channel count": (TEXT.replace("3 Yrotation", "4 Yrotation"), r"line 9: 'CHANNELS 4 .*' gives 3 channels"),
    "channel twice": (TEXT.replace("3 Yrotation", "3 Xrotation"), r"line 9: 'CHANNELS 3 .*' gives 2 channels"),
    "huge channel count": (TEXT.replace("3 Yrotation", "9999999999 Yrotation"), r"line 9: .* gives 3 channels"),
    "ends after motion": (TEXT.split("Frames:")[0], r"line 30: the file ends before 'Frames:'"),
    "ends after frames": (TEXT.split("Frame Time")[0], r"line 31: the file ends before 'Frame Time:'"),
    "frames word": (TEXT.replace("Frames: 3", "Frames: many"), r"line 31: 'Frames: many' where 'Frames: <number>'"),
    "no frames": (TEXT.split("0 100")[0], r"line 32: 0 frames up to here, but 'Frames:' says 3"),
    "none said": (TEXT.split("0 100")[0].replace("Frames: 3", "Frames: 0"), r"line 32: 0 frames up to here.* says 0"),
    "negative": (TEXT.replace("Frames: 3", "Frames: -3"), r"line 35: 3 frames up to here.* says -3"),
    "half": (TEXT.replace("Frames: 3", "Frames: 2.5"), r"line 35: 3 frames .* says 2\.5"),
    "absurd count": (TEXT.replace("Frames: 3", "Frames: 1e12"), r"line 35: 3 frames up to here.* says 1e\+12"),
    "frame missing": (TEXT.replace(LAST + "\n", ""), r"line 34: 2 frames up to here, but 'Frames:' says 3"),
    "frame too many": (TEXT + LAST, r"line 36: 4 frames up to here, but 'Frames:' says 3"),
    "time zero": (TEXT.replace("0.0166667", "0"), r"line 32: frame time is 0\.0 s; expected 0\.001 to 1"),
    "time negative": (TEXT.replace("0.0166667", "-0.01"), r"line 32: frame time is -0\.01"),
    "time nan": (TEXT.replace("0.0166667", "nan"), r"line 32: frame time is nan"),
    "time is fps": (TEXT.replace("0.0166667", "60"), r"line 32: frame time is 60\.0"),
    "time word": (TEXT.replace("0.0166667", "fast"), r"line 32: 'Frame Time: fast' where"),
    "cut in a frame": (TEXT[: TEXT.rindex("80")].rstrip(), r"line 35: 11 values, the hierarchy has 13 channels"),
    "value too many": (TEXT.rstrip() + " 7\n", r"line 35: 14 values, the hierarchy has 13 channels"),
    "always too few": (TEXT.replace(" 4\n", "\n").replace(" 5\n", "\n"), r"line 33: 12 values.* 13 channels"),
    "nan": (TEXT.replace("-1 90 5", "-1 nan 5"), r"line 34: 'nan' for Zrotation of 'Leg' is not a finite number"),
    "inf": (TEXT.replace("-1 90 5", "inf 90 5"), r"line 34: 'inf' for Yposition of 'Leg'"),
    "word": (TEXT.replace("10 100 -20 90", "10 1O0 -20 90"), r"line 34: '1O0' for Yposition of 'Hips'"),
    "comma": (TEXT.replace("10 100 -20 90", "10 100,5 -20 90"), r"line 34: '100,5' for Yposition of 'Hips'"),
    "comment": (TEXT.replace("10 100 -20 90", "#0 100 -20 90"), r"line 34: '#0' for Xposition of 'Hips'"),
    "underscore": (TEXT.replace("10 100 -20 90", "10 1_0 -20 90"), r"line 34: '1_0' for Yposition of 'Hips'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_by_name_line_and_value(tmp_path, case):
    content, message = BROKEN[case]
    path = write(tmp_path, content, "broken.bvh")
    with pytest.raises(ValueError, match=rf"broken\.bvh(, |: ){message}"):
        read_bvh(path)


def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    for cut in range(len(TEXT) - 2):
        with pytest.raises(ValueError, match=r"walk\.bvh"):
            read_bvh(write(tmp_path, TEXT[:cut]))


# --- writing ----------------------------------------------------------------------------------------------------------


def moving_body(skeleton, frames=9, seed=0):
    """A smooth motion of a rigid body: bones of 5 to 40 cm, joints that turn, a root that travels."""
    rng = np.random.default_rng(seed)
    time_s = np.linspace(0, 1, frames)[:, None, None]
    turns = rng.normal(size=(skeleton.num_joints, 3)) * np.sin(3 * time_s + rng.normal(size=(skeleton.num_joints, 1)))
    offsets = rng.uniform(0.05, 0.25, (skeleton.num_joints, 3)) * rng.choice([-1, 1], (skeleton.num_joints, 3))
    root = np.linspace([0, 1, -2], [3, 1.2, 2], frames)
    return forward_kinematics(axis_angle_to_matrix(turns), offsets, skeleton.parents, root)


TREES = [skeleton for skeleton in SKELETONS.values() if skeleton.parents is not None]


@pytest.mark.parametrize("skeleton", TREES, ids=lambda s: s.name)
@pytest.mark.parametrize("unit_m", [0.01, 1.0, CMU_UNIT_M])
def test_rigid_motion_survives_the_file(tmp_path, skeleton, unit_m):
    clip = MotionClip(moving_body(skeleton), 29.97, skeleton)
    write_bvh(clip, tmp_path / "a.bvh", unit_m=unit_m)
    again = read_bvh(tmp_path / "a.bvh", unit_m=unit_m)
    assert again.skeleton is skeleton  # also where the file's order of joints is another
    assert again.fps == pytest.approx(29.97, rel=1e-12)
    np.testing.assert_allclose(again.positions, clip.positions, atol=2e-5 if unit_m == 1 else 2e-6)
    roots = sum(parent < 0 for parent in skeleton.parents)
    text = (tmp_path / "a.bvh").read_text()
    assert text.count("Xposition") == text.count("ROOT") == roots  # rotations only: what every program reads
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bvh"]


@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.01, 1.0, 30.0]))
@settings(max_examples=25, deadline=None)
def test_any_motion_survives_the_file(tmp_path_factory, seed, scale):
    positions = np.random.default_rng(seed).normal(size=(4, 19, 3)) * scale
    positions[2] = positions[1, 0]  # all joints on one spot
    clip = MotionClip(positions, 60, PANOPTIC_19)
    path = tmp_path_factory.mktemp("any") / "a.bvh"
    write_bvh(clip, path, tolerance_m=1e-3)
    again = read_bvh(path)
    assert again.skeleton is PANOPTIC_19
    assert np.linalg.norm(again.positions - clip.positions, axis=-1).max() < 1e-3 + 1e-5 * scale


def test_a_single_frame_and_a_still_body(tmp_path):
    for frames in (1, 3):
        clip = MotionClip(np.repeat(moving_body(SMPL_24, frames=1), frames, axis=0), 20, SMPL_24)
        write_bvh(clip, tmp_path / "still.bvh")
        np.testing.assert_allclose(read_bvh(tmp_path / "still.bvh").positions, clip.positions, atol=1e-6)


def test_what_cannot_be_written_leaves_the_old_file_alone(tmp_path):
    path = write(tmp_path, TEXT, "old.bvh")
    with pytest.raises(ValueError, match=r"old\.bvh: skeleton 'coco_17' is no tree"):
        write_bvh(MotionClip(np.zeros((2, 17, 3)), 30, COCO_17), path)
    assert path.read_text() == TEXT


# --- the real files ---------------------------------------------------------------------------------------------------


def test_all_cmu_files_become_clips(data_folder):
    paths = sorted((data_folder / "cmu" / "bvh").glob("*.bvh"))
    clips = [read_bvh(path, unit_m=CMU_UNIT_M, skip_frames=1) for path in paths]
    assert len(clips) >= 100
    for clip in clips:
        assert clip.skeleton is CMU_31
        assert clip.fps == 120
        a, b = np.array(CMU_31.limbs).T
        lengths = np.linalg.norm(clip.positions[:, a] - clip.positions[:, b], axis=-1)
        assert (np.ptp(lengths, axis=0) < 1e-4).all()  # bones keep their length
        assert (lengths.min(0) > 0.02).all()  # and none has length zero
        assert (lengths.max(0) < 0.7).all()
    walk = next(clip for clip in clips if clip.name == "02_01")
    distance = np.linalg.norm(np.diff(walk.positions[:, 0, [0, 2]], axis=0), axis=-1).sum()
    assert 1.1 < distance / walk.duration_s < 1.4  # metres a second
    assert 0.9 < walk.positions[:, 0, 1].mean() < 1.05


def test_the_first_frame_of_cmu_files_is_a_t_pose(data_folder):
    clip = read_bvh(data_folder / "cmu" / "bvh" / "02_01.bvh", unit_m=CMU_UNIT_M)
    arms = clip.positions[:2, CMU_31.index("LeftHand")] - clip.positions[:2, CMU_31.index("RightHand")]
    assert abs(arms[0, 1]) < 0.05
    assert np.linalg.norm(arms, axis=-1) == pytest.approx([1.13, 0.4], abs=0.3)


def test_bandai_namco_files_have_six_channels_on_every_joint(data_folder):
    paths = sorted((data_folder / "bandai_namco" / "bvh").glob("*.bvh"))
    assert len(paths) == 8
    for path in paths:
        clip = read_bvh(path, skeleton=BANDAI_NAMCO_21)
        assert clip.fps == 30
        height = clip.positions[0, BANDAI_NAMCO_21.index("Head"), 1]
        assert 1.2 < height < 1.6
        feet = clip.positions[:, [BANDAI_NAMCO_21.index("Toes_L"), BANDAI_NAMCO_21.index("Toes_R")], 1]
        assert -0.05 < feet.min() < 0.1
    whole = read_bvh(paths[0])
    assert whole.skeleton.joints == ("joint_Root", *BANDAI_NAMCO_21.joints)
    assert len(whole.skeleton.swaps) == 8


def test_real_motion_survives_the_file(data_folder, tmp_path):
    clip = read_bvh(data_folder / "cmu" / "bvh" / "49_06.bvh", unit_m=CMU_UNIT_M, skip_frames=1)  # a cartwheel
    write_bvh(clip, tmp_path / "again.bvh")
    again = read_bvh(tmp_path / "again.bvh")
    assert again.skeleton is CMU_31
    np.testing.assert_allclose(again.positions, clip.positions, atol=2e-6)
