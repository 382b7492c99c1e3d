"""Named data sets, own folders, the cache and fetching, on files written here; the real ones where there are any."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import http.server
import shutil
import threading
import time

import numpy as np
import pytest

from motionkit.data import cache
from motionkit.data import dataset as dataset_module
from motionkit.data.bvh import CMU_UNIT_M, write_bvh
from motionkit.data.cache import cache_folder, cached_clips, fingerprint
from motionkit.data.catalogue import CATALOGUE, dataset_folder, find_dataset, load_dataset, split_dataset
from motionkit.data.clip import MotionClip
from motionkit.data.cmu import read_cmu_index
from motionkit.data.dataset import DataSet, KnownFile
from motionkit.data.folder import likely_unit_m, read_folder
from motionkit.data.sample.cmu import load_sample
from motionkit.data.skeleton import BANDAI_NAMCO_21, COCO_17, SMPL_24, SMPLH_52, Skeleton


@pytest.fixture(autouse=True)
def _own_cache(request, tmp_path, monkeypatch):
    name = request.node.name  # real and generated data sets are made once for all tests
    if "data_folder" not in request.fixturenames and "default" not in name and "embedded" not in name:
        monkeypatch.setenv("MOTIONKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def empty_root(request, tmp_path, monkeypatch):
    if "data_folder" in request.fixturenames:
        request.getfixturevalue("data_folder")  # reads MOTIONKIT_DATA before it changes here
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setenv("MOTIONKIT_DATA", str(root))
    return root


def ramp(frames: int = 4, skeleton: Skeleton = SMPL_24, **labels) -> MotionClip:
    positions = np.arange(frames * skeleton.num_joints * 3, dtype=np.float32).reshape(frames, skeleton.num_joints, 3)
    return MotionClip(positions / 1000, 30.0, skeleton, **labels)


def sample_piece(frames: int = 12) -> MotionClip:
    clip = load_sample()[0]
    return dataclasses.replace(clip, positions=clip.positions[:frames])


def write_humanact12(folder, label: int = 2, frames: int = 4, person: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    positions = ramp(frames).positions.copy()
    positions[:, SMPL_24.index("head"), 1] += 2
    np.save(folder / f"P{person:02d}G01R01F0001T{frames:04d}A{label:02d}01.npy", positions)


def write_h36m(path, frames: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((",".join(["0.0000000"] * 99) + "\n") * frames)


# --- cache ------------------------------------------------------------------------------------------------------------


class Parse:
    """Counts how often the clips are parsed."""

    def __init__(self, clips):
        self.clips, self.calls = clips, 0

    def __call__(self):
        self.calls += 1
        return self.clips


def entries() -> list[str]:
    return sorted(path.name for path in (cache_folder() / "clips").iterdir())


CUSTOM = Skeleton("mine", ("a", "b"), (-1, 0), ((0, 1),))
CLIPS = [
    ramp(name="one", subject="s1", action="walk", captions=("walks", "geht")),
    ramp(3, COCO_17, name="two", source="somewhere", confidence=np.linspace(0, 1, 51).reshape(3, 17)),
    ramp(2, CUSTOM, name="three"),
]


def test_cache_round_trip(tmp_path):
    source = tmp_path / "a.bvh"
    source.write_text("x")
    parse = Parse(CLIPS)
    first = cached_clips("set", [source], parse)
    second = cached_clips("set", [source], parse)
    assert parse.calls == 1
    assert fingerprint(CLIPS) == fingerprint(first) == fingerprint(second)
    for clip, original in zip(second, CLIPS, strict=True):
        np.testing.assert_array_equal(clip.positions, original.positions)
        clip.positions[:] = -1  # stays in memory
        for key in ("name", "subject", "action", "captions", "source", "fps", "skeleton"):
            assert getattr(clip, key) == getattr(original, key)
    np.testing.assert_array_equal(second[1].confidence, CLIPS[1].confidence)
    assert second[0].confidence is None
    assert second[0].skeleton is SMPL_24  # the named layout, not a copy
    assert fingerprint(cached_clips("set", [source], parse)) == fingerprint(CLIPS)
    assert parse.calls == 1
    assert [name.rpartition(".")[2] for name in entries()] == ["json", "npy"]


def test_cache_follows_its_sources(tmp_path):
    source = tmp_path / "a.bvh"
    source.write_text("x")
    parse = Parse(CLIPS)
    cached_clips("set", [source], parse)
    source.write_text("longer")
    cached_clips("set", [source], parse)
    time.sleep(0.01)
    source.write_text("LONGER")  # same size, later
    cached_clips("set", [source], parse)
    other = tmp_path / "b.bvh"
    other.write_text("y")
    cached_clips("set", [source, other], parse)
    assert parse.calls == 4
    assert len(entries()) == 2  # the older ones are gone
    cached_clips("settings", [source], parse)  # another label that starts alike is another set
    assert len(entries()) == 4


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-10])


def _flip(path):
    data = bytearray(path.read_bytes())
    data[-7] ^= 0x10
    path.write_bytes(data)


def _relabel(path):
    path.write_text(path.read_text().replace('"walk"', '"wink"'))


@pytest.mark.parametrize(
    ("suffix", "harm"),
    [
        ("npy", _truncate),
        ("npy", _flip),
        ("npy", lambda path: path.write_bytes(b"")),
        ("npy", lambda path: path.unlink()),
        ("npy", lambda path: np.save(path, np.array([{}], dtype=object))),
        ("json", _truncate),
        ("json", _relabel),
        ("json", lambda path: path.write_text("[]")),
        ("json", lambda path: path.write_text('{"labels": {}, "checksum": 1}')),
        ("json", lambda path: path.write_bytes(b"\xff\xfe")),
        ("json", lambda path: path.unlink()),
    ],
)
def test_damaged_cache_is_rebuilt(tmp_path, suffix, harm):
    parse = Parse(CLIPS)
    cached_clips("set", [], parse)
    (path,) = (cache_folder() / "clips").glob(f"*.{suffix}")
    harm(path)
    again = cached_clips("set", [], parse)
    assert parse.calls == 2
    assert fingerprint(again) == fingerprint(CLIPS)
    cached_clips("set", [], parse)
    assert parse.calls == 2


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MOTIONKIT_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="clips are not cached"):
        clips = cached_clips("set", [], lambda: CLIPS)
    assert fingerprint(clips) == fingerprint(CLIPS)


def test_cache_folder(monkeypatch):
    monkeypatch.delenv("MOTIONKIT_CACHE")
    assert cache_folder().name == "motionkit"
    assert cache_folder().is_absolute()


@pytest.mark.parametrize(
    "change",
    [
        {"positions": CLIPS[0].positions + np.float32(1e-3)},
        {"name": "1"},
        {"subject": "s2"},
        {"action": "run"},
        {"captions": ("walks geht",)},
        {"fps": 31.0},
        {"skeleton": dataclasses.replace(SMPL_24, name="other")},
        {"confidence": np.ones((4, 24))},
    ],
)
def test_fingerprint_sees_every_field(change):
    assert fingerprint([dataclasses.replace(CLIPS[0], **change)]) != fingerprint([CLIPS[0]])


def test_fingerprint_form():
    assert fingerprint(CLIPS) != fingerprint(CLIPS[::-1])
    assert len(fingerprint([])) == 12
    int(fingerprint(CLIPS), 16)


# --- catalogue --------------------------------------------------------------------------------------------------------


def test_catalogue_entries_are_complete():
    expected = {"sample", "synthetic", "default", "cmu", "cmu_amc", "bandai_namco", "panoptic", "humanact12", "amass"}
    assert expected | {"h36m", "mnist"} == set(CATALOGUE)
    for name, dataset in CATALOGUE.items():
        assert dataset.name == name
        assert dataset.description
        assert dataset.license
        assert dataset.citation
        assert dataset.is_embedded == (not dataset.patterns) == (not dataset.howto)
        if dataset.address:
            assert dataset.files()
            assert all(dataset.address(file.path).startswith("http") for file in dataset.files())
        assert all(len(file.sha256) == 64 for file in dataset.files())
    assert CATALOGUE["cmu"].address("07_01.bvh").endswith("/007/07_01.bvh")
    assert CATALOGUE["cmu_amc"].address("35_01.amc").endswith("/subjects/35/35_01.amc")


def test_sample_is_there():
    clips = load_dataset("sample")
    assert [clip.name for clip in clips] == [clip.name for clip in load_sample()]


def test_default_is_sample_and_synthetic():
    names = [clip.name for clip in load_dataset("default")]
    assert names == [clip.name for name in ("sample", "synthetic") for clip in load_dataset(name)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["sample", "synthetic", "default"])
def test_embedded_data_are_as_announced(name):
    clips = load_dataset(name)
    assert len(clips) == CATALOGUE[name].num_clips
    assert set(CATALOGUE[name].held_out) < {clip.subject for clip in clips} | {clip.name for clip in clips}
    assert CATALOGUE[name].check() == dataset_module.Check(None, len(clips))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cmuu", r"named 'cmuu'\. Did you mean 'cmu'\? There are: 'amass', 'bandai_namco'"),
        ("Bandai-Namco", "Did you mean 'bandai_namco'"),
        ("HumanAct", "Did you mean 'humanact12'"),
        ("xyzzy", r"named 'xyzzy'\. There are"),
    ],
)
def test_unknown_name(name, message):
    for function in (load_dataset, find_dataset, dataset_folder):
        with pytest.raises(ValueError, match=message):
            function(name)


@pytest.mark.parametrize("name", ["bandai_namco", "panoptic", "humanact12", "amass", "h36m"])
def test_missing_data_say_what_to_put_where(empty_root, name):
    with pytest.raises(FileNotFoundError) as error:
        load_dataset(name)
    message = str(error.value)
    assert str(empty_root / name) in message
    for part in (CATALOGUE[name].howto, CATALOGUE[name].source, CATALOGUE[name].license):
        assert part in message
    assert "fetch" not in message
    assert CATALOGUE[name].check() == dataset_module.Check(None, -1)


def test_missing_data_without_a_folder(monkeypatch):
    monkeypatch.delenv("MOTIONKIT_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"is not in \$MOTIONKIT_DATA/panoptic\. Set MOTIONKIT_DATA"):
        load_dataset("panoptic")


def test_digits_are_no_clips(empty_root):
    with pytest.raises(ValueError, match=r"'mnist' holds no motion clips: .*read_mnist"):
        load_dataset("mnist")
    with pytest.raises(ValueError, match="'sample' is embedded in the package"):
        dataset_folder("sample")


def test_limits(empty_root):
    for person in (1, 2):
        for label in (1, 2, 3):
            write_humanact12(empty_root / "humanact12", label=label, person=person)
    assert len(load_dataset("humanact12")) == 6
    assert {clip.action for clip in load_dataset("humanact12", subjects=["P02"])} == {"warm_up", "walk", "run"}
    assert len(load_dataset("humanact12", actions={"walk", "run"})) == 4
    spread = load_dataset("humanact12", max_clips=3)
    everything = load_dataset("humanact12")
    assert [clip.name for clip in spread] == [everything[index].name for index in (0, 2, 5)]
    assert len(load_dataset("humanact12", max_clips=99)) == 6
    with pytest.raises(ValueError, match=r"humanact12: no action 'wlak'\. Did you mean 'walk'"):
        load_dataset("humanact12", actions=["wlak"])
    with pytest.raises(ValueError, match="no subject 'P09'"):
        load_dataset("humanact12", subjects=["P09"])
    with pytest.raises(ValueError, match="max_clips is 0"):
        load_dataset("humanact12", max_clips=0)


def test_cmu_layout_and_labels(empty_root):
    folder = empty_root / "cmu" / "bvh"
    folder.mkdir(parents=True)
    for name in ("07_01", "35_17", "99_03"):
        write_bvh(sample_piece(), folder / f"{name}.bvh", unit_m=CMU_UNIT_M)
    clips = {clip.name: clip for clip in load_dataset("cmu")}
    assert list(clips) == ["cmu/07_01", "cmu/35_17", "cmu/99_03"]
    walk = clips["cmu/07_01"]
    assert (walk.subject, walk.action, walk.captions) == ("07", "walk", ("walk",))  # known without an index
    assert clips["cmu/99_03"].captions == ()
    assert walk.num_frames == 11  # the first is the T-pose
    np.testing.assert_allclose(walk.positions, sample_piece().positions[1:], atol=2e-3)

    index = folder.parent / "index.csv"
    index.write_text('"Subject","Trial #","Motion Description","framerate"\n99,3,"dance - jete, turn",120\n')
    clips = {clip.name: clip for clip in load_dataset("cmu")}  # the cache notices the index
    assert (clips["cmu/99_03"].action, clips["cmu/99_03"].captions) == ("dance", ("dance - jete, turn",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: no column 'Motion Description'"),
        (b"Subject,Trial #,framerate\n1,1,120\n", "no column 'Motion Description'"),
        (b"Subject,Trial #,Motion Description,framerate\n1,x,walk,120\n", "line 2: subject '1', trial 'x'"),
        (b"Subject,Trial #,Motion Description,framerate\n1,1,walk\n", "line 2: .*framerate None"),
        (b"Subject,Trial #,Motion Description,framerate\n1,1,walk,0\n", "line 2: framerate is 0"),
        ("Subject,Trial #,Motion Description,framerate\n1,1,walk,1e9\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_broken_cmu_index(tmp_path, content, message):
    path = tmp_path / "index.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_cmu_index(path)
    assert str(path) in str(error.value)


# --- own folders ------------------------------------------------------------------------------------------------------


def test_own_folder_of_several_formats(tmp_path):
    mine = tmp_path / "mine"
    write_humanact12(mine / "arrays")
    (mine / "bvh" / "anna").mkdir(parents=True)
    write_bvh(sample_piece(), mine / "bvh" / "anna" / "jump.bvh", unit_m=0.01)
    write_bvh(sample_piece(), mine / "12_03.bvh", unit_m=0.01)
    (mine / "notes.txt").write_text("not a motion")
    write_h36m(mine / "S1" / "walking_1.txt")
    for place in ("walking_1.txt", "S1/walking.txt", "S1/walking_3.txt", "S1/strolling_1.txt", "S1/walking_1.md"):
        write_h36m(mine / place)  # other texts, whatever they hold
    (mine / "settings.json").write_text("{}")
    clips = {clip.name: clip for clip in load_dataset(mine)}
    assert list(clips) == ["12_03", "S1/walking_1", "arrays/P01G01R01F0001T0004A0201", "bvh/anna/jump"]
    assert [clip.subject for clip in clips.values()] == ["12", "S1", "P01", "bvh/anna"]
    np.testing.assert_allclose(clips["12_03"].positions, sample_piece().positions, atol=2e-3)
    assert [clip.name for clip in load_dataset(str(mine))] == list(clips)


@pytest.mark.parametrize("unit_m", [1.0, 0.01, 0.001, CMU_UNIT_M])
def test_unit_of_own_bvh_files(tmp_path, unit_m):
    write_bvh(sample_piece(), tmp_path / "a.bvh", unit_m=unit_m, tolerance_m=1e-2)
    (guessed,) = read_folder(tmp_path)
    np.testing.assert_allclose(guessed.positions, sample_piece().positions, atol=2e-2)
    (told,) = read_folder(tmp_path, unit_m=2 * unit_m)
    np.testing.assert_allclose(told.positions, 2 * sample_piece().positions, atol=4e-2)


def test_likely_unit_is_stable_around_a_body():
    for unit in (1.0, 0.01, 0.001):
        assert {likely_unit_m(height / unit) for height in (1.2, 1.5, 1.7, 2.0, 2.4)} == {unit}


def test_own_folder_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match=r"no motion files. Known formats: .bvh \(BVH\); .amc"):
        load_dataset(tmp_path)
    (tmp_path / "a.bvh").write_text("HIERARCHY")
    with pytest.raises(ValueError, match=r"a\.bvh"):
        load_dataset(tmp_path)
    (tmp_path / "a.bvh").unlink()
    np.savez(tmp_path / "walk_poses.npz", poses=np.zeros((2, 156)))
    with pytest.raises(ValueError, match=r"walk_poses.npz: AMASS files need smpl_skeleton.npz"):
        load_dataset(tmp_path)


def test_amass_folder(tmp_path):
    place = tmp_path / "CMU" / "01"
    place.mkdir(parents=True)
    np.savez(place / "01_01_poses.npz", poses=np.zeros((3, 156)), trans=np.zeros((3, 3)), mocap_framerate=120.0)
    np.savez(place / "shape.npz", betas=np.zeros(16))  # AMASS keeps these beside its motions
    joints = np.arange(156.0).reshape(1, 52, 3) / 100
    np.savez(tmp_path / "smpl_skeleton.npz", p3d0=joints, parents=SMPLH_52.parents)
    (clip,) = load_dataset(tmp_path)
    assert (clip.name, clip.subject, clip.num_frames, clip.fps) == ("CMU/01/01_01_poses", "CMU/01", 3, 120)


# --- fetching ---------------------------------------------------------------------------------------------------------

CONTENT = {"a.npy": b"alpha", "b.npy": b"beta", "c.idx.gz": gzip.compress(b"gamma", mtime=0)}


@pytest.fixture
def server(tmp_path):
    """A web server on this machine; its ``served`` files can be changed and ``requests`` counted."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.requests.append(self.path)
            content = self.server.served.get(self.path.strip("/"))
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.served, running.requests = dict(CONTENT), []
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def remote(server, monkeypatch, empty_root):
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in CONTENT.items()}
    digests["c.idx.gz"] = hashlib.sha256(b"gamma").hexdigest()
    files = tuple(KnownFile(path, digest, 0, "") for path, digest in digests.items())
    monkeypatch.setattr(dataset_module, "_known_files", lambda: {"remote": files})
    return DataSet(
        name="remote",
        description="",
        source="here",
        license="free",
        citation="",
        read=lambda folder: [ramp(len((folder / "a.npy").read_bytes()))],
        howto="a.npy, b.npy and c.idx.gz.",
        folder="some/remote",
        patterns=("*.npy",),
        address=lambda path: f"http://127.0.0.1:{server.server_address[1]}/{path}",
    )


