"""The ``motionkit`` command: a tree of names whose leaves are functions of the stages, and nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import tyro

from motionkit.data.catalogue import CATALOGUE, find_dataset
from motionkit.data.dataset import Check, KnownFile
from motionkit.running.commands import compare, dashboard, lab, report, results, run, sweep, sweep_script, train

Names = Annotated[tuple[str, ...], tyro.conf.Positional]


def data_list() -> None:
    """List the data sets: what they are, whether they are here, where they come from, their license."""
    for dataset in CATALOGUE.values():
        folder = None if dataset.is_embedded else dataset.find()
        absent = "fetchable" if dataset.address else "missing"
        state = "embedded" if dataset.is_embedded else "here" if folder else absent
        sizes = [f"{dataset.num_clips} clips"] if dataset.num_clips else []
        sizes += [f"{dataset.size_mb:g} MB"] if dataset.size_mb else []
        print(f"{dataset.name:<13} {state:<10} {dataset.description}" + (f" ({', '.join(sizes)})" if sizes else ""))
        print(f"{'':<24} {folder or dataset.source} - {dataset.license}")


def data_check(names: Names = ()) -> None:
    """Read data sets and compare their files with those the kit was tested with.

    Args:
        names: data sets to check; all of them by default.
    """
    failed = []
    for name in names or CATALOGUE:
        dataset = find_dataset(name)
        try:
            found = dataset.check()
        except ValueError as error:
            failed.append(name)
            print(f"{name:<13} BROKEN     {error}")
            continue
        if not dataset.is_embedded and found.folder is None:
            print(f"{name:<13} missing    put into {dataset.folder}/: {dataset.howto}")
            continue
        clips = f"{found.num_clips} clips" if found.num_clips >= 0 else "no clips"
        state = "embedded" if dataset.is_embedded else "found"
        print(f"{name:<13} {state:<10} {clips}{_checksums(found, dataset.files())}")
        if found.different:
            failed.append(name)
    if failed:
        raise ValueError(f"not as they should be: {', '.join(failed)}")


def data_fetch(names: Names = ()) -> None:
    """Download data sets whose license allows it, each file checked.

    Args:
        names: data sets to fetch, at least one.
    """
    if not names:
        can = ", ".join(name for name, dataset in CATALOGUE.items() if dataset.address)
        raise ValueError(f"name the data sets to fetch. These can be fetched: {can}")
    for name in names:
        dataset = find_dataset(name)
        print(f"{name}: {dataset.fetch()} ({dataset.license})")


def _checksums(found: Check, files: Sequence[KnownFile]) -> str:
    if not files:
        return ""
    notes = f", checksums {found.good} of {len(files)} good"
    for word, paths in (("different", found.different), ("missing", found.missing)):
        if paths:
            notes += f", {len(paths)} {word} ({', '.join(paths[:3])}{', ...' * (len(paths) > 3)})"
    return notes


COMMANDS: dict[str, Any] = {
    "data": {"list": data_list, "check": data_check, "fetch": data_fetch},
    "run": run,
    "sweep": sweep,
    "sweep-script": sweep_script,
    "train": train,
    "results": results,
    "compare": compare,
    "report": report,
    "lab": lab,
    "dashboard": dashboard,
}


LISTS = ("--set", "--where", "--jupyter")  # options that take several values


def main(args: Sequence[str] | None = None) -> None:
    """Run the command; errors that a user can mend end it with a message instead of a traceback."""
    args = _gather_lists(list(sys.argv[1:] if args is None else args))
    prog, commands = "motionkit", COMMANDS
    while args and isinstance(commands.get(args[0]), dict):
        prog, commands = f"{prog} {args[0]}", commands[args.pop(0)]
    leaves = {name: command if callable(command) else _group(command) for name, command in commands.items()}
    try:
        tyro.extras.subcommand_cli_from_dict(leaves, prog=prog, args=args)
    except BrokenPipeError:  # the reader of the output, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing to flush at the end
        sys.exit(0)
    except (ValueError, FileNotFoundError) as error:
        print(f"motionkit: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("motionkit: stopped", file=sys.stderr)
        sys.exit(130)


def _gather_lists(args: Sequence[str]) -> list[str]:
    """``--set a --set b`` as ``--set a b``: of an option that is given twice, the parser would take the last alone."""
    others: list[str] = []
    lists: dict[str, list[str]] = {}
    current = others
    for arg in args:
        if arg.startswith("-"):
            name, is_joined, value = arg.partition("=")
            current = lists.setdefault(name, []) if name in LISTS else others
            if current is not others:
                current += [value] * bool(is_joined)
                continue
        current.append(arg)
    return others + [part for name, values in lists.items() for part in (name, *values)]


def _group(commands: dict[str, Any]) -> Callable[[], None]:
    """What the overview shows of a group of commands; never run, because ``main`` goes down into groups first."""

    def group() -> None: ...

    group.__doc__ = f"{', '.join(commands)}: see --help of each."
    return group


if __name__ == "__main__":
    main()
