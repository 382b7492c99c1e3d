"""ASF/AMC: positions by hand, agreement with BVH, and the errors for files that cannot be used."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from motionkit.data.amc import read_amc
from motionkit.data.bvh import CMU_UNIT_M, read_bvh
from motionkit.data.skeleton import CMU_31

ASF = """# a subject
:version 1.10
:name someone
:units
  mass 1.0
  length 0.5
  angle deg
:documentation
   made by hand
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name lower
     direction 0 1 0
     length 2
     axis 0 0 30  XYZ
    dof rx rz
    limits (-160.0 20.0)
           (-70.0 70.0)
  end
  begin
     id 2
     name upper
     direction 1 0 0
     length 3
     axis 10 20 30  XYZ
    dof rx ry rz
  end
  begin
     id 3
     name tip
     direction 0 0 1
     length 1
     axis 0 0 0  XYZ
  end
:hierarchy
  begin
    root lower
    lower upper
    upper tip
  end
"""
AMC = """#!OML:ASF made by hand
:FULLY-SPECIFIED
:DEGREES
1
root 1 2 3 0 0 0
lower 0 0
upper 0 0 0
2
root 1 2 3 0 0 90
lower 0 0
upper 0 0 0
3
root 4 5 6 10 20 30
upper 60 70 80
lower 40 50
"""


def write(folder, asf=ASF, amc=AMC):
    paths = folder / "trial.amc", folder / "who.asf"
    for path, text in zip(paths, (amc, asf), strict=True):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return paths


def test_positions_by_hand(tmp_path):
    clip = read_amc(*write(tmp_path), unit_m=1.0, fps=60)
    assert clip.skeleton.joints == ("root", "lower", "upper", "tip")
    assert clip.skeleton.parents == (-1, 0, 1, 2)
    assert (clip.fps, clip.name) == (60, "trial")
    np.testing.assert_allclose(clip.positions[0], [[1, 2, 3], [1, 2, 3], [1, 4, 3], [4, 4, 3]], atol=1e-6)
    np.testing.assert_allclose(clip.positions[1], [[1, 2, 3], [1, 2, 3], [-1, 2, 3], [-1, 5, 3]], atol=1e-6)
    # Lower case: turns about the fixed axes of the parent, x first, as Acclaim has them.
    root = Rotation.from_euler("xyz", [10, 20, 30], degrees=True)
    lower_axes = Rotation.from_euler("xyz", [0, 0, 30], degrees=True)
    upper_axes = Rotation.from_euler("xyz", [10, 20, 30], degrees=True)
    lower = root * lower_axes * Rotation.from_euler("xz", [40, 50], degrees=True) * lower_axes.inv()
    upper = lower * upper_axes * Rotation.from_euler("xyz", [60, 70, 80], degrees=True) * upper_axes.inv()
    start = np.array([4, 5, 6])
    bend = start + lower.apply([0, 2, 0])
    expected = [start, start, bend, bend + upper.apply([3, 0, 0])]
    np.testing.assert_allclose(clip.positions[2], expected, atol=1e-5)


def test_the_unit_of_length_comes_from_the_subject(tmp_path):
    paths = write(tmp_path)
    units = read_amc(*paths, unit_m=1.0).positions
    np.testing.assert_allclose(read_amc(*paths).positions, units * 0.0254 / 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("asf", "amc"),
    [
        (ASF.replace("\n", "\r\n"), AMC.replace("\n", "\r\n")),
        ("\ufeff" + ASF, "\n\n" + AMC + "\n# end\n"),
        (ASF.replace("dof rx", "dof RX").replace("XYZ", "xyz"), AMC),
        (
            ASF.replace("TX TY TZ RX RY RZ", "RX RY RZ TZ TX TY"),
            AMC.replace("1 2 3 0 0 0", "0 0 0 3 1 2")
            .replace("1 2 3 0 0 90", "0 0 90 3 1 2")
            .replace("4 5 6 10 20 30", "10 20 30 6 4 5"),
        ),
        (
            ASF.replace("root lower\n    lower upper\n    upper tip", "upper tip\n    lower upper\n    root lower"),
            AMC,
        ),
    ],
    ids=["windows", "byte order mark", "case", "order of the root", "order of the hierarchy"],
)
def test_ways_of_writing_the_same_files(tmp_path, asf, amc):
    expected = read_amc(*write(tmp_path))
    clip = read_amc(*write(tmp_path, asf, amc))
    np.testing.assert_array_equal(clip.positions, expected.positions)


def test_radians(tmp_path):
    expected = read_amc(*write(tmp_path))
    asf = ASF.replace("angle deg", "angle rad").replace("30  XYZ", f"{np.pi / 6} XYZ")
    asf = asf.replace("10 20", f"{np.pi / 18} {np.pi / 9}")
    amc = AMC.replace(":DEGREES\n", "").replace("0 0 90", f"0 0 {np.pi / 2}")
    for turn in ("10 20 30", "60 70 80", "40 50"):
        amc = amc.replace(turn, " ".join(str(float(angle) * np.pi / 180) for angle in turn.split()))
    np.testing.assert_allclose(read_amc(*write(tmp_path, asf, amc)).positions, expected.positions, atol=1e-5)


BROKEN_AMC = {
    "empty": (b"\n", r"the file is empty \(1 bytes\)"),
    "encoding": (AMC.replace("hand", "h\u00e4nd").encode("latin-1"), r"line 1: byte 0xe4 is not UTF-8"),
    "utf-16": (AMC.encode("utf-16"), r"line 1: byte 0xff is not UTF-8"),
    "no frames": (AMC.split("1\nroot")[0], r"line 3: the file has no frames"),
    "other file": ("HIERARCHY\nROOT Hips\n", r"line 1: 'HIERARCHY' where frame number 1 is due"),
    "values first": (AMC.replace(":DEGREES\n1\n", ":DEGREES\n"), r"line 4: 'root' is given before any frame number"),
    "cut off": (AMC.replace("lower 40 50\n", ""), r"line 14: frame 3 ends without lower"),
    "cut in a line": (AMC[:-3].rstrip(), r"line 15: lower '40' is not 2 finite numbers"),
    "bone left out": (AMC.replace("upper 0 0 0\n2", "2"), r"line 7: frame 1 ends without upper"),
    "bone twice": (AMC.replace("upper 0 0 0\n2", "lower 0 0\n2"), r"line 7: 'lower' is given twice"),
    "bone unknown": (AMC.replace("upper 60", "uper 60"), r"line 14: 'uper' is not a moving bone of this subject"),
    "bone that is stiff": (AMC.replace("upper 60", "tip 60"), r"line 14: 'tip' is not a moving bone"),
    "frame skipped": (AMC.replace("\n2\n", "\n4\n"), r"line 8: '4' where frame number 2 is due"),
    "frame word": (AMC.replace("\n2\n", "\ntwo\n"), r"line 8: 'two' where frame number 2 is due"),
    "value missing": (AMC.replace("60 70 80", "60 70"), r"line 14: upper '60 70' is not 3 finite numbers"),
    "value too many": (AMC.replace("60 70 80", "60 70 80 9"), r"line 14: upper '60 70 80 9' is not 3 finite numbers"),
    "nan": (AMC.replace("4 5 6 10", "4 nan 6 10"), r"line 13: root '4 nan 6 10 20 30' is not 6 finite numbers"),
    "inf": (AMC.replace("4 5 6 10", "4 -inf 6 10"), r"line 13: root '4 -inf 6"),
    "inf and -inf": (AMC.replace("4 5 6 10", "inf -inf 6 10"), r"line 13: root 'inf -inf 6"),
    "word": (AMC.replace("60 70 80", "60 7O 80"), r"line 14: upper '60 7O 80'"),
}
BROKEN_ASF = {
    "empty": (b"", r"the file is empty \(0 bytes\)"),
    "encoding": (ASF.replace("someone", "J\u00f6rg").encode("latin-1"), r"line 3: byte 0xf6 is not UTF-8"),
    "cut before hierarchy": (ASF.split(":hierarchy")[0], r"cut off: no section :hierarchy"),
    "cut before bones": (ASF.split(":bonedata")[0], r"cut off: no section :bonedata"),
    "cut in a bone": (ASF.split("     direction 1 0 0")[0] + ":hierarchy\n", r"line 26: bone 'upper' has no end"),
    "cut in the hierarchy": (ASF.split("    upper tip")[0], r"line 34: bone 'tip' does not hang on the root"),
    "other file": ("HIERARCHY\nROOT Hips\n", r"cut off: no section :bonedata"),
    "length word": (ASF.replace("length 0.5", "length half"), r"line 6: length 'half' is not 1 finite numbers"),
    "length zero": (ASF.replace("length 0.5", "length 0"), r"line 6: length scale is 0\.0; it must be positive"),
    "angle unit": (ASF.replace("angle deg", "angle turns"), r"line 7: angle unit 'turns' is neither deg nor rad"),
    "root order": (ASF.replace("TX TY TZ", "TX TX TZ"), r"line 11: root order 'TX TX TZ RX RY RZ' is not"),
    "no root order": (ASF.replace("   order TX TY TZ RX RY RZ\n", ""), r"section :root has no order"),
    "axis": (ASF.replace("axis XYZ", "axis XYX"), r"line 12: axis order 'XYX' is not XYZ in some order"),
    "position": (ASF.replace("position 0 0 0", "position 0 0"), r"line 13: position '0 0' is not 3 finite numbers"),
    "bone axis": (ASF.replace("10 20 30  XYZ", "10 20 XYZ"), r"line 31: axis '10 20 XYZ' is not 3 finite numbers"),
    "direction nan": (ASF.replace("direction 1 0 0", "direction 1 nan 0"), r"line 29: direction '1 nan 0'"),
    "bone length": (ASF.replace("length 3", "length inf"), r"line 30: length 'inf' is not 1 finite numbers"),
    "dof": (ASF.replace("dof rx ry rz", "dof rx ry tz"), r"line 32: dof 'rx ry tz'; only rx, ry and rz"),
    "dof twice": (ASF.replace("dof rx ry rz", "dof rx rx rz"), r"line 32: dof 'rx rx rz'; only rx, ry and rz"),
    "name twice": (ASF.replace("name upper", "name lower"), r"line 33: bone 'lower' has no name or one that is taken"),
    "name root": (ASF.replace("name upper", "name root"), r"line 33: bone 'root' has no name or one that is taken"),
    "no name": (ASF.replace("     name upper\n", ""), r"line 32: bone '' has no name"),
    "outside": (ASF.replace("  begin\n     id 2\n", ""), r"line 26: 'name upper' outside of any bone"),
    "unknown bone": (ASF.replace("lower upper", "lower uper"), r"line 44: bone 'uper' is not in :bonedata"),
    "two parents": (ASF.replace("upper tip", "upper lower"), r"line 45: bone 'lower' gets the parent 'upper'"),
    "circle": (ASF.replace("root lower", "tip lower"), r"bone 'lower' does not hang on the root"),
    "root below": (ASF.replace("upper tip", "upper root"), r"line 45: bone 'root' gets the parent 'upper'"),
}


@pytest.mark.parametrize("case", BROKEN_AMC)
def test_a_broken_trial_is_refused_by_name_line_and_value(tmp_path, case):
    content, message = BROKEN_AMC[case]
    with pytest.raises(ValueError, match=rf"trial\.amc(, |: ){message}"):
        read_amc(*write(tmp_path, amc=content))


@pytest.mark.parametrize("case", BROKEN_ASF)
def test_a_broken_subject_is_refused_by_name_line_and_value(tmp_path, case):
    content, message = BROKEN_ASF[case]
    with pytest.raises(ValueError, match=rf"who\.asf(, |: ).*{message}"):
        read_amc(*write(tmp_path, asf=content))


@pytest.mark.parametrize("fps", [0, -120, float("nan"), 1e6])
def test_absurd_frame_rates_are_refused(tmp_path, fps):
    with pytest.raises(ValueError, match=r"clip 'trial': fps is"):
        read_amc(*write(tmp_path), fps=fps)


def test_a_trial_cut_off_anywhere_is_refused_or_ends_at_a_whole_frame(tmp_path):
    for cut in range(len(AMC) - 2):
        paths = write(tmp_path, amc=AMC[:cut])
        lines = AMC[:cut].rstrip().split(":DEGREES\n")[-1].count("\n")
        if cut > AMC.index("root") and lines in (3, 7) and AMC[:cut].rstrip().endswith("0 0 0"):
            assert read_amc(*paths).num_frames == lines // 3  # the format does not say how many frames there are
        else:
            with pytest.raises(ValueError, match=r"trial\.amc"):
                read_amc(*paths)


# --- the real files ---------------------------------------------------------------------------------------------------


def test_amc_agrees_with_bvh(data_folder):
    folder = data_folder / "cmu"
    amc = read_amc(folder / "amc" / "02_01.amc", folder / "amc" / "02.asf")
    bvh = read_bvh(folder / "bvh" / "02_01.bvh", unit_m=CMU_UNIT_M, skip_frames=1)
    assert amc.skeleton is CMU_31
    assert amc.num_frames == bvh.num_frames
    difference = np.abs(amc.positions - bvh.positions)
    assert difference[:, 0].max() / CMU_UNIT_M < 6e-5
    upper = CMU_31.index("Neck")
    lower = [joint for joint in range(upper) if "Hand" not in CMU_31.joints[joint]]
    assert difference[:, lower].max() < 1e-3
    # The BVH conversion leaves the thorax out: undo that, and the neck, head and arms agree too.
    thorax = amc.positions[:, upper] - amc.positions[:, CMU_31.index("Spine1")]
    assert np.linalg.norm(thorax, axis=-1) == pytest.approx(2.06807 * CMU_UNIT_M, abs=1e-6)
    hands = ("FingerBase", "HandIndex", "Thumb")
    above = [j for j in range(upper, 31) if not any(part in CMU_31.joints[j] for part in hands)]
    assert np.abs(amc.positions[:, above] - thorax[:, None] - bvh.positions[:, above]).max() < 1e-3
    for side in ("Left", "Right"):  # and the lower forearm
        forearm = amc.positions[:, CMU_31.index(f"{side}FingerBase")] - amc.positions[:, CMU_31.index(f"{side}Hand")]
        joints = [CMU_31.index(f"{side}FingerBase"), CMU_31.index(f"{side}HandIndex1"), CMU_31.index(f"{side[0]}Thumb")]
        shifted = amc.positions[:, joints] - (thorax + forearm)[:, None]
        assert np.abs(shifted - bvh.positions[:, joints]).max() < 1e-3


def test_speeds_and_heights_are_human(data_folder):
    folder = data_folder / "cmu" / "amc"
    speeds = {}
    for trial in ("02_01", "35_01", "02_03"):
        clip = read_amc(folder / f"{trial}.amc", folder / f"{trial[:2]}.asf")
        steps = np.linalg.norm(np.diff(clip.positions[:, 0, [0, 2]], axis=0), axis=-1)
        speeds[trial] = steps.sum() / clip.duration_s
        assert 0.85 < clip.positions[:, 0, 1].mean() < 1.1
        assert 1.4 < clip.positions[:, CMU_31.index("Head"), 1].mean() < 1.7
        assert -0.1 < clip.positions[..., 1].min() < 0.1
    assert 1.1 < speeds["02_01"] < 1.4  # walks
    assert 1.1 < speeds["35_01"] < 1.4
    assert 2 < speeds["02_03"] < 5  # runs