def test_fetch_and_load(remote, server, empty_root):
    (clip,) = remote.load()
    assert clip.num_frames == len("alpha")
    folder = empty_root / "some" / "remote"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT
    assert list(folder.parent.iterdir()) == [folder]  # nothing is left beside it
    assert remote.check().good == 3
    remote.fetch()
    assert len(server.requests) == 3  # what is there is not fetched again


def test_fetch_accepts_the_same_content_packed_differently(remote, server, empty_root):
    server.served["c.idx.gz"] = gzip.compress(b"gamma", compresslevel=1, mtime=12345)
    remote.fetch()
    assert gzip.decompress((empty_root / "some/remote/c.idx.gz").read_bytes()) == b"gamma"


@pytest.mark.parametrize(
    ("path", "content", "kind", "message"),
    [
        ("b.npy", b"evil", ValueError, "b.npy: SHA-256 is"),
        ("b.npy", None, FileNotFoundError, "404.*By hand: data set 'remote'.*a.npy, b.npy and c.idx.gz."),
        ("c.idx.gz", b"no gzip", FileNotFoundError, "c.idx.gz: .*By hand"),
        ("c.idx.gz", gzip.compress(b"gamma", mtime=0)[:-6], FileNotFoundError, "c.idx.gz: .*By hand"),
    ],
)
def test_fetch_that_fails_leaves_no_half_data_set(remote, server, empty_root, path, content, kind, message):
    server.served[path] = content
    with pytest.raises(kind, match=message):
        remote.load()
    assert remote.find() is None
    assert not list(empty_root.rglob(f"*{path}"))
    server.served.update(CONTENT)
    server.requests.clear()
    remote.fetch()
    assert remote.check().good == 3
    assert "/a.npy" not in server.requests  # the first run's files were kept


