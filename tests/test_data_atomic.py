"""Writing a file whole: it appears in one step, or not at all."""

import pytest

from motionkit.data.atomic import written_whole


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with written_whole(path) as aside:
        aside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_write_changes_nothing(tmp_path, error):
    def write_half():
        with written_whole(path) as aside:
            aside.write_text("ne")
            raise error

    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_as_readable_as_any_other(tmp_path):
    plain, path = tmp_path / "plain.txt", tmp_path / "a.txt"
    plain.write_text("x")
    with written_whole(path) as aside:
        aside.write_text("x")
    assert path.stat().st_mode == plain.stat().st_mode
