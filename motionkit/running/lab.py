"""The notebooks in JupyterLab, or as dashboards: settings of the kit's own, and nothing asked of the network.

The settings lie in ``jupyter/`` beside this file and count for these two commands alone. The user's own folder
(``~/.jupyter``) is read, so that a theme chosen there is kept, and never written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

from motionkit.data.cache import cache_folder

SETTINGS = Path(__file__).parent / "jupyter"
KERNEL = "motionkit.running.own_kernel.OwnKernel"


def open_lab(
    notebook: str | Path = "00", *, port: int = 8888, browser: bool = True, jupyter: Iterable[str] = ()
) -> None:
    """JupyterLab, opened at a notebook and working in its folder; returns when it is stopped.

    notebook: path, name, or the beginning of its name. port: the first to try; a taken one gives way to the next.
    browser: open one. jupyter: further settings of Jupyter, ``name=value``; they win over those here.

    Nothing is saved unasked: a notebook that was only run stays as it is on disk. Raises ``FileNotFoundError`` for an
    unknown notebook, ``ValueError`` where JupyterLab is not installed or a setting is no ``name=value``.
    """
    path = _ready(notebook, "jupyterlab", "JupyterLab", "all")
    settings = {
        "ServerApp.root_dir": path.parent,
        "ServerApp.port": port,
        "ServerApp.open_browser": browser,
        "ServerApp.allow_root": True,  # the only user there is in many containers
        "ServerApp.kernel_spec_manager_class": KERNEL,
        "LabApp.default_url": f"/lab/tree/{path.name}",
        "LabApp.app_settings_dir": SETTINGS / "lab",
        "LabApp.workspaces_dir": cache_folder() / "lab",  # open tabs; the user's other folders have theirs
    }
    arguments = _arguments(settings | _read(jupyter))
    from jupyterlab.labapp import LabApp

    LabApp.launch_instance(arguments)


def open_dashboard(
    notebook: str | Path = "00", *, port: int = 8866, browser: bool = True, jupyter: Iterable[str] = ()
) -> None:
    """A notebook as a page of text, figures and live widgets, without its code; returns when it is stopped.

    Each reader's page runs the notebook anew, in a kernel that ends ten minutes after the page is left. The arguments
    and errors are those of ``open_lab``; settings are Voila's.
    """
    path = _ready(notebook, "voila", "Voila", "all,dashboard")
    own = [str(SETTINGS), *filter(None, [os.environ.get("JUPYTER_PATH")])]
    os.environ["JUPYTER_PATH"] = os.pathsep.join(own)  # where Voila looks for templates
    settings = {
        "Voila.root_dir": path.parent,
        "Voila.port": port,
        "Voila.open_browser": browser,
        "Voila.auto_token": True,
        "VoilaConfiguration.template": "motionkit",
        "VoilaConfiguration.show_margins": True,
        "VoilaConfiguration.show_tracebacks": True,
        "VoilaConfiguration.kernel_spec_manager_class": KERNEL,
        "MappingKernelManager.cull_idle_timeout": 600,  # seconds after its page was left; Voila keeps it for ever
        "MappingKernelManager.cull_interval": 60,
    }
    arguments = [str(path), *_arguments(settings | _read(jupyter))]
    from voila.app import Voila

    Voila.launch_instance(arguments)


def _ready(notebook: str | Path, package: str, name: str, extras: str) -> Path:
    """The notebook, once it is sure that ``package`` is there and that widgets will be live."""
    if find_spec(package) is None:
        raise ValueError(f"{name} is not installed; it comes with: pip install 'motionkit[{extras}]'")
    from motionkit.running.parameters import find_notebook  # needs what the extras bring

    path = find_notebook(notebook)
    os.environ.pop("MOTIONKIT_BATCH", None)  # set where notebooks run unattended: widgets would be still pictures
    return path


def _read(settings: Iterable[str]) -> dict[str, str]:
    """
    >>> _read(["ip=0.0.0.0", "ServerApp.base_url=/x=y"])
    {'ip': '0.0.0.0', 'ServerApp.base_url': '/x=y'}
    """
    for setting in settings:
        if not re.fullmatch(r"[A-Za-z_][\w.-]*=.*", setting, re.DOTALL):
            raise ValueError(f"--jupyter {setting!r}: expected name=value, such as ip=0.0.0.0")
    return dict(setting.split("=", 1) for setting in settings)


def _arguments(settings: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in settings.items()]  # each name once: Jupyter refuses repetitions