def test_no_server(remote, server, empty_root):
    server.shutdown()
    server.server_close()
    with pytest.raises(FileNotFoundError, match="By hand: data set 'remote'"):
        remote.fetch()


def test_check_names_what_differs(remote, empty_root):
    folder = remote.fetch()
    (folder / "a.npy").write_bytes(b"other")
    (folder / "b.npy").unlink()
    found = remote.check()
    assert (found.good, found.missing, found.different) == (1, ("b.npy",), ("a.npy",))
    assert found.num_clips == 1


def test_without_a_data_folder_the_cache_holds_what_is_fetched(remote, monkeypatch):
    monkeypatch.delenv("MOTIONKIT_DATA")
    assert remote.fetch() == cache_folder() / "data" / "some" / "remote"
    assert remote.find() == cache_folder() / "data" / "some" / "remote"


# --- the real data ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cmu", "bandai_namco", "panoptic"])
def test_real_data(data_folder, name, monkeypatch):
    dataset = CATALOGUE[name]
    if dataset.find() is None:
        pytest.skip(f"{name} is not in {data_folder}")
    found = dataset.check()
    assert found.different == ()
    assert found.num_clips >= dataset.num_clips - len(found.missing)
    clips = load_dataset(name)
    assert len({clip.name for clip in clips}) == len(clips)
    assert set(dataset.held_out) <= {clip.subject for clip in clips}
    if not found.missing:
        assert len(clips) == dataset.num_clips
    monkeypatch.setattr(cache, "_save", lambda *_: pytest.fail("parsed again"))
    again = load_dataset(name)  # from the cache
    assert fingerprint(again) == fingerprint(clips)


