"""Forward kinematics and its inverse, against an independent slow twin and known values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from motionkit.data.kinematics import (
    axis_angle_to_matrix,
    euler_to_matrix,
    forward_kinematics,
    global_rotations,
    matrix_to_euler,
    solve_rotations,
)
from motionkit.data.skeleton import AMASS_18, CMU_31, SMPL_24, SMPLH_52

ANGLES = np.linspace(-7, 7, 60).reshape(20, 3) ** 3 / 50


def random_body(skeleton, frames=7, seed=0):
    """Rotations, offsets, root positions of a rigid body in arbitrary poses."""
    rng = np.random.default_rng(seed)
    rotations = Rotation.random(frames * skeleton.num_joints, random_state=seed).as_matrix()
    offsets = rng.normal(size=(skeleton.num_joints, 3))
    return rotations.reshape(frames, skeleton.num_joints, 3, 3), offsets, rng.normal(size=(frames, 3))


@pytest.mark.parametrize("order", ["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX", "ZXZ"])
def test_euler_agrees_with_scipy_for_every_order(order):
    expected = Rotation.from_euler(order, ANGLES).as_matrix()
    np.testing.assert_allclose(euler_to_matrix(ANGLES, order), expected, atol=1e-12)


def test_euler_takes_fewer_angles_and_batches():
    turn = euler_to_matrix(np.array([[[0.3], [0.7]]]), "Y")
    assert turn.shape == (1, 2, 3, 3)
    np.testing.assert_allclose(turn[0, 1], Rotation.from_euler("Y", 0.7).as_matrix(), atol=1e-12)


@pytest.mark.parametrize(("angles", "order"), [(3, "XY"), (2, "XW"), (1, "x")])
def test_euler_refuses_wrong_orders(angles, order):
    with pytest.raises(ValueError, match=f"{angles} angles for rotation order '{order}'"):
        euler_to_matrix(np.zeros(angles), order)


@pytest.mark.parametrize("middle", [-np.pi / 2, np.pi / 2, 0.0, 1.2])
def test_matrix_to_euler_gives_the_matrix_back_even_at_gimbal_lock(middle):
    angles = np.stack([ANGLES[:, 0], np.full(20, middle), ANGLES[:, 2]], axis=-1)
    matrix = euler_to_matrix(angles, "ZYX")
    np.testing.assert_allclose(euler_to_matrix(matrix_to_euler(matrix), "ZYX"), matrix, atol=1e-9)


def test_axis_angle_agrees_with_scipy_and_is_exact_at_zero():
    vectors = np.concatenate([ANGLES, ANGLES * 1e-9, [[np.pi, 0, 0], [0, -np.pi, 0]]])
    np.testing.assert_allclose(
        axis_angle_to_matrix(vectors), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12, rtol=0
    )
    assert (axis_angle_to_matrix(np.zeros(3)) == np.eye(3)).all()


@pytest.mark.parametrize("skeleton", [CMU_31, SMPL_24, AMASS_18], ids=lambda s: s.name)
def test_forward_kinematics_agrees_with_walking_up_the_parents(skeleton):
    rotations, offsets, roots = random_body(skeleton)
    result = forward_kinematics(rotations, offsets, skeleton.parents, roots)
    for frame in range(len(rotations)):
        for joint in range(skeleton.num_joints):
            point, at = offsets[joint], skeleton.parents[joint]
            while at >= 0:  # into the frame of each ancestor in turn
                point = rotations[frame, at] @ point + offsets[at]
                at = skeleton.parents[at]
            np.testing.assert_allclose(result[frame, joint], point + roots[frame], atol=1e-12)


def test_any_leading_axes_and_offsets_for_each_frame():
    rotations, offsets, roots = random_body(SMPL_24, frames=6)
    flat = forward_kinematics(rotations, offsets, SMPL_24.parents, roots)
    moving = np.broadcast_to(offsets, (2, 3, 24, 3))
    folded = forward_kinematics(rotations.reshape(2, 3, 24, 3, 3), moving, SMPL_24.parents, roots.reshape(2, 3, 3))
    np.testing.assert_array_equal(folded.reshape(6, 24, 3), flat)


def test_computes_in_float64_and_leaves_its_arguments_alone():
    rotations, offsets, roots = random_body(SMPL_24)
    single, before = rotations.astype(np.float32), rotations.astype(np.float32)
    result = forward_kinematics(single, offsets.astype(np.float32), SMPL_24.parents, roots.astype(np.float32))
    assert result.dtype == np.float64
    np.testing.assert_array_equal(single, before)
    expected = forward_kinematics(
        single.astype(float), offsets.astype(np.float32).astype(float), SMPL_24.parents, roots.astype(np.float32)
    )
    np.testing.assert_array_equal(result, expected)


def test_turning_the_root_turns_the_body():
    rotations, offsets, _ = random_body(CMU_31)
    offsets[0] = 0
    turn = Rotation.from_rotvec([0.3, -1, 2]).as_matrix()
    rest = forward_kinematics(rotations, offsets, CMU_31.parents, np.zeros(3))
    rotations[:, 0] = turn @ rotations[:, 0]
    turned = forward_kinematics(rotations, offsets, CMU_31.parents, np.zeros(3))
    np.testing.assert_allclose(turned, rest @ turn.T, atol=1e-12)


@pytest.mark.parametrize(("parents", "message"), [((-1, 1, 0), "joint 1 has parent 1"), ((-1, 0), "2 parents for 3")])
def test_parents_must_come_first(parents, message):
    with pytest.raises(ValueError, match=message):
        global_rotations(np.broadcast_to(np.eye(3), (3, 3, 3)), parents)


# --- the inverse ------------------------------------------------------------------------------------------------------


def solved(positions, parents, tolerance=1e-6):
    rotations, offsets = solve_rotations(positions, parents, tolerance)
    assert np.isfinite(rotations).all()
    np.testing.assert_allclose(
        rotations @ np.swapaxes(rotations, -1, -2), np.broadcast_to(np.eye(3), rotations.shape), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    return offsets, forward_kinematics(rotations, offsets, parents, np.zeros(3))


@pytest.mark.parametrize("skeleton", [CMU_31, SMPLH_52, AMASS_18], ids=lambda s: s.name)
def test_a_rigid_body_needs_no_moving_offsets(skeleton):
    rotations, offsets, roots = random_body(skeleton)
    positions = forward_kinematics(rotations, offsets, skeleton.parents, roots)
    found, again = solved(positions, skeleton.parents)
    np.testing.assert_allclose(again, positions, atol=1e-9)
    children = [joint for joint, parent in enumerate(skeleton.parents) if parent >= 0]
    assert (found[:, children] == found[0, children]).all()


@given(seed=st.integers(0, 1000), tolerance=st.sampled_from([1e-6, 1e-3, 0.1]))
@settings(max_examples=20, deadline=None)
def test_any_motion_is_reproduced_to_within_the_tolerance(seed, tolerance):
    positions = np.random.default_rng(seed).normal(size=(5, 24, 3))
    positions[2] = positions[0] * -1  # every bone points the opposite way
    positions[3] = 0.0  # all joints on one spot
    _, again = solved(positions, SMPL_24.parents, tolerance)
    assert np.linalg.norm(again - positions, axis=-1).max() <= tolerance + 1e-9


def test_the_first_frame_is_the_rest_pose_and_a_straight_chain_gets_no_twist():
    positions = np.zeros((2, 3, 3))
    positions[0, :, 0] = [0, 1, 2]
    positions[1, :, 1] = [0, 1, 2]  # the whole chain turns by 90 degrees about z
    rotations, offsets = solve_rotations(positions, (-1, 0, 1), 1e-9)
    np.testing.assert_allclose(rotations[0], np.broadcast_to(np.eye(3), (3, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(rotations[1, 0], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(rotations[1, 1:], np.broadcast_to(np.eye(3), (2, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(offsets[0], [[0, 0, 0], [1, 0, 0], [1, 0, 0]])
