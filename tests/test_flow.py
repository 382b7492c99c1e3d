"""The order of the stages: each imports only what stands to its left, and the core needs no notebook packages."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "motionkit"
ORDER = [
    "data",
    "representation",
    "models",
    "metrics",
    "results",
    "tables",
    "study",
    "plotting",
    "widgets",
    "running",
    "cli",
]
ORDER += ["__main__"]
CORE = ("data", "representation", "models", "metrics", "results", "tables", "training")
ABSENT = ["jupyterlab", "IPython", "notebook", "plotly", "matplotlib", "ipywidgets", "anywidget", "numba", "papermill"]
ABSENT += ["nbformat", "nbclient", "nbconvert", "PIL", "pooch", "tyro", "roma", "beartype", "torchvision", "umap"]
OPTIONAL = {"motionkit.representation.heatmap_kernels"}  # needs numba; the core does without it
MODULES = sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def imported_stages(path: Path) -> set[str]:
    """First name below ``motionkit`` of everything a module imports, at any depth of its code."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("motionkit.")}


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_a_stage_imports_only_stages_to_its_left(path):
    stage = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    # modules that are no stage (training and its helpers) serve all stages and so may know none
    allowed = set(ORDER[: ORDER.index(stage) + 1]) if stage in ORDER else set()
    wrong = (imported_stages(path) & set(ORDER)) - allowed
    assert not wrong, f"{dotted(path)} imports from the stages to its right: {sorted(wrong)}"


def test_the_core_imports_without_notebook_packages():
    core = {dotted(path) for path in MODULES if path.relative_to(PACKAGE).parts[0].removesuffix(".py") in CORE}
    assert core > OPTIONAL
    core = sorted(core - OPTIONAL)
    code = f"""
import importlib, importlib.abc, sys
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)
sys.meta_path.insert(0, Block())
for name in {core!r}:
    importlib.import_module(name)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert run.returncode == 0, run.stderr