def test_real_cmu_is_metric_and_labeled(data_folder):
    if CATALOGUE["cmu"].find() is None:
        pytest.skip(f"cmu is not in {data_folder}")
    clips = load_dataset("cmu", actions=["walk"])
    hips = np.array([np.median(clip.positions[:, 0, 1]) for clip in clips])
    assert ((hips > 0.8) & (hips < 1.15)).all()
    assert all(clip.captions and clip.fps == 120 for clip in clips)


def test_real_cmu_amc(data_folder, empty_root):
    """One short trial with its skeleton: the whole set takes some 7 s."""
    source, folder = data_folder / "cmu" / "amc", empty_root / "cmu" / "amc"
    if not (source / "02_01.amc").is_file():
        pytest.skip(f"{source} is missing")
    folder.mkdir(parents=True)
    shutil.copy(source / "02_01.amc", folder)
    with pytest.raises(ValueError, match=r"02_01.amc: its skeleton 02.asf is not beside it"):
        load_dataset("cmu_amc")
    shutil.copy(source / "02.asf", folder)
    (clip,) = load_dataset("cmu_amc")
    assert (clip.name, clip.subject, clip.action, clip.fps) == ("cmu_amc/02_01", "02", "walk", 120)
    assert 0.9 < np.median(clip.positions[:, 0, 1]) < 1.1
    (own,) = load_dataset(folder)
    np.testing.assert_array_equal(own.positions, clip.positions)
    found = CATALOGUE["cmu_amc"].check()
    assert (found.good, found.different, found.num_clips) == (2, (), 1)
    assert len(found.missing) == len(CATALOGUE["cmu_amc"].files()) - 2


