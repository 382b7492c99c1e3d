"""pyproject.toml is the only list of dependencies: environment.yml points at it, and imports are covered by it."""

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "motionkit"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def declared(*extras: str) -> set[str]:
    """Distributions that come with the package and some of its extras, extras of extras included."""
    found, pending = set(), [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    while pending:
        requirement = Requirement(pending.pop())
        if canonicalize_name(requirement.name) == PROJECT["name"]:
            pending += [line for extra in requirement.extras for line in EXTRAS[extra]]
        else:
            found.add(canonicalize_name(requirement.name))
    return found


def test_environment_python_is_one_the_package_supports():
    (python,) = [line for line in ENVIRONMENT["dependencies"] if isinstance(line, str) and line.startswith("python=")]
    version = python.removeprefix("python=")
    assert re.fullmatch(r"3\.\d+", version), python
    assert f"{version}.1" in SpecifierSet(PROJECT["requires-python"])


def test_environment_lists_nothing_but_python_pip_and_the_project():
    *plain, with_pip = ENVIRONMENT["dependencies"]
    assert [re.split("[=<> ]", line)[0] for line in plain] == ["python", "pip"]
    assert with_pip == {"pip": ["-c .ci/constraints.txt", "-e .[all]"]}


def test_extras_named_anywhere_exist():
    named = re.findall(r"-e \.\[(.*?)\]", " ".join(ENVIRONMENT["dependencies"][-1]["pip"]))
    for line in [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]:
        requirement = Requirement(line)
        if canonicalize_name(requirement.name) == PROJECT["name"]:
            named += requirement.extras
    assert named
    assert set(named) <= set(EXTRAS)


def test_constraints_pin_one_torch():
    lines = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line.strip() and not line.startswith(("#", "-"))]
    (torch,) = [pin for pin in pins if pin.name == "torch"]
    assert [s.operator for s in torch.specifier] == ["=="]
    ranges = {r.name: r.specifier for r in map(Requirement, PROJECT["dependencies"])}
    assert next(iter(torch.specifier)).version in ranges["torch"]


def packages(nodes: list[ast.AST]) -> set[str]:
    """Packages from outside the standard library that these statements import."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names - {"motionkit"}


@cache
def providers() -> dict[str, list[str]]:
    return packages_distributions()


def undeclared(modules: set[str], allowed: set[str]) -> set[str]:
    return {m for m in modules if not {canonicalize_name(d) for d in providers().get(m, [m])} & allowed}


# What stages and single modules may import at once, beyond what comes with the package itself.
EXTRAS_OF = {
    "plotting": ["notebooks"],
    "widgets": ["notebooks"],
    "running": ["notebooks"],
    "representation/heatmap_kernels.py": ["fast"],
}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_are_declared(path):
    name = path.relative_to(PACKAGE).as_posix()
    extras = [extra for part in (name, name.split("/")[0]) for extra in EXTRAS_OF.get(part, [])]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    at_import, ever = packages(tree.body), packages(list(ast.walk(tree)))
    assert not undeclared(at_import, declared(*extras)), "declare it, or import it inside the function"
    assert not undeclared(ever, declared("all", "cluster", "dashboard")), "in no extra a user can install"
