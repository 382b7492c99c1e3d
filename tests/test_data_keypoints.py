"""2D keypoint files: both layouts, following one person, gaps, and broken files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from motionkit.data.keypoints import Keypoints, read_keypoints, write_keypoints
from motionkit.data.skeleton import BODY_25, COCO_17, H36M_17, PANOPTIC_19


def person(x: float, joints: int = 25, confidence: float = 0.5) -> list[float]:
    """Joint j at (x + j, 2 j) pixels."""
    return [value for joint in range(joints) for value in (x + joint, 2.0 * joint, confidence)]


def write_openpose(folder, frames: dict[int, list[list[float]]], name="clip"):
    for frame, people in frames.items():
        content = {"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": values} for values in people]}
        (folder / f"{name}_{frame:012d}_keypoints.json").write_text(json.dumps(content))
    return folder


def write_coco(folder, results: list[dict]):
    path = folder / "results.json"
    path.write_text(json.dumps(results))
    return path


def test_openpose(tmp_path):
    keypoints = read_keypoints(write_openpose(tmp_path, {4: [person(10)], 5: [person(11)]}), fps=60.0)
    assert keypoints.skeleton is BODY_25
    assert (keypoints.fps, keypoints.first_frame) == (60.0, 4)
    assert keypoints.keypoints.dtype == keypoints.confidence.dtype == np.float32
    np.testing.assert_array_equal(keypoints.keypoints[1, 3], [14, 6])
    np.testing.assert_array_equal(keypoints.confidence, np.full((2, 25), 0.5))


@pytest.mark.parametrize("image", [lambda frame: frame, lambda frame: f"view2/{frame}.jpg"])
def test_coco_results(tmp_path, image):
    results = [
        {"image_id": image(frame), "category_id": 1, "keypoints": person(frame, 17), "score": 0.9}
        for frame in (12, 10, 11)
    ]
    keypoints = read_keypoints(write_coco(tmp_path, results), fps=25.0)
    assert keypoints.skeleton is COCO_17
    assert keypoints.first_frame == 10
    np.testing.assert_array_equal(keypoints.keypoints[:, 0, 0], [10, 11, 12])


def test_gaps_are_filled_with_confidence_zero(tmp_path):
    hidden = person(30)
    hidden[3 * 7 : 3 * 8] = [0, 0, 0]
    keypoints = read_keypoints(
        write_openpose(tmp_path, {0: [person(0)], 1: [], 3: [hidden], 4: [person(40)]}), fps=30.0
    )
    np.testing.assert_allclose(keypoints.keypoints[:, 0, 0], [0, 10, 20, 30, 40])  # frames 1 (nobody), 2 (no file)
    np.testing.assert_allclose(keypoints.keypoints[:, 7, 0], [7, 17, 27, 37, 47])
    np.testing.assert_array_equal(keypoints.confidence[:, 7] > 0, [True, False, False, False, True])
    np.testing.assert_array_equal(keypoints.confidence[:, 0] > 0, [True, False, False, True, True])


def test_one_person_is_followed(tmp_path):
    """The surer person of the first frame walks right; later another is surer, is listed first, and is not taken."""
    frames = {
        0: [person(500, confidence=0.4), person(0, confidence=0.8)],
        1: [person(490, confidence=0.9), person(10, confidence=0.3)],
        2: [person(20, confidence=0.3), person(480, confidence=0.9)],
    }
    keypoints = read_keypoints(write_openpose(tmp_path, frames), fps=30.0)
    np.testing.assert_array_equal(keypoints.keypoints[:, 0, 0], [0, 10, 20])


def test_other_layouts_need_a_skeleton(tmp_path):
    folder = write_openpose(tmp_path, {0: [person(0, 19)]})
    with pytest.raises(
        ValueError, match=r"has 57 numbers, expected 75 \(body_25\) or 51 \(coco_17\); else pass a skeleton"
    ):
        read_keypoints(folder, fps=30.0)
    assert read_keypoints(folder, fps=30.0, skeleton=PANOPTIC_19).skeleton is PANOPTIC_19
    with pytest.raises(ValueError, match="has 57 numbers, expected 51"):
        read_keypoints(folder, fps=30.0, skeleton=H36M_17)


@pytest.mark.parametrize("fps", [0.0, -30.0, 1e9, float("nan")])
def test_absurd_rate(tmp_path, fps):
    with pytest.raises(ValueError, match=f"fps is {fps}"):
        read_keypoints(write_openpose(tmp_path, {0: [person(0)]}), fps=fps)


GOOD = {"people": [{"pose_keypoints_2d": person(0)}]}
BROKEN_OPENPOSE = {
    "empty": (b"", "the file is empty"),
    "truncated": (json.dumps(GOOD).encode()[:-10], "line 1, column"),
    "encoding": (json.dumps(GOOD).encode("utf-16"), "not UTF-8"),
    "list": (b"[]", r"is \[\], expected an object"),
    "no people": (b'{"version": 1}', "field 'people' is missing; it has 'version'"),
    "people": (b'{"people": {}}', "field 'people' is {}, expected a list"),
    "person": (b'{"people": [3]}', r"people\[0\] is 3, expected an object"),
    "count": (json.dumps({"people": [{"pose_keypoints_2d": person(0)[:-1]}]}).encode(), "has 74 numbers"),
    "none": (b'{"people": [{"pose_keypoints_2d": []}]}', "has 0 numbers"),
    "nan": (json.dumps({"people": [{"pose_keypoints_2d": [float("nan"), *person(0)[1:]]}]}).encode(), "holds nan"),
    "text": (json.dumps({"people": [{"pose_keypoints_2d": ["x", *person(0)[1:]]}]}).encode(), "holds 'x'"),
    "huge": (b'{"people": [{"pose_keypoints_2d": [' + b"1e999," * 74 + b"1]}]}", "holds inf"),
    "negative": (
        json.dumps({"people": [{"pose_keypoints_2d": person(0, confidence=-0.5)}]}).encode(),
        "confidence -0.5",
    ),
}


@pytest.mark.parametrize("case", BROKEN_OPENPOSE)
def test_broken_openpose_file_is_named(tmp_path, case):
    content, message = BROKEN_OPENPOSE[case]
    path = write_openpose(tmp_path, {0: [person(0)]}) / "clip_000000000001_keypoints.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_keypoints(tmp_path, fps=30.0)
    assert str(path) in str(error.value)


BROKEN_COCO = {
    "object": ({"image_id": 1}, "expected a list"),
    "nothing": ([], "the list of results is empty"),
    "no keypoints": ([{"image_id": 1, "bbox": [0, 0, 1, 1]}], r"\[0\]: field 'keypoints' is missing"),
    "no image": ([{"keypoints": person(0, 17)}], "field 'image_id' is None"),
    "image list": ([{"image_id": [1], "keypoints": person(0, 17)}], r"field 'image_id' is \[1\]"),
    "no number": ([{"image_id": "walk.jpg", "keypoints": person(0, 17)}], "'walk.jpg' holds no frame number"),
    "no video": ([{"image_id": i, "keypoints": person(0, 17)} for i in (1, 397133)], "not frames of one video"),
    "zeros": ([{"image_id": 1, "keypoints": [0.0] * 51}], "every keypoint has confidence 0"),
    "mixed": (
        [{"image_id": 1, "keypoints": person(0, 17)}, {"image_id": 2, "keypoints": person(0, 25)}],
        "people with 17 and 25 joints",
    ),
}


@pytest.mark.parametrize("case", BROKEN_COCO)
def test_broken_coco_file_is_named(tmp_path, case):
    content, message = BROKEN_COCO[case]
    path = write_coco(tmp_path, content)
    with pytest.raises(ValueError, match=message) as error:
        read_keypoints(path, fps=30.0)
    assert str(path) in str(error.value)


def test_folders_that_are_no_recording(tmp_path):
    with pytest.raises(ValueError, match=r"no \*.json files"):
        read_keypoints(tmp_path, fps=30.0)
    write_openpose(tmp_path, {0: [], 1: []})
    with pytest.raises(ValueError, match="nobody is detected in any of 2 frames"):
        read_keypoints(tmp_path, fps=30.0)
    write_openpose(tmp_path, {1: [person(0)]}, name="other")
    with pytest.raises(ValueError, match="frame 1 appears twice"):
        read_keypoints(tmp_path, fps=30.0)


def test_what_is_written_is_read_again_bit_for_bit(tmp_path):
    random = np.random.default_rng(0)
    places = random.normal(30, 20, (5, 17, 2)).astype(np.float32)
    sure = random.uniform(0.01, 1, (5, 17)).astype(np.float32)
    path = tmp_path / "edited.json"
    write_keypoints(path, Keypoints(places, sure, H36M_17, fps=20.0, first_frame=3))
    again = read_keypoints(path, fps=20.0, skeleton=H36M_17)
    np.testing.assert_array_equal(again.keypoints, places)
    np.testing.assert_array_equal(again.confidence, sure)
    assert (again.first_frame, again.skeleton, again.fps) == (3, H36M_17, 20.0)
    assert list(tmp_path.iterdir()) == [path]
    places[2, 1, 0] = np.nan
    with pytest.raises(ValueError, match=f"frame 2, joint '{H36M_17.joints[1]}' is"):
        write_keypoints(path, Keypoints(places, sure, H36M_17, fps=20.0))