def test_real_folders_as_own_folders(data_folder):
    for folder, count in (("panoptic/160906_band1", 3), ("bandai_namco/bvh", 8)):
        if not (data_folder / folder).is_dir():
            pytest.skip(f"{data_folder / folder} is missing")
        clips = load_dataset(data_folder / folder)
        assert len(clips) == count
        assert all(0.7 < np.ptp(clip.positions[0, :, 1]) < 2 for clip in clips)  # metres, whatever the file's unit


def test_real_bandai_namco_bvh(data_folder, empty_root):
    """Who has the source's BVH files instead of the positions file gets the same joints."""
    source = data_folder / "bandai_namco" / "bvh" / "dataset-1_walk_normal_001.bvh"
    if not source.is_file():
        pytest.skip(f"{source} is missing")
    (empty_root / "bandai_namco").mkdir()
    shutil.copy(source, empty_root / "bandai_namco")
    (clip,) = load_dataset("bandai_namco")
    assert (clip.name, clip.action) == ("bandai_namco/dataset-1_walk_normal_001", "walk")
    assert clip.captions == ("walk, normal",)
    assert clip.skeleton is BANDAI_NAMCO_21
    assert 1.2 < clip.positions[:, BANDAI_NAMCO_21.index("Head"), 1].mean() < 1.5


