"""Human3.6M as exponential maps: files in the exact public layout, written here, and the errors for broken ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from motionkit.data.clip import convert_clip
from motionkit.data.h36m import ACTIONS, read_h36m
from motionkit.data.skeleton import AMASS_18, COCO_17, H36M_17, H36M_32, SMPLH_52

FRAMES = 6
QUARTER = np.pi / 2
RIGHT_HIP, LEFT_ELBOW = H36M_32.index("RightUpLeg"), H36M_32.index("LeftForeArm")


def write(folder, rows, place="S1/walking_1.txt"):
    """One frame a line, seven digits, as in the public files."""
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(",".join(f"{value:.7f}" for value in row) + "\n" for row in rows))
    return path


def still(frames=1):
    return np.zeros((frames, 99))


def turned(joint, rotation, frames=1):
    rows = still(frames)
    rows[:, 3 + 3 * joint : 6 + 3 * joint] = rotation
    return rows


def moving(seed=0):
    rng = np.random.default_rng(seed)
    rows = np.hstack([rng.normal(0, 20, (FRAMES, 3)), rng.normal(0, 0.7, (FRAMES, 96))]).round(7)
    rows[0, :6] = 0  # the first frame has none before it
    return rows


def places(clip, frame=0):
    return dict(zip(clip.skeleton.joints, clip.positions[frame], strict=True))


def joint_positions(rows):
    """As the public code has it, frame by frame and joint by joint: row vectors, the matrix at the right."""
    offsets = places_at_rest()
    offsets[1:] -= places_at_rest()[[*H36M_32.parents[1:]]]
    rotation, place, result = np.eye(3), np.zeros(3), np.empty((len(rows), 32, 3))
    for frame, row in enumerate(rows):
        place = place + np.linalg.solve(rotation, row[:3] / 1000)
        rotation = Rotation.from_rotvec(row[3:6]).as_matrix() @ rotation
        world = {0: rotation}
        result[frame, 0] = place
        for joint, parent in list(enumerate(H36M_32.parents))[1:]:
            result[frame, joint] = offsets[joint] @ world[parent] + result[frame, parent]
            world[joint] = Rotation.from_rotvec(row[3 + 3 * joint : 6 + 3 * joint]).as_matrix() @ world[parent]
    return result


def places_at_rest():
    """Each joint of a body that nothing turns, in metres: the public offsets, added up by hand."""
    right, left, shoulders = -0.132948591, 0.132948826, 0.490560944
    leg = [(right, 0, 0), (right, -0.442894612, 0), (right, -0.897101059, 0)]
    leg += [(right, -0.897101059, 0.162767078), (right, -0.897101059, 0.237766515)]
    other_leg = [(left, 0, 0), (left, -0.442894413, 0), (left, -0.897101003, 0)]
    other_leg += [(left, -0.897101003, 0.162767426), (left, -0.897101003, 0.237767374)]
    trunk = [(0, height, 0) for height in (0.0001, 0.233483263, shoulders, 0.611695882, 0.726698109)]
    wrist, other_wrist = (0, 1.172211394, 0), (0, 1.172213985, 0)
    arm = [(0, shoulders, 0), (0, 0.641595170, 0), (0, 0.920477943, 0), wrist, wrist, (0, 1.172211394, 0.099999627)]
    arm += [(0, 1.272211582, 0)] * 2
    other_arm = [(0, shoulders, 0), (0, 0.641592381, 0), (0, 0.920485305, 0), other_wrist, other_wrist]
    other_arm += [(0, 1.172213985, 0.099999888), *[(0, 1.309713907, 0)] * 2]
    return np.array([(0, 0, 0), *leg, *other_leg, *trunk, *arm, *other_arm])


def test_without_turns_the_offsets_add_up(tmp_path):
    clip = read_h36m(write(tmp_path, still(3)))
    assert clip.skeleton is H36M_32
    assert (clip.fps, clip.num_frames, clip.confidence) == (50, 3, None)
    assert (clip.name, clip.subject, clip.action) == ("h36m/S1/walking_1", "S1", "walking")
    for frame in range(3):
        np.testing.assert_allclose(clip.positions[frame], places_at_rest(), atol=1e-6)


def test_a_person_stands_upright_and_faces_ahead(tmp_path):
    """The public files begin with a root that is not turned: Y is up, +X the person's left, +Z ahead."""
    at = places(read_h36m(write(tmp_path, still())))
    assert at["HeadSite"][1] > at["Neck"][1] > at["Hips"][1] > at["LeftLeg"][1] > at["LeftFoot"][1]
    assert at["HeadSite"][1] - at["LeftFoot"][1] == pytest.approx(0.727 + 0.897, abs=1e-3)
    assert at["LeftUpLeg"][0] > 0 > at["RightUpLeg"][0]
    assert at["LeftToeSite"][2] > at["LeftToeBase"][2] > at["LeftFoot"][2]


