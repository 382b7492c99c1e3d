"""CMU Panoptic: the layout written by hand, tracks, gaps, the world frame, broken files, and the real recordings."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

from motionkit.data.cameras import project
from motionkit.data.gaps import fill_gaps
from motionkit.data.panoptic import POSE_FOLDER, read_calibration, read_panoptic
from motionkit.data.skeleton import PANOPTIC_19

CAMERA = {
    "name": "00_00",
    "type": "hd",
    "resolution": [1920, 1080],
    "K": [[1634.03, 0, 942.792], [0, 1629.73, 558.29], [0, 0, 1]],
    "distCoef": [-0.222445, 0.199192, 8.73054e-05, 0.000982243, 0.0238445],
    "R": [
        [0.1369296663, 0.03357591931, -0.9900115778],
        [-0.09021094677, 0.9956950625, 0.02129149064],
        [0.9864645212, 0.08639444504, 0.1393691081],
    ],
    "t": [[20.90028135], [127.2202879], [283.1159034]],
}


def body(number: int, frame: int) -> dict:
    """Joint j of frame f at x = j + f, y = -100 - j, z = 5 cm, confidence 0.5."""
    joints = [[joint + frame, -100.0 - joint, 5.0, 0.5] for joint in range(19)]
    return {"id": number, "joints19": [value for joint in joints for value in joint]}


def scene(*bodies: dict) -> dict:
    return {"version": 0.7, "univTime": 0.0, "fpsType": "hd_29_97", "bodies": list(bodies)}


def write(folder, scenes: dict[int, dict]):
    poses = folder / "160906_band9" / POSE_FOLDER
    poses.mkdir(parents=True)
    for frame, content in scenes.items():
        (poses / f"body3DScene_{frame:08d}.json").write_text(json.dumps(content))
    return poses.parent


def test_world_frame_and_labels(tmp_path):
    folder = write(tmp_path, {7: scene(body(0, 7)), 8: scene(body(0, 8))})
    (clip,) = read_panoptic(folder)
    assert clip.skeleton is PANOPTIC_19
    assert clip.fps == 29.97
    assert (clip.name, clip.subject, clip.action) == ("160906_band9/body0_00000007", "160906_band9", "band")
    # joint 3 of frame 8: (11, -103, 5) cm, Y down -> (0.11, 1.03, -0.05) m, Y up
    np.testing.assert_allclose(clip.positions[1, 3], [0.11, 1.03, -0.05], rtol=1e-6)
    assert (clip.confidence == 0.5).all()
    (same,) = read_panoptic(folder / POSE_FOLDER)
    assert same.name == clip.name


def test_bodies_are_tracked_by_number_and_cut_at_gaps(tmp_path):
    scenes = {
        1: scene(body(0, 1), body(4, 1)),
        2: scene(body(4, 2), body(0, 2)),  # order within a file does not matter
        3: scene(body(4, 3), body(-1, 3), body(-1, 3)),  # untracked bodies may repeat
        4: scene(),
        5: scene(body(4, 5)),
        9: scene(body(4, 9)),  # files 6 to 8 are missing
    }
    clips = {clip.name.split("/")[1]: clip.num_frames for clip in read_panoptic(write(tmp_path, scenes))}
    assert clips == {"body0_00000001": 2, "body4_00000001": 3, "body4_00000005": 1, "body4_00000009": 1}


def test_unobserved_joints(tmp_path):
    scenes = {frame: scene(body(0, frame)) for frame in range(4)}
    for frame in (1, 2):  # joint 2 between observations; joint 5 never; joint 6 not at the start
        scenes[frame]["bodies"][0]["joints19"][4 * 2 : 4 * 3] = [0, 0, 0, -1]
    for content in scenes.values():
        content["bodies"][0]["joints19"][4 * 5 : 4 * 6] = [0, 0, 0, -1]
    scenes[0]["bodies"][0]["joints19"][4 * 6 : 4 * 7] = [0, 0, 0, -1]
    scenes[3]["bodies"][0]["joints19"][4 * 7 + 3] = 1.25  # surer than sure
    (clip,) = read_panoptic(write(tmp_path, scenes))
    np.testing.assert_allclose(clip.positions[:, 2, 0], [0.02, 0.03, 0.04, 0.05], rtol=1e-6)
    np.testing.assert_allclose(clip.positions[0, 6], clip.positions[1, 6])
    others = np.delete(clip.positions, 5, axis=1).mean(axis=1)
    np.testing.assert_allclose(clip.positions[:, 5], others, rtol=1e-5)
    expected = np.full((4, 19), 0.5)
    expected[1:3, 2] = expected[:, 5] = expected[0, 6] = 0
    expected[3, 7] = 1
    np.testing.assert_array_equal(clip.confidence, expected.astype(np.float32))


def test_fill_gaps_ignores_what_was_not_observed():
    observed = np.array([[True, False], [False, True], [True, True]])
    positions = np.arange(12, dtype=np.float64).reshape(3, 2, 2)
    wild = np.where(observed[..., None], positions, np.nan)
    filled = fill_gaps(wild, observed)
    np.testing.assert_array_equal(filled[observed], positions[observed])
    np.testing.assert_array_equal(filled[1, 0], [4, 5])
    np.testing.assert_array_equal(filled[0, 1], filled[1, 1])
    assert np.isnan(wild[1, 0]).all()  # the argument is untouched
    with pytest.raises(ValueError, match="no joint is observed in any of 3 frames"):
        fill_gaps(positions, np.zeros((3, 2), dtype=bool))


def changed(path: tuple, value) -> dict:
    """A valid scene with one field replaced (or, for ``...``, removed)."""
    content = scene(body(0, 1))
    place = content
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return content


BROKEN_SCENES = {
    "empty": ("", "the file is empty"),
    "truncated": (json.dumps(scene(body(0, 1)))[:-40], "line 1, column .*truncated"),
    "encoding": ("﻿".encode("utf-16") + b"\xff\xfe{", "not UTF-8"),
    "no object": ("[1, 2]", "expected an object"),
    "no bodies": (changed(("bodies",), ...), "field 'bodies' is missing"),
    "bodies no list": (changed(("bodies",), 3), "field 'bodies' is 3, expected a list"),
    "no joints": (changed(("bodies", 0, "joints19"), ...), "body 0: field 'joints19' is missing"),
    "too few": (changed(("bodies", 0, "joints19"), [1.0] * 75), "'joints19' has 75 numbers, expected 76"),
    "15 joints": (changed(("bodies", 0, "joints19"), [1.0] * 60), "'joints19' has 60 numbers, expected 76"),
    "text": (changed(("bodies", 0, "joints19", 5), "left"), "'joints19' holds 'left'"),
    "null": (changed(("bodies", 0, "joints19", 5), None), "'joints19' holds nan"),
    "nan": (changed(("bodies", 0, "joints19", 5), float("nan")), r"'joints19' holds nan at \(5,\)"),
    "infinite": (changed(("bodies", 0, "joints19", 5), float("inf")), "'joints19' holds inf"),
    "id": (changed(("bodies", 0, "id"), "first"), "field 'id' is 'first', expected a whole number"),
    "twice": (scene(body(2, 1), body(2, 1)), "body 2 appears twice"),
    "absurd fps": (changed(("fpsType",), "hd_99999"), "field 'fpsType' is 'hd_99999'"),
    "no fps": (changed(("fpsType",), "fast"), "field 'fpsType' is 'fast'"),
    "zero fps": (changed(("fpsType",), "hd_0"), "field 'fpsType' is 'hd_0'"),
    "deep": ("[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("case", BROKEN_SCENES)
def test_broken_scene_is_named(tmp_path, case):
    content, message = BROKEN_SCENES[case]
    folder = write(tmp_path, {1: scene(body(0, 1))})
    path = folder / POSE_FOLDER / "body3DScene_00000002.json"
    if isinstance(content, dict):
        content = json.dumps(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=message) as error:
        read_panoptic(folder)
    assert str(path) in str(error.value)


def test_two_rates_are_refused(tmp_path):
    other = scene(body(0, 2)) | {"fpsType": "vga_25"}
    with pytest.raises(
        ValueError, match=r"00000002.json: field 'fpsType' says 25.0 fps, but .*00000001.json says 29.97"
    ):
        read_panoptic(write(tmp_path, {1: scene(body(0, 1)), 2: other}))


def test_folder_without_scenes(tmp_path):
    with pytest.raises(ValueError, match=r"no body3DScene_\*.json files"):
        read_panoptic(tmp_path)


def test_body_that_is_never_observed(tmp_path):
    content = changed(("bodies", 0, "joints19"), [0, 0, 0, -1] * 19)
    with pytest.raises(ValueError, match="160906_band9/body0_00000001: field 'joints19': no joint is observed"):
        read_panoptic(write(tmp_path, {1: content}))


def write_calibration(folder, *cameras: dict):
    path = folder / "calibration.json"
    path.write_text(json.dumps({"calibDataSource": "test", "cameras": list(cameras)}))
    return path


def test_calibration_projects_as_in_the_studio_frame(tmp_path):
    """The twin works in the file's own frame: centimetres, Y down, textbook formula, one point at a time."""
    camera = read_calibration(write_calibration(tmp_path, CAMERA))["00_00"]
    studio = np.random.default_rng(0).uniform((-80, -180, -80), (80, 0, 80), (50, 3))
    expected = []
    for point in studio:
        x, y, z = np.array(CAMERA["R"]) @ point + np.array(CAMERA["t"])[:, 0]
        x, y = x / z, y / z
        k1, k2, p1, p2, k3 = CAMERA["distCoef"]
        r = np.hypot(x, y)
        radial = 1 + k1 * r**2 + k2 * r**4 + k3 * r**6
        u = x * radial + 2 * p1 * x * y + p2 * (r**2 + 2 * x**2)
        v = y * radial + p1 * (r**2 + 2 * y**2) + 2 * p2 * x * y
        expected.append([1634.03 * u + 942.792, 1629.73 * v + 558.29])
    world = torch.tensor(studio * [0.01, -0.01, -0.01])
    keypoints, depth, _ = project(world, camera)
    np.testing.assert_allclose(keypoints.numpy(), expected, rtol=1e-9, atol=1e-6)
    assert (depth > 1).all()