def test_named_split_holds_out_subjects_and_clips():
    clips = [ramp(subject="synthetic/01", name="a"), ramp(subject="synthetic/08", name="b")]
    clips += [ramp(subject="cmu/01", name="cmu/01_01"), ramp(subject="cmu/01", name="cmu/01_03")]
    train, test = split_dataset("default", clips)
    assert [clip.name for clip in test] == ["b", "cmu/01_01"]
    assert [clip.name for clip in train] == ["a", "cmu/01_03"]


def write_amass(root, *places) -> None:
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        np.savez(root / place, poses=np.zeros((3, 156)), trans=np.zeros((3, 3)), mocap_framerate=120.0)
    joints = np.arange(156.0).reshape(1, 52, 3) / 100
    np.savez(root / "smpl_skeleton.npz", p3d0=joints, parents=SMPLH_52.parents)


OTHER_COLLECTIONS = [f"{name}/{n}/{n}_{m}_poses.npz" for name in ("CMU", "HumanEva") for n in "abc" for m in "12"]


@pytest.mark.parametrize("collection", ["BioMotionLab_NTroje", "BMLrub"])
def test_amass_is_split_by_collection(empty_root, collection):
    """As paper 4 has it; the subject does not decide: one here is called as in another collection."""
    test_files = [f"{collection}/rub001/0000_treadmill_poses.npz", f"{collection}/a/0001_treadmill_poses.npz"]
    write_amass(empty_root / "amass", *OTHER_COLLECTIONS, *test_files)
    train, test = split_dataset("amass", load_dataset("amass"))
    assert {f"{clip.name}.npz" for clip in test} == set(test_files)
    assert {f"{clip.name}.npz" for clip in train} == set(OTHER_COLLECTIONS)