def test_a_quarter_turn_of_the_hip_lifts_the_leg(tmp_path):
    """The maps are for row vectors: a positive one about +X (left) turns the thigh from down to ahead."""
    clip = read_h36m(write(tmp_path, turned(RIGHT_HIP, [QUARTER, 0, 0])))
    at = places(clip)
    x = -0.132948591
    np.testing.assert_allclose(at["RightUpLeg"], [x, 0, 0], atol=1e-6)
    np.testing.assert_allclose(at["RightLeg"], [x, 0, 0.442894612], atol=1e-6)
    np.testing.assert_allclose(at["RightFoot"], [x, 0, 0.897101059], atol=1e-6)
    np.testing.assert_allclose(at["RightToeBase"], [x, 0.162767078, 0.897101059], atol=1e-6)
    others = [joint for joint in range(32) if not 2 <= joint <= 5]
    np.testing.assert_allclose(clip.positions[0, others], places_at_rest()[others], atol=1e-6)


def test_a_quarter_turn_of_the_elbow_moves_the_hand_alone(tmp_path):
    """About -Z as row vectors turn: from up to the person's right, as about +Z where columns turn."""
    at = places(read_h36m(write(tmp_path, turned(LEFT_ELBOW, [0, 0, -QUARTER]))))
    np.testing.assert_allclose(at["LeftForeArm"], [0, 0.920477943, 0], atol=1e-6)
    np.testing.assert_allclose(at["LeftHand"], [-0.251733451, 0.920477943, 0], atol=1e-6)
    np.testing.assert_allclose(at["LeftThumbSite"], [-0.251733451, 0.920477943, 0.099999627], atol=1e-6)
    np.testing.assert_allclose(at["RightHand"], places_at_rest()[H36M_32.index("RightHand")], atol=1e-6)


def test_the_root_walks_along_its_own_axes(tmp_path):
    """Two steps of 100 mm ahead with a quarter turn to the left between them: first along +Z, then along +X."""
    rows = still(4)
    rows[1, 2] = rows[3, 2] = 100
    rows[2, 3:6] = [0, -QUARTER, 0]
    clip = read_h36m(write(tmp_path, rows))
    np.testing.assert_allclose(clip.positions[:, 0], [[0, 0, 0], [0, 0, 0.1], [0, 0, 0.1], [0.1, 0, 0.1]], atol=1e-6)
    at = places(clip, 3)
    np.testing.assert_allclose(at["LeftToeBase"] - at["LeftFoot"], [0.162767426, 0, 0], atol=1e-6)


def test_a_step_with_a_turn_is_along_the_axes_before_it(tmp_path):
    rows = still(2)
    rows[1, :6] = [0, 0, 100, 0, -QUARTER, 0]
    np.testing.assert_allclose(read_h36m(write(tmp_path, rows)).positions[1, 0], [0, 0, 0.1], atol=1e-6)


def test_positions_agree_with_the_public_code(tmp_path):
    rows = moving()
    clip = read_h36m(write(tmp_path, rows))
    np.testing.assert_allclose(clip.positions, joint_positions(rows), atol=1e-6)


def test_without_its_root_a_body_neither_turns_nor_moves(tmp_path):
    rows = moving()
    path = write(tmp_path, rows)
    rows[:, :6] = 0
    np.testing.assert_allclose(read_h36m(path, keep_root=False).positions, joint_positions(rows), atol=1e-6)


def test_bones_keep_their_lengths(tmp_path):
    clip = read_h36m(write(tmp_path, moving()))
    lengths = {
        (H36M_32.joints[parent], H36M_32.joints[child]): np.linalg.norm(
            clip.positions[:, child] - clip.positions[:, parent], axis=-1
        )
        for parent, child in H36M_32.limbs
    }
    expected = {
        ("RightUpLeg", "RightLeg"): 0.442894612,
        ("LeftLeg", "LeftFoot"): 0.454206590,
        ("RightFoot", "RightToeBase"): 0.162767078,
        ("Spine1", "Neck"): 0.257077681,
        ("Neck", "LeftArm"): 0.151034226,
        ("RightForeArm", "RightHand"): 0.251728680,
        ("RightHand", "R_Wrist_End"): 0.137499922,
    }
    for limb, length in expected.items():
        np.testing.assert_allclose(lengths[limb], length, atol=1e-6)
    changing = {("Hips", "Spine1")}  # two bones, the lower of a tenth of a millimetre
    assert all(np.ptp(length) < 1e-6 for limb, length in lengths.items() if limb not in changing)
    assert min(length.min() for length in lengths.values()) > 0.07


def test_joints_on_one_spot_stay_there_and_no_limb_uses_them(tmp_path):
    at = places(read_h36m(write(tmp_path, moving())), FRAMES - 1)
    for joint, other in (
        ("LeftShoulder", "Neck"),
        ("RightShoulder", "Neck"),
        ("LeftHandThumb", "LeftHand"),
        ("RightHandThumb", "RightHand"),
        ("L_Wrist_Site", "L_Wrist_End"),
        ("R_Wrist_Site", "R_Wrist_End"),
    ):
        np.testing.assert_allclose(at[joint], at[other], atol=1e-6)
        assert H36M_32.index(joint) not in {index for limb in H36M_32.limbs for index in limb}
    assert np.linalg.norm(at["Spine"] - at["Hips"]) < 2e-4


