"""Parts of a data set and labels of windows."""

import numpy as np
import pytest
import torch

from motionkit.data.catalogue import load_dataset
from motionkit.data.clip import MotionClip
from motionkit.data.labels import action_labels, common_actions, person_labels, split_parts, windows_of
from motionkit.data.skeleton import Skeleton
from motionkit.data.windows import cut_windows

SMALL = Skeleton("small", ("root", "left", "right"), (-1, 0, 0), ((0, 1), (0, 2)), ((1, 2),))


def styled_clips():
    """Two contents in three styles, six clips each, named as bandai_namco's are."""
    return [
        MotionClip(np.full((8, 3, 3), number, dtype=np.float32), 20.0, SMALL, action=content,
                   name=f"bandai_namco/{content}_{style}_{number}", captions=(f"{content}, {style}",))
        for content in ("walk", "run") for style in ("normal", "elderly", "active") for number in range(6)
    ]  # fmt: skip


def names(clips):
    return {clip.name for clip in clips}


def test_parts_cover_all_clips_and_share_none():
    clips = load_dataset("default")
    parts = split_parts("default", clips, unseen=["box"])
    four = (parts.train, parts.calibration, parts.test, parts.unseen)
    assert sum(map(len, four)) == len(clips)
    assert len(set().union(*map(names, four))) == len(clips)
    assert {clip.action for clip in parts.unseen} == {"box"}
    assert "box" not in {clip.action for part in four[:3] for clip in part}


def test_what_the_catalogue_holds_out_is_divided_action_by_action():
    parts = split_parts("default", load_dataset("default"), unseen=["box"])
    held_out = {"synthetic/08", "synthetic/09", "cmu/01"}
    assert {clip.subject for clip in (*parts.calibration, *parts.test)} == held_out
    assert not {"synthetic/08", "synthetic/09"} & {clip.subject for clip in parts.train}
    for action in ("walk", "run", "wave", "clap"):
        counts = [sum(clip.action == action for clip in part) for part in (parts.calibration, parts.test)]
        assert counts[0] == counts[1] > 0


def test_other_people_may_be_held_out():
    clips = load_dataset("synthetic")
    parts = split_parts("synthetic", clips, held_out=["synthetic/00"])
    assert {clip.subject for clip in (*parts.calibration, *parts.test)} == {"synthetic/00"}
    assert "synthetic/08" in {clip.subject for clip in parts.train}
    assert parts.unseen == ()


def test_whole_styles_are_kept_apart():
    parts = split_parts("bandai_namco", styled_clips(), unseen=["elderly"])
    assert {clip.captions[0] for clip in parts.unseen} == {"walk, elderly", "run, elderly"}
    assert not any("elderly" in clip.name for clip in (*parts.train, *parts.calibration, *parts.test))
    assert {clip.action for clip in parts.train} == {"walk", "run"}


def test_what_is_not_there_is_named():
    with pytest.raises(ValueError, match="unseen 'dance' is no action or style of the clips: active, elderly"):
        split_parts("bandai_namco", styled_clips(), unseen=["dance"])
    with pytest.raises(ValueError, match="nothing is left to learn from without run, walk"):
        split_parts("bandai_namco", styled_clips(), unseen=["walk", "run"])
    with pytest.raises(ValueError, match="1 clips are held out"):
        split_parts("bandai_namco", styled_clips()[:2])


def test_labels_follow_their_windows():
    clips = styled_clips()
    clips = [clip for clip in clips if clip.action == "walk"][:2] + [clip for clip in clips if clip.action == "run"][:1]
    windows = cut_windows(clips, length=4, stride=2)  # three windows a clip
    assert action_labels(windows, ("run", "walk")).tolist() == [1] * 6 + [0] * 3
    assert action_labels(windows, ("walk",)).tolist() == [0] * 6 + [-1] * 3
    assert action_labels(windows, ()).tolist() == [-1] * 9
    assert common_actions(windows) == ("run", "walk")
    assert common_actions(windows, 4) == ("walk",)


def test_windows_of_known_actions_keep_what_belongs_to_them():
    clips = [MotionClip(np.full((9, 3, 3), number, dtype=np.float32), 20.0, SMALL, action=action)
             for number, action in enumerate(("walk", "run", "", "sit", "run"))]  # fmt: skip
    windows = cut_windows(clips, length=4, stride=2)  # three a clip
    known = windows_of(windows, ("run", "walk"))
    assert [known.clip(number).action for number in range(9)] == ["walk"] * 3 + ["run"] * 6
    assert torch.equal(known.positions[:, 0, 0, 0], torch.tensor([0.0, 1, 4]).repeat_interleave(3))
    assert known.start.tolist() == [0, 2, 4] * 3
    assert len(windows_of(windows, ("jump",))) == 0


def test_people_are_numbered_by_name():
    clips = [MotionClip(np.zeros((4, 3, 3), dtype=np.float32), 20.0, SMALL, subject=name) for name in "bab"]
    clips.append(MotionClip(np.zeros((6, 3, 3), dtype=np.float32), 20.0, SMALL))
    assert person_labels(cut_windows(clips, length=4, stride=2)).tolist() == [1, 0, 1, -1, -1]


def test_the_real_styles_are_found(data_folder):
    parts = split_parts("bandai_namco", load_dataset("bandai_namco"), unseen=["elderly", "exhausted"])
    assert len(parts.unseen) == 314 + 353
    assert len({clip.action for clip in parts.unseen}) == len({clip.action for clip in parts.train}) == 10
    assert torch.tensor([len(parts.calibration), len(parts.test)]).diff().abs() <= 1
