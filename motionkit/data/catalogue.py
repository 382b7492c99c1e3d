"""The named data sets, and the one function that loads any of them or a folder of the user's own files."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from motionkit.data.bandai_namco import read_bandai_namco
from motionkit.data.bvh import read_bvh
from motionkit.data.cache import cached_clips
from motionkit.data.clip import MotionClip, convert_clip
from motionkit.data.cmu import read_cmu, read_cmu_amc
from motionkit.data.dataset import DataSet, captions_of, short_hash
from motionkit.data.folder import motion_files, read_folder
from motionkit.data.panoptic import POSE_FOLDER, read_panoptic
from motionkit.data.sample.cmu import load_sample
from motionkit.data.skeleton import BANDAI_NAMCO_21, Skeleton
from motionkit.data.synthetic import generate_dataset
from motionkit.data.windows import default_split


def load_dataset(
    name_or_folder: str | Path,
    skeleton: Skeleton | None = None,
    *,
    max_clips: int | None = None,
    subjects: Collection[str] | None = None,
    actions: Collection[str] | None = None,
) -> list[MotionClip]:
    """The clips of a named data set, or of a folder of your own motion files.

    name_or_folder: a name of ``CATALOGUE``, else the path of a folder (see ``motionkit.data.folder.read_folder``).
    skeleton: convert each clip to it (``convert_clip``); ``None``: as they were recorded.
    subjects, actions: keep only these.
    max_clips: keep at most so many, evenly spread over the data set's order.

    >>> [clip.name for clip in load_dataset("sample")]
    ['cmu/01_01', 'cmu/01_03']

    Raises ``ValueError`` naming the nearest valid name, subject or action, or a broken file, and for clips that cannot
    be converted; ``FileNotFoundError`` saying which files to put where.
    """
    name = str(name_or_folder)
    if name not in CATALOGUE and (folder := Path(name).expanduser()).is_dir():
        clips = cached_clips(f"folder-{short_hash(folder)}", motion_files(folder), lambda: read_folder(folder))
    else:
        clips = find_dataset(name).load()
    for key, wanted in (("subject", subjects), ("action", actions)):
        if wanted is not None:
            there = {getattr(clip, key) for clip in clips}
            for value in wanted:
                if value not in there:
                    raise ValueError(f"{name}: no {key} {value!r}. {_nearest(value, there)}")
            clips = [clip for clip in clips if getattr(clip, key) in wanted]
    if max_clips is not None and max_clips < len(clips):
        if max_clips < 1:
            raise ValueError(f"max_clips is {max_clips}, expected at least 1")
        clips = [clips[index] for index in np.linspace(0, len(clips) - 1, max_clips).round().astype(int)]
    return clips if skeleton is None else [convert_clip(clip, skeleton) for clip in clips]


def split_dataset(name_or_folder: str | Path, clips: Sequence[MotionClip]) -> tuple[list[MotionClip], list[MotionClip]]:
    """(training, test) clips as the catalogue splits the data set; where it names no split, ``default_split``.

    A split by folder (AMASS's by collection) counts where clips of these folders and others are there.

    Raises ``ValueError`` when one part would be empty, as after a selection by subject.
    """
    name = str(name_or_folder)
    entry = CATALOGUE.get(name)
    held_out, folders = (set(entry.held_out), set(entry.held_out_folders)) if entry else (set(), set())
    is_test = [
        not held_out.isdisjoint((clip.subject, clip.name)) or not folders.isdisjoint(clip.name.split("/")[:-1])
        for clip in clips
    ]
    is_one_part = all(is_test) or not any(is_test)
    if is_one_part and not held_out:
        return default_split(clips)
    if is_one_part:
        there = ", ".join(sorted({clip.subject for clip in clips})[:40])
        raise ValueError(f"{name}: holding out {', '.join(sorted(held_out))} of {there} leaves one part empty")
    train = [clip for clip, test in zip(clips, is_test, strict=True) if not test]
    return train, [clip for clip, test in zip(clips, is_test, strict=True) if test]


def find_dataset(name: str) -> DataSet:
    """The catalogue's entry; ``ValueError`` naming the nearest valid name."""
    if name not in CATALOGUE:
        raise ValueError(f"no data set (and no folder) is named {name!r}. {_nearest(name, CATALOGUE)}")
    return CATALOGUE[name]


def dataset_folder(name: str) -> Path:
    """The folder of a named data set, fetched first where that is possible; for data that are no clips (``"mnist"``).

    Raises ``ValueError`` for an unknown or embedded name, ``FileNotFoundError`` saying which files to put where.
    """
    dataset = find_dataset(name)
    return dataset.find() or dataset.fetch()


def _nearest(name: str, names: Collection[str]) -> str:
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    there = ", ".join(map(repr, sorted(names)[:40]))
    return (f"Did you mean {close[0]!r}? " if close else "") + f"There are: {there}"


# --- the data sets ----------------------------------------------------------------------------------------------------


def _read_bandai_namco_folder(folder: Path) -> list[MotionClip]:
    """The positions file if it is there, else the source's BVH files, ``dataset-2_walk_normal_001.bvh``."""
    packed = folder / "bandai_namco_2_positions.npz"
    if packed.is_file():
        return read_bandai_namco(packed)
    clips = []
    for path in sorted(folder.rglob("*.bvh")):
        clip = read_bvh(path, unit_m=0.01, skeleton=BANDAI_NAMCO_21)
        _, content, style, *_ = [*path.stem.split("_"), "", ""]
        labels = {"action": content, "captions": (f"{content.replace('-', ' ')}, {style}",)}
        clips.append(replace(clip, name=f"bandai_namco/{path.stem}", **labels))
    return clips


def _read_panoptic_folder(folder: Path) -> list[MotionClip]:
    return [clip for poses in sorted(folder.rglob(POSE_FOLDER)) for clip in read_panoptic(poses)]


def _synthetic() -> list[MotionClip]:
    return cached_clips("synthetic", [], lambda: generate_dataset(seed=0))


def _cmu_bvh_address(path: str) -> str:
    """The B. Hahne conversion in a public repository, at a fixed commit."""
    commit = "62ac0fb0ec43cff2bf66426928f4fa6682d4bbdc"
    return f"https://raw.githubusercontent.com/una-dinosauria/cmu-mocap/{commit}/{int(path.split('_')[0]):03d}/{path}"


def _cmu_address(path: str) -> str:
    return f"http://mocap.cs.cmu.edu/subjects/{path[:2]}/{path}"


_CMU_LICENSE = "free for research and commercial use; acknowledge mocap.cs.cmu.edu"
_CMU_CITATION = (
    "The data used in this project was obtained from mocap.cs.cmu.edu, created with funding from NSF EIA-0196217"
)
_SYNTHETIC_TEST = ("synthetic/08", "synthetic/09")

CATALOGUE: dict[str, DataSet] = {
    dataset.name: dataset
    for dataset in (
        DataSet(
            name="sample",
            description="two CMU trials, 61 s of jumping, climbing and swinging at 120 fps",
            source="embedded",
            license=_CMU_LICENSE,
            citation=_CMU_CITATION,
            read=lambda _: load_sample(),
            num_clips=2,
        ),
        DataSet(
            name="synthetic",
            description="ten generated people walk, run, jump, wave, box and clap, 31 joints, 60 fps",
            source="embedded",
            license="MIT",
            citation="motionkit",
            read=lambda _: _synthetic(),
            num_clips=120,
            held_out=_SYNTHETIC_TEST,
        ),
        DataSet(
            name="default",
            description="sample and synthetic together: what a newcomer has",
            source="embedded",
            license=f"sample: {_CMU_LICENSE}; synthetic: MIT",
            citation=_CMU_CITATION,
            read=lambda _: [*load_sample(), *_synthetic()],
            num_clips=122,
            held_out=(*_SYNTHETIC_TEST, "cmu/01_01"),
        ),
        DataSet(
            name="cmu",
            description="CMU motion capture, BVH: walking, running, jumping, dancing and more, 31 joints, 120 fps",
            source="http://mocap.cs.cmu.edu, BVH conversion by B. Hahne (cgspeed)",
            license=_CMU_LICENSE,
            citation=_CMU_CITATION,
            read=lambda folder: read_cmu(folder, captions_of("cmu")),
            howto="<subject>_<trial>.bvh files such as 07_01.bvh; labels in ../index.csv.",
            folder="cmu/bvh",
            patterns=("**/*.bvh",),
            size_mb=60.7,
            num_clips=120,
            held_out=("02", "08"),
            address=_cmu_bvh_address,
        ),
        DataSet(
            name="cmu_amc",
            description="CMU motion capture, the original ASF/AMC files, 31 joints, 120 fps",
            source="http://mocap.cs.cmu.edu",
            license=_CMU_LICENSE,
            citation=_CMU_CITATION,
            read=lambda folder: read_cmu_amc(folder, captions_of("cmu_amc")),
            howto="<subject>.asf and <subject>_<trial>.amc files such as 02.asf and 02_01.amc; labels in ../index.csv.",
            folder="cmu/amc",
            patterns=("**/*.amc",),
            size_mb=65.1,
            num_clips=33,
            held_out=("02",),
            address=_cmu_address,
        ),
        DataSet(
            name="bandai_namco",
            description="walking, running, waving and raising hands in 7 styles, 21 joints, 30 fps",
            source="https://github.com/BandaiNamcoResearchInc/Bandai-Namco-Research-Motiondataset",
            license="CC BY-NC 4.0, attribution: Bandai Namco Research Inc.",
            citation="M. Kobayashi et al., Motion Capture Dataset for Practical Use of AI-based Motion Editing and "
            "Stylization, arXiv 2306.08861",
            read=_read_bandai_namco_folder,
            howto="bandai_namco_2_positions.npz, or the source's BVH files (dataset-2_walk_normal_001.bvh ...).",
            folder="bandai_namco",
            patterns=("bandai_namco_2_positions.npz", "**/*.bvh"),
            size_mb=41.0,
            num_clips=2902,
        ),
        DataSet(
            name="panoptic",
            description="CMU Panoptic Studio: people in a dome of cameras, 19 joints, 29.97 fps",
            source="http://domedb.perception.cs.cmu.edu",
            license="non-commercial research",
            citation="H. Joo et al., Panoptic Studio: A Massively Multiview System, ICCV 2015",
            read=_read_panoptic_folder,
            howto="for each sequence a folder <sequence>/ with calibration_<sequence>.json and the unpacked "
            f"{POSE_FOLDER}.tar (<sequence>/{POSE_FOLDER}/body3DScene_*.json).",
            folder="panoptic",
            patterns=(f"**/{POSE_FOLDER}/body3DScene_*.json",),
            size_mb=0.6,
            num_clips=6,
            held_out=("160906_band2",),
        ),
        DataSet(
            name="humanact12",
            description="12 everyday actions, 24 joints, 20 fps",
            source="https://ericguo5513.github.io/action-to-motion",
            license="research; may not be passed on",
            citation="C. Guo et al., Action2Motion: Conditioned Generation of 3D Human Motions, ACM MM 2020",
            read=read_folder,
            howto="the arrays P01G01R01F0001T0064A0101.npy and so on.",
            folder="humanact12",
            patterns=("**/P*G*R*F*T*A*.npy",),
            num_clips=1191,
        ),
        DataSet(
            name="amass",
            description="many motion capture collections as SMPL-H bodies, 52 joints, 60 to 250 fps",
            source="https://amass.is.tue.mpg.de",
            license="non-commercial research, after registration; may not be passed on",
            citation="N. Mahmood et al., AMASS: Archive of Motion Capture as Surface Shapes, ICCV 2019",
            read=read_folder,
            howto="the unpacked SMPL+H archives (<collection>/<subject>/<motion>_poses.npz) and smpl_skeleton.npz "
            "(p3d0, parents).",
            folder="amass",
            patterns=("**/*_poses.npz",),
            held_out_folders=("BioMotionLab_NTroje", "BMLrub"),  # one collection under its old and its new name
        ),
        DataSet(
            name="h36m",
            description="Human3.6M: 7 people, 15 everyday actions, 32 joints, 50 fps",
            source="http://vision.imar.ro/human3.6m; as exponential maps from https://github.com/asheshjain399/RNNexp",
            license="research; may not be passed on",
            citation="C. Ionescu et al., Human3.6M: Large Scale Datasets and Predictive Methods for 3D Human Sensing "
            "in Natural Environments, IEEE TPAMI 2014",
            read=read_folder,
            howto="the exponential maps <subject>/<action>_<1 or 2>.txt such as S1/walking_1.txt.",
            folder="h36m",
            patterns=("**/S*/*_[12].txt",),
            num_clips=210,
            held_out=("S5",),
        ),
        DataSet(
            name="mnist",
            description="70,000 handwritten digits, for moving-digit video",
            source="http://yann.lecun.com/exdb/mnist",
            license="CC BY-SA 3.0",
            citation="Y. LeCun et al., Gradient-based learning applied to document recognition, Proc. IEEE 1998",
            read=None,
            howto="train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and "
            "t10k-labels-idx1-ubyte.gz, read by motionkit.data.mnist.read_mnist.",
            folder="mnist",
            patterns=("*-images-idx3-ubyte*",),
            size_mb=11.3,
            address=lambda path: f"https://ossci-datasets.s3.amazonaws.com/mnist/{path}",
        ),
    )
}