def test_other_layouts(tmp_path):
    path = write(tmp_path, moving())
    clip = read_h36m(path)
    usual = read_h36m(path, skeleton=H36M_17)
    assert usual.skeleton is H36M_17
    assert usual.confidence is None  # every joint is really there
    public = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]  # the subset that lifting uses, in its order
    np.testing.assert_array_equal(usual.positions, clip.positions[:, public])
    amass = read_h36m(path, skeleton=AMASS_18)
    np.testing.assert_array_equal(amass.positions, convert_clip(clip, AMASS_18).positions)
    absent = {name for name, seen in zip(AMASS_18.joints, amass.confidence[0], strict=True) if not seen}
    assert absent == {"spine3", "left_collar", "right_collar", "head"}
    for skeleton in (COCO_17, SMPLH_52):
        assert np.isfinite(convert_clip(clip, skeleton).positions).all()


@pytest.mark.parametrize(
    ("place", "subject", "action", "name"),
    [
        ("S11/walkingdog_2.txt", "S11", "walkingdog", "h36m/S11/walkingdog_2"),
        ("S5/strolling_1.txt", "S5", "strolling", "h36m/S5/strolling_1"),
        ("mine/walking_1.txt", "", "walking", "h36m/walking_1"),
        ("mine/prediction.txt", "", "", "h36m/prediction"),
    ],
)
def test_labels_of_the_path(tmp_path, place, subject, action, name):
    clip = read_h36m(write(tmp_path, still(), place))
    assert (clip.subject, clip.action, clip.name) == (subject, action, name)


def test_labels_where_the_path_is_the_name_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(write(tmp_path, still()).parent)
    assert read_h36m("walking_1.txt").subject == "S1"


def test_fifteen_actions():
    assert len(set(ACTIONS)) == 15
    assert list(ACTIONS) == sorted(ACTIONS)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.rstrip("\n"),
        lambda text: text + "\n\n",
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace(",", ", "),
        lambda text: "\ufeff" + text,
    ],
    ids=["no last newline", "empty lines", "CRLF", "blanks", "byte order mark"],
)
def test_what_varies_between_text_files(tmp_path, change):
    path = write(tmp_path, moving())
    expected = read_h36m(path)
    path.write_bytes(change(path.read_text()).encode())
    np.testing.assert_array_equal(read_h36m(path).positions, expected.positions)


GOOD = ",".join(["0.1"] * 99)


def with_value(word):
    return ",".join([*["0.1"] * 6, word, *["0.1"] * 92])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r": the file has no frames \(0 bytes\)"),
        (" \n\n", r": the file has no frames \(3 bytes\)"),
        (f"{GOOD}\n0.1,0.2", r", line 2: 2 values, expected 99: '0\.1,0\.2'"),  # cut off
        (f"{GOOD}\n\n{GOOD},0.1\n", ", line 3: 100 values, expected 99"),
        (f"{GOOD},\n", ", line 1: 100 values, expected 99"),
        (GOOD.replace(",", " "), r", line 1: 1 values, expected 99: '0\.1 0\.1"),
        (GOOD.replace(",", ";"), ", line 1: 1 values, expected 99"),
        ("walking\n" + GOOD, ", line 1: 1 values, expected 99: 'walking'"),
        (f"{GOOD}\n{with_value('x')}\n", ", line 2: could not convert string to float: 'x'"),
        (with_value(""), ", line 1: could not convert string to float: ''"),
        (with_value("1,5"), ", line 1: 100 values"),
        (f"{GOOD}\n\n{with_value('nan')}", ", line 3: column 6 is nan, one of 1 not finite"),
        (with_value("-inf"), ", line 1: column 6 is -inf"),
        (with_value("1e999"), ", line 1: column 6 is inf"),
        (",".join(["1e30"] + ["inf"] * 98), ", line 1: column 1 is inf, one of 98 not finite"),
    ],
)
def test_a_broken_file_is_refused_by_name_line_and_value(tmp_path, content, message):
    path = write(tmp_path, still())
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        read_h36m(path)
    assert str(path) in str(error.value)


def test_numbers_beyond_any_body_are_refused_by_name(tmp_path):
    path = write(tmp_path, still())
    path.write_text(",".join(["1e60", *["0"] * 98]))
    with np.errstate(over="ignore"), pytest.raises(ValueError, match=r"walking_1\.txt: .*'Hips', x\] is inf"):
        read_h36m(path)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\x00", b"\xff\xfe0\x00.\x001\x00", b"PK\x03\x04" * 40])
def test_foreign_files_are_refused_by_name(tmp_path, content):
    path = write(tmp_path, still())
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"walking_1\.txt, line 1: "):
        read_h36m(path)
