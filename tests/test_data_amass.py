"""AMASS: files in the exact public layout, written here, and the errors for files that cannot be used."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from motionkit.data.amass import read_amass
from motionkit.data.skeleton import AMASS_18, COCO_17, HUMANML3D_22, SMPL_24, SMPLH_52

FRAMES = 6


def rest_pose():
    """A made-up body: 52 joints whose bones are 2 to 20 cm long."""
    rng = np.random.default_rng(1)
    rest = np.zeros((52, 3))
    rest[0] = [0.001, -0.22, 0.03]
    for joint, parent in enumerate(SMPLH_52.parents[1:], start=1):
        rest[joint] = rest[parent] + rng.uniform(0.02, 0.12, 3) * rng.choice([-1, 1], 3)
    return rest


def recording(**changes):
    """The fields of a public file; ``None`` leaves one out."""
    rng = np.random.default_rng(0)
    fields = {
        "poses": rng.normal(0, 0.7, (FRAMES, 156)),
        "trans": rng.normal(0, 1, (FRAMES, 3)),
        "betas": rng.normal(size=16),
        "dmpls": rng.normal(size=(FRAMES, 8)),
        "gender": np.array("male"),
        "mocap_framerate": np.array(120.0),
    } | changes
    return {name: value for name, value in fields.items() if value is not None}


def write(folder, fields=None, skeleton=None):
    paths = folder / "01_01_poses.npz", folder / "smpl_skeleton.npz"
    np.savez(paths[0], **(fields or recording()))
    np.savez(paths[1], **(skeleton or {"p3d0": rest_pose()[None], "parents": np.array(SMPLH_52.parents)}))
    return paths


def with_entry(name, index, value):
    array = recording()[name].copy()
    array[index] = value
    return recording(**{name: array})


def expected_positions(fields):
    """Each joint by walking up to the root, Z up as the file has it."""
    rest, poses = rest_pose(), fields["poses"].reshape(FRAMES, 52, 3)
    result = np.empty((FRAMES, 52, 3))
    for frame in range(FRAMES):
        for joint in range(52):
            at = joint
            point = np.zeros(3)
            while at >= 0:
                parent = SMPLH_52.parents[at]
                point = point + rest[at] - (rest[parent] if parent >= 0 else 0)
                if parent >= 0:
                    point = Rotation.from_rotvec(poses[frame, parent]).apply(point)
                at = parent
            result[frame, joint] = point + fields["trans"][frame]
    return result


def test_positions_agree_with_walking_up_the_parents(tmp_path):
    fields = recording()
    clip = read_amass(*write(tmp_path, fields))
    x, y, z = np.moveaxis(expected_positions(fields), -1, 0)
    assert clip.skeleton is SMPLH_52
    assert (clip.fps, clip.name, clip.num_frames) == (120, "01_01_poses", FRAMES)
    np.testing.assert_allclose(clip.positions, np.stack([x, z, -y], axis=-1), atol=1e-6)  # Y up, right-handed


def test_a_body_that_stands_up_in_the_file_stands_up_in_the_clip(tmp_path):
    upright = np.zeros((FRAMES, 156))
    upright[:, 0] = np.pi / 2  # as AMASS does: the root turns the body's Y to the world's Z
    trans = np.tile([1.0, 2.0, 0.9], (FRAMES, 1))
    clip = read_amass(*write(tmp_path, recording(poses=upright, trans=trans)))
    rest = rest_pose()
    expected = rest - rest[0] + [1, 0.9, -2] + rest[0][[0, 2, 1]] * [1, 1, -1]
    np.testing.assert_allclose(clip.positions[0], expected, atol=1e-6)


def test_without_its_root_a_body_neither_turns_nor_moves(tmp_path):
    fields = recording()
    clip = read_amass(*write(tmp_path, fields), keep_root=False)
    fields["poses"][:, :3] = 0
    np.testing.assert_allclose(clip.positions, expected_positions(fields | {"trans": np.zeros((FRAMES, 3))}), atol=1e-6)


@pytest.mark.parametrize(
    ("skeleton", "joints"),
    [(AMASS_18, range(4, 22)), (HUMANML3D_22, range(22)), (SMPL_24, [*range(22), 25, 40])],
    ids=lambda value: getattr(value, "name", ""),
)
def test_parts_of_the_skeleton(tmp_path, skeleton, joints):
    paths = write(tmp_path)
    clip = read_amass(*paths, skeleton=skeleton)
    assert clip.skeleton is skeleton
    assert clip.confidence is None  # every joint is really there
    np.testing.assert_array_equal(clip.positions, read_amass(*paths).positions[:, list(joints)])
    assert read_amass(*paths, skeleton=COCO_17).confidence[0, 0] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"gender": np.array("female")},
        {"gender": np.array(b"female", dtype="S6")},
        {"gender": np.array(["male", None], dtype=object)},  # never opened
        {"betas": None, "dmpls": None, "gender": None},
        {"mocap_framerate": np.array(120.00004577636719)},
        {"mocap_framerate": np.array(120)},
    ],
    ids=["U6", "S6", "object", "left out", "120.00004577", "integer"],
)
def test_what_varies_between_public_files(tmp_path, changes):
    expected = read_amass(*write(tmp_path))
    clip = read_amass(*write(tmp_path, recording(**changes)))
    assert clip.fps == 120.0
    np.testing.assert_array_equal(clip.positions, expected.positions)


def test_the_skeleton_file_may_use_other_types(tmp_path):
    expected = read_amass(*write(tmp_path))
    parents = np.array(SMPLH_52.parents).astype(np.uint32)  # the root's parent is then 4294967295
    clip = read_amass(*write(tmp_path, skeleton={"p3d0": rest_pose().astype(np.float32), "parents": parents}))
    np.testing.assert_allclose(clip.positions, expected.positions, atol=1e-6)


OBJECTS = np.array([{}, None], dtype=object)
BROKEN = {
    "no poses": (recording(poses=None), r"field 'poses': missing; the file has trans, betas"),
    "no trans": (recording(trans=None), r"field 'trans': missing"),
    "other name": (
        recording(mocap_framerate=None, mocap_frame_rate=np.array(120)),
        r"field 'mocap_framerate': missing",
    ),
    "objects": (recording(poses=OBJECTS), r"field 'poses': Object arrays cannot be loaded"),
    "text": (recording(poses=np.full((FRAMES, 156), "0.1")), r"field 'poses': has type <U3, expected numbers"),
    "complex": (recording(trans=np.zeros((FRAMES, 3), complex)), r"field 'trans': has type complex128"),
    "72 angles": (recording(poses=np.zeros((FRAMES, 72))), r"'poses': has shape \(6, 72\), expected \(frames, 156\)"),
    "one axis": (recording(poses=np.zeros(156)), r"'poses': has shape \(156,\), expected \(frames, 156\)"),
    "three axes": (recording(poses=np.zeros((FRAMES, 52, 3))), r"'poses': has shape \(6, 52, 3\)"),
    "trans in 2D": (recording(trans=np.zeros((FRAMES, 2))), r"'trans': has shape \(6, 2\), expected \(frames, 3\)"),
    "frames differ": (recording(trans=np.zeros((5, 3))), r"poses have 6 frames, trans has 5"),
    "no frames": (recording(poses=np.zeros((0, 156)), trans=np.zeros((0, 3))), r"poses have 0 frames, trans has 0"),
    "nan": (with_entry("poses", (2, 7), np.nan), r"field 'poses': value\[2\]\[7\] is nan, one of 1 not finite"),
    "inf": (with_entry("trans", (1, 0), -np.inf), r"field 'trans': value\[1\]\[0\] is -inf"),
    "fps zero": (recording(mocap_framerate=np.array(0.0)), r"mocap_framerate is 0\.0; expected 1 to 1000"),
    "fps negative": (recording(mocap_framerate=np.array(-120.0)), r"mocap_framerate is -120\.0"),
    "fps absurd": (recording(mocap_framerate=np.array(1e9)), r"mocap_framerate is 1000000000\.0"),
    "fps nan": (recording(mocap_framerate=np.array(np.nan)), r"field 'mocap_framerate': value is nan"),
    "fps text": (recording(mocap_framerate=np.array("120")), r"field 'mocap_framerate': has type <U3"),
    "two fps": (
        recording(mocap_framerate=np.array([120.0, 60])),
        r"'mocap_framerate': has shape \(2,\), expected \(\)",
    ),
}
LOOSE_PARENTS = np.array([-1, 0, 0, 0, *range(3, 51)])
BROKEN_SKELETON = {
    "no rest pose": ({"parents": np.array(SMPLH_52.parents)}, r"field 'p3d0': missing; the file has parents"),
    "22 joints": (
        {"p3d0": rest_pose()[None, :22], "parents": np.array(SMPLH_52.parents)},
        r"p3d0 has shape \(1, 22, 3\)",
    ),
    "24 parents": ({"p3d0": rest_pose()[None], "parents": np.arange(24) - 1}, r"'parents': has shape \(24,\)"),
    "other parents": ({"p3d0": rest_pose()[None], "parents": LOOSE_PARENTS}, r"parents\[4\] is 3, in SMPL-H it is 1"),
    "nan": (
        {"p3d0": rest_pose()[None] * np.nan, "parents": np.array(SMPLH_52.parents)},
        r"value\[0\]\[0\]\[0\] is nan",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_by_name_field_and_value(tmp_path, case):
    fields, message = BROKEN[case]
    with pytest.raises(ValueError, match=rf"01_01_poses\.npz: .*{message}"):
        read_amass(*write(tmp_path, fields))


@pytest.mark.parametrize("case", BROKEN_SKELETON)
def test_a_broken_skeleton_is_refused_by_name_field_and_value(tmp_path, case):
    fields, message = BROKEN_SKELETON[case]
    with pytest.raises(ValueError, match=rf"smpl_skeleton\.npz: .*{message}"):
        read_amass(*write(tmp_path, skeleton=fields))


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused_by_name(tmp_path, share):
    path, skeleton = write(tmp_path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"01_01_poses\.npz: "):
        read_amass(path, skeleton)


def test_damaged_and_foreign_files_are_refused_by_name(tmp_path):
    path, skeleton = write(tmp_path)
    data = bytearray(path.read_bytes())
    data[500:600] = b"\xff" * 100  # inside the numbers of the first field
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"01_01_poses\.npz: field 'poses': Bad CRC"):
        read_amass(path, skeleton)
    path.write_text("time,x,y,z\n")
    with pytest.raises(ValueError, match=r"01_01_poses\.npz: "):
        read_amass(path, skeleton)
    with path.open("wb") as file:
        np.save(file, np.zeros((2, 156)))
    with pytest.raises(ValueError, match=r"01_01_poses\.npz: "):
        read_amass(path, skeleton)
