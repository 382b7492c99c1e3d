"""The named joint layouts, and conversion between them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from motionkit.data.clip import MotionClip, convert_clip, nominal_fps
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
    SKELETONS,
    SMPL_24,
    SMPLH_52,
    Skeleton,
    convert_confidence,
    convert_joints,
)

ALL = tuple(SKELETONS.values())
PAIRS = tuple(itertools.permutations(ALL, 2))


def names(pair):
    return f"{pair[0].name}-{pair[1].name}" if isinstance(pair, tuple) else pair.name


def ramp(skeleton, frames=3):
    """Positions with no two equal numbers, x growing with the joint."""
    return np.linspace(-1, 2, frames * skeleton.num_joints * 3).reshape(frames, skeleton.num_joints, 3)


def vocabulary(skeleton):
    return [a or j for a, j in zip(skeleton.anatomy, skeleton.joints, strict=True)]


# --- the layouts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("skeleton", "joints", "limbs", "swaps"),
    [
        (CMU_31, 31, 20, 12),
        (COCO_17, 17, 17, 8),
        (PANOPTIC_19, 19, 17, 8),
        (H36M_17, 17, 16, 6),
        (H36M_32, 32, 24, 13),
        (SMPL_24, 24, 23, 9),
        (HUMANML3D_22, 22, 21, 8),
        (AMASS_18, 18, 17, 7),
        (BODY_25, 25, 24, 11),
        (BANDAI_NAMCO_21, 21, 20, 8),
        (SMPLH_52, 52, 51, 23),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_counts(skeleton, joints, limbs, swaps):
    assert (skeleton.num_joints, skeleton.num_limbs, len(skeleton.swaps)) == (joints, limbs, swaps)
    assert SKELETONS[skeleton.name] is skeleton
    assert skeleton.name.endswith(f"_{joints}")


@pytest.mark.parametrize("skeleton", ALL, ids=names)
def test_every_joint_is_drawn_and_the_limbs_hang_together(skeleton):
    # those on one spot with another; in paper 1 neck and body center
    invisible = {"cmu_31": 10, "h36m_32": 7, "panoptic_19": 2}
    reached = {skeleton.limbs[0][0]}
    for _ in skeleton.limbs:
        reached |= {joint for limb in skeleton.limbs if reached & set(limb) for joint in limb}
    assert len(reached) == skeleton.num_joints - invisible.get(skeleton.name, 0)


@pytest.mark.parametrize("skeleton", ALL, ids=names)
def test_limbs_and_parents_are_symmetric(skeleton):
    other = skeleton.mirrored_joints()
    limbs = {frozenset(limb) for limb in skeleton.limbs}
    assert {frozenset((other[a], other[b])) for a, b in skeleton.limbs} == limbs
    if skeleton.parents is not None:
        for joint, parent in enumerate(skeleton.parents):
            assert skeleton.parents[other[joint]] == (other[parent] if parent >= 0 else -1)


@pytest.mark.parametrize("skeleton", ALL, ids=names)
def test_left_is_left(skeleton):
    for joint, side, anatomy in zip(skeleton.joints, skeleton.sides(), vocabulary(skeleton), strict=True):
        if anatomy.startswith(("left_", "right_")):
            assert side == anatomy.split("_")[0], joint
    for left, right in skeleton.swaps:
        assert vocabulary(skeleton)[left].replace("left", "right") == vocabulary(skeleton)[right]


def test_panoptic_limbs_are_those_of_paper_1():
    sided = [
        ("nose", "shoulder"),
        ("shoulder", "elbow"),
        ("elbow", "wrist"),
        ("shoulder", "hip"),
        ("hip", "knee"),
        ("knee", "ankle"),
        ("nose", "eye"),
        ("eye", "ear"),
    ]
    expected = {
        frozenset({"left_hip", "right_hip"}),
        *(
            frozenset({a if a == "nose" else f"{side}_{a}", f"{side}_{b}"})
            for side in ("left", "right")
            for a, b in sided
        ),
    }
    assert {frozenset(PANOPTIC_19.joints[j] for j in limb) for limb in PANOPTIC_19.limbs} == expected


def test_amass_18_is_joints_4_to_21_of_smplh():
    assert AMASS_18.joints == SMPLH_52.joints[4:22]
    for joint, parent in enumerate(AMASS_18.parents):
        assert parent == max(SMPLH_52.parents[joint + 4] - 4, -1)


def test_public_orders():
    assert PANOPTIC_19.joints[:4] == ("neck", "nose", "body_center", "left_shoulder")
    assert PANOPTIC_19.joints[15:] == ("left_eye", "left_ear", "right_eye", "right_ear")
    assert H36M_17.joints[7:12] == ("spine", "thorax", "neck", "head", "left_shoulder")
    usual = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)  # the joints of H36M_17, in another order
    assert {vocabulary(H36M_32)[joint] for joint in usual} == set(vocabulary(H36M_17))
    assert H36M_32.parents[12:17] == (11, 12, 13, 14, 12)
    assert SMPL_24.joints[:22] == HUMANML3D_22.joints == SMPLH_52.joints[:22]
    assert SMPL_24.parents == (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
    assert SMPLH_52.joints[22:28:3] == ("left_index1", "left_middle1")
    assert SMPLH_52.joints[37] == "right_index1"
    assert BODY_25.joints[8] == "mid_hip"
    assert BODY_25.joints[19:22] == ("left_big_toe", "left_small_toe", "left_heel")


def test_a_wrong_skeleton_is_refused():
    with pytest.raises(ValueError, match="1 anatomical names for 2 joints"):
        Skeleton("s", ("a", "b"), None, (), anatomy=("nose",))
    with pytest.raises(ValueError, match=r"'b' has parent 1"):
        Skeleton("s", ("a", "b"), (-1, 1), ())
    with pytest.raises(ValueError, match=r"limb \(0, 2\)"):
        Skeleton("s", ("a", "b"), (-1, 0), ((0, 2),))
    with pytest.raises(ValueError, match=r"repeat: \['a'\]"):
        Skeleton("s", ("a", "a"), (-1, 0), ())


# --- conversion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", PAIRS, ids=names)
def test_corresponding_joints_are_copied_and_the_rest_is_sensible(pair):
    source, target = pair
    positions = ramp(source)
    result, observed = convert_joints(positions, source, target)
    assert result.shape == (3, target.num_joints, 3)
    assert observed.shape == (target.num_joints,)
    assert np.isfinite(result).all()
    assert (result >= positions.min((0, 1))).all()
    assert (result <= positions.max((0, 1))).all()  # between the source's joints, never outside
    for joint, anatomy in enumerate(vocabulary(target)):
        if anatomy in vocabulary(source):
            assert observed[joint], target.joints[joint]
            np.testing.assert_array_equal(result[:, joint], positions[:, vocabulary(source).index(anatomy)])


@pytest.mark.parametrize("pair", PAIRS, ids=names)
def test_round_trip_on_the_joints_that_correspond(pair):
    source, target = pair
    positions = ramp(source)
    there, _ = convert_joints(positions, source, target)
    back, observed = convert_joints(there, target, source)
    shared = [
        joint
        for joint, anatomy in enumerate(vocabulary(source))
        if anatomy in vocabulary(target) and vocabulary(source).index(anatomy) == joint
    ]
    assert len(shared) >= 10
    assert observed[shared].all()
    np.testing.assert_array_equal(back[:, shared], positions[:, shared])


@pytest.mark.parametrize("pair", PAIRS, ids=names)
def test_conversion_and_mirroring_commute(pair):
    source, target = pair

    def mirror(positions, skeleton):
        return positions[:, list(skeleton.mirrored_joints())] * (-1, 1, 1)

    positions = ramp(source)
    there, observed = convert_joints(positions, source, target)
    mirrored, _ = convert_joints(mirror(positions, source), source, target)
    np.testing.assert_allclose(mirrored, mirror(there, target), atol=1e-12)
    assert (observed == observed[list(target.mirrored_joints())]).all()


def test_midpoints_are_computed_and_count_as_observed():
    positions = ramp(COCO_17)
    result, observed = convert_joints(positions, COCO_17, H36M_17)

    def middle(joint):
        return positions[:, [COCO_17.index(f"left_{joint}"), COCO_17.index(f"right_{joint}")]].mean(1)

    np.testing.assert_allclose(result[:, H36M_17.index("hip")], middle("hip"))
    np.testing.assert_allclose(result[:, H36M_17.index("thorax")], middle("shoulder"))
    np.testing.assert_allclose(result[:, H36M_17.index("spine")], (middle("hip") + middle("shoulder")) / 2)
    np.testing.assert_array_equal(result[:, H36M_17.index("neck")], positions[:, COCO_17.index("nose")])
    assert [H36M_17.joints[joint] for joint in np.flatnonzero(~observed)] == ["head"]  # no crown in COCO
    toes, _ = convert_joints(ramp(BODY_25), BODY_25, SMPL_24)
    np.testing.assert_allclose(toes[:, SMPL_24.index("left_foot")], ramp(BODY_25)[:, 19:21].mean(1))


def test_joints_without_counterpart_are_put_near_where_they_belong():
    positions = ramp(AMASS_18)
    result, observed = convert_joints(positions, AMASS_18, SMPL_24)
    for joint, near in (("left_hand", "left_wrist"), ("right_hand", "right_wrist"), ("left_hip", "spine2")):
        assert not observed[SMPL_24.index(joint)]
        np.testing.assert_array_equal(result[:, SMPL_24.index(joint)], positions[:, AMASS_18.index(near)])
    faces, observed = convert_joints(ramp(CMU_31), CMU_31, COCO_17)
    assert not observed[:5].any()
    np.testing.assert_array_equal(faces[:, 0], ramp(CMU_31)[:, CMU_31.index("Head")])


def test_a_skeleton_of_ones_own_corresponds_by_name_or_by_anatomy():
    own = Skeleton("own", ("left_knee", "Kopf", "tail"), None, (), anatomy=("", "head", ""))
    positions = ramp(SMPL_24)
    result, observed = convert_joints(positions, SMPL_24, own)
    assert observed.tolist() == [True, True, False]
    np.testing.assert_array_equal(result[:, :2], positions[:, [4, 15]])
    np.testing.assert_allclose(result[:, 2], positions.mean(1))  # nothing known about tails: the middle of the body


def test_dtype_coordinates_and_leading_axes_are_kept():
    positions = ramp(SMPL_24)[None, ..., :2].astype(np.float32)
    result, _ = convert_joints(positions, SMPL_24, H36M_17)
    assert result.shape == (1, 3, 17, 2)
    assert result.dtype == np.float32
    with pytest.raises(ValueError, match=r"positions have 24 joints, skeleton 'coco_17' has 17"):
        convert_joints(positions, COCO_17, SMPL_24)


def test_confidence_is_the_least_of_the_joints_used():
    confidence = np.ones((1, 17), dtype=np.float32)
    confidence[0, COCO_17.index("left_hip")] = 0.25
    result = convert_confidence(confidence, COCO_17, PANOPTIC_19)
    assert result[0, PANOPTIC_19.index("body_center")] == 0.25
    assert result[0, PANOPTIC_19.index("left_hip")] == 0.25
    assert result[0, PANOPTIC_19.index("neck")] == 1
    assert convert_confidence(confidence, COCO_17, SMPL_24)[0, SMPL_24.index("left_hand")] == 0


def test_convert_clip():
    clip = MotionClip(ramp(CMU_31), 120, CMU_31, name="a", subject="02", action="walk", captions=("c",))
    coco = convert_clip(clip, COCO_17)
    assert coco.confidence.tolist() == [[0.0] * 5 + [1.0] * 12] * 3
    assert (coco.fps, coco.name, coco.subject, coco.action, coco.captions) == (120, "a", "02", "walk", ("c",))
    back = convert_clip(coco, PANOPTIC_19)
    assert back.confidence[0, PANOPTIC_19.index("nose")] == 0
    assert back.confidence[0, PANOPTIC_19.index("body_center")] == 1
    assert convert_clip(MotionClip(ramp(SMPL_24), 20, SMPL_24), HUMANML3D_22).confidence is None


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (120.00004577636719, 120),
        (1 / 0.0333333, 30),
        (1 / 0.0083333, 120),
        (29.97, 29.97),
        (23.976, 23.976),
        (250, 250),
    ],
)
def test_nominal_fps(fps, expected):
    assert nominal_fps(fps) == expected
