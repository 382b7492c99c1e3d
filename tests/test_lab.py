"""``motionkit lab`` and ``motionkit dashboard`` before any server starts: what they check, and what they ask for."""

import json
import os
import sys

import pytest

from motionkit.cli import main
from motionkit.running import lab
from motionkit.running.own_kernel import OwnKernel


@pytest.fixture
def launched(monkeypatch):
    """What would be launched, as lists of arguments; nothing is. ``os.environ`` is put back."""
    from jupyterlab.labapp import LabApp
    from voila.app import Voila

    monkeypatch.setenv("MOTIONKIT_BATCH", "1")
    monkeypatch.setenv("JUPYTER_PATH", "/elsewhere")
    calls = []
    for app in (LabApp, Voila):
        monkeypatch.setattr(app, "launch_instance", calls.append)
    return calls


@pytest.mark.parametrize(
    ("command", "package", "extras"), [("lab", "jupyterlab", "all"), ("dashboard", "voila", "all,dashboard")]
)
def test_what_is_not_installed_is_named_with_what_brings_it(monkeypatch, capsys, command, package, extras):
    found = lab.find_spec
    monkeypatch.setattr(lab, "find_spec", lambda name: None if name == package else found(name))
    with pytest.raises(SystemExit) as ended:
        main([command])
    assert ended.value.code == 1
    assert f"is not installed; it comes with: pip install 'motionkit[{extras}]'" in capsys.readouterr().err


def test_the_lab_opens_at_the_notebook_in_its_folder_with_live_widgets(launched):
    main(["lab", "01", "--port", "9001", "--no-browser"])
    (arguments,) = launched
    assert "--LabApp.default_url=/lab/tree/01_heatmap_vqgan.ipynb" in arguments
    assert next(a for a in arguments if a.endswith("/notebooks")).startswith("--ServerApp.root_dir=")
    assert {"--ServerApp.port=9001", "--ServerApp.open_browser=False"} <= set(arguments)
    assert "MOTIONKIT_BATCH" not in os.environ


def test_further_settings_win(launched):
    main(["lab", "--jupyter", "ip=0.0.0.0", "ServerApp.port=7"])
    assert launched[0][-1] == "--ip=0.0.0.0"
    assert [a for a in launched[0] if a.startswith("--ServerApp.port=")] == ["--ServerApp.port=7"]  # Jupyter wants one
    for wrong in ("ip", "=3", "--ip=0.0.0.0"):
        with pytest.raises(ValueError, match="expected name=value"):
            lab.open_lab(jupyter=[wrong])
    assert len(launched) == 1


def test_a_dashboard_asks_for_a_token_and_finds_its_template_first(launched):
    main(["dashboard", "00", "--no-browser"])
    assert launched[0][0].endswith("00_start_here.ipynb")
    assert "--Voila.auto_token=True" in launched[0]
    first, second = os.environ["JUPYTER_PATH"].split(os.pathsep)
    assert second == "/elsewhere"
    assert (lab.SETTINGS / "voila/templates/motionkit/index.html.j2").is_file()
    assert first == str(lab.SETTINGS)


def test_an_unknown_notebook_starts_nothing(launched, capsys):
    with pytest.raises(SystemExit):
        main(["lab", "00_start_hear"])
    assert "did you mean '00_start_here'?" in capsys.readouterr().err
    assert launched == []


def test_the_only_kernel_is_the_running_interpreter(tmp_path, monkeypatch):
    for name in ("python3", "other"):
        (tmp_path / "kernels" / name).mkdir(parents=True)
        spec = {"argv": ["/usr/bin/false"], "display_name": name, "language": "python"}
        (tmp_path / "kernels" / name / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    specs = OwnKernel().get_all_specs()
    assert list(specs) == ["python3"]
    assert specs["python3"]["spec"]["argv"][0] == sys.executable


@pytest.mark.parametrize("path", sorted(lab.SETTINGS.rglob("*.json")), ids=lambda path: path.name)
def test_the_settings_are_json(path):
    assert isinstance(json.loads(path.read_text()), dict)