def test_calibration_kinds(tmp_path):
    others = [CAMERA | {"name": "01_01", "type": "vga"}, CAMERA | {"name": "50_01", "type": "kinect-color"}]
    path = write_calibration(tmp_path, CAMERA, *others)
    assert list(read_calibration(path)) == ["00_00"]
    assert list(read_calibration(path, kind="vga")) == ["01_01"]
    assert list(read_calibration(path, kind=None)) == ["00_00", "01_01", "50_01"]


BROKEN_CAMERAS = {
    "no K": ({"K": ...}, "camera '00_00': field 'K' is missing"),
    "small K": ({"K": [[1, 0], [0, 1]]}, "field 'K' has 2 x 2 numbers, expected 3 x 3"),
    "ragged R": ({"R": [[1, 0, 0], [0, 1], [0, 0, 1]]}, "field 'R' holds"),
    "mirror": ({"R": [[1, 0, 0], [0, 1, 0], [0, 0, -1]]}, "'00_00': R is no rotation"),
    "nan": ({"t": [[0.0], [float("nan")], [0.0]]}, "field 't' holds nan"),
    "lens": ({"distCoef": [0.1]}, "field 'distCoef' has 1 numbers, expected 5"),
    "size": ({"resolution": [0, 1080]}, "image is 0 x 1080"),
    "type": ({"type": 5}, "field 'type' is 5, expected a text"),
    "none of the kind": ({"type": "vga"}, "no camera of type 'hd'"),
}