@pytest.mark.parametrize(
    "files",
    [OTHER_COLLECTIONS, [f"BioMotionLab_NTroje/{place}" for place in OTHER_COLLECTIONS]],
    ids=["other collections", "one collection"],
)
def test_amass_without_its_test_collection_is_split_by_subject(empty_root, files):
    write_amass(empty_root / "amass", *files)
    train, test = split_dataset("amass", load_dataset("amass"))
    assert {clip.subject for clip in train}.isdisjoint(clip.subject for clip in test)
    assert len({clip.subject for clip in train} | {clip.subject for clip in test}) == 6
    assert len(train) + len(test) == 12


def test_h36m_holds_out_subject_5(empty_root):
    for subject in ("S1", "S5", "S11"):
        for action in ("walking", "sittingdown"):
            write_h36m(empty_root / "h36m" / "dataset" / subject / f"{action}_1.txt")
    (empty_root / "h36m" / "dataset" / "S1" / "readme_1.txt").write_text("no motion")
    clips = load_dataset("h36m")
    assert {clip.action for clip in clips} == {"walking", "sittingdown"}
    train, test = split_dataset("h36m", clips)
    assert {clip.subject for clip in train} == {"S1", "S11"}
    assert [clip.name for clip in test] == ["dataset/S5/sittingdown_1", "dataset/S5/walking_1"]


def test_split_without_names_keeps_persons_apart():
    clips = [ramp(subject=f"person {n % 5}", name=str(n)) for n in range(15)]
    train, test = split_dataset("bandai_namco", clips)
    assert {clip.subject for clip in train}.isdisjoint(clip.subject for clip in test)
    assert len(train) + len(test) == 15


def test_split_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match="leaves one part empty"):
        split_dataset("cmu", [ramp(subject="07")])