@pytest.mark.parametrize("case", BROKEN_CAMERAS)
def test_broken_calibration_is_named(tmp_path, case):
    change, message = BROKEN_CAMERAS[case]
    camera = {key: value for key, value in (copy.deepcopy(CAMERA) | change).items() if value is not ...}
    path = write_calibration(tmp_path, camera)
    with pytest.raises(ValueError, match=message) as error:
        read_calibration(path)
    assert str(path) in str(error.value)


def test_calibration_twice_and_truncated(tmp_path):
    with pytest.raises(ValueError, match="camera '00_00' is listed twice"):
        read_calibration(write_calibration(tmp_path, CAMERA, CAMERA))
    path = write_calibration(tmp_path, CAMERA)
    path.write_text(path.read_text()[:300])
    with pytest.raises(ValueError, match="line 1"):
        read_calibration(path)


@pytest.mark.parametrize("sequence", ["160906_band1", "160906_band2"])
def test_real_recordings(data_folder, sequence):
    folder = data_folder / "panoptic" / sequence
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")
    clips = read_panoptic(folder)
    cameras = read_calibration(folder / f"calibration_{sequence}.json")
    assert len(clips) == 3
    assert len(cameras) == 31
    assert len(read_calibration(folder / f"calibration_{sequence}.json", kind=None)) == 520
    for clip in clips:
        assert clip.num_frames == 20
        positions = torch.tensor(clip.positions)
        observed = torch.tensor(clip.confidence > 0)
        assert positions[..., 1].min() > 0  # everything above the floor, heads of seated players at 1 to 1.4 m
        assert 1.0 < positions[..., 1].max() < 1.4
        ear = {side: positions[:, PANOPTIC_19.index(f"{side}_ear")] for side in ("left", "right")}
        shoulder = {side: positions[:, PANOPTIC_19.index(f"{side}_shoulder")] for side in ("left", "right")}
        across = (ear["left"] - ear["right"]) * (shoulder["left"] - shoulder["right"])
        assert across.sum(-1).mean() > 0  # left is left for eyes and ears too
        seen = [project(positions, camera)[2][observed].float().mean().item() for camera in cameras.values()]
        assert np.mean(seen) > 0.75  # 31 cameras, each aimed at the middle, three players round it
        assert max(seen) == 1
        assert all(2 < np.linalg.norm(camera.center_m) < 5 and camera.center_m[1] > 0.5 for camera in cameras.values())
