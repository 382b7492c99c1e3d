"""What ``motionkit run``, ``report`` and their neighbors do. The heavy imports wait until one of them is called."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

RUNS = Path("runs")  # runs/<profile>/<notebook>.ipynb, in the current folder


def run(
    notebooks: Annotated[tuple[str, ...], tyro.conf.Positional],
    profile: str = "small",
    set: tuple[str, ...] = (),
    out: Path | None = None,
) -> None:
    """Run notebooks from start to end and keep them as executed.

    Args:
        notebooks: names, or their beginnings: 00 01.
        profile: small (the notebook's own values), laptop or full.
        set: single parameters as name=value, in place of the profile's.
        out: folder for the executed notebooks; runs/PROFILE by default.
    """
    from motionkit.running.kernels import WarmKernels
    from motionkit.running.parameters import check_parameters, find_notebook, parse_settings, read_profile

    if not notebooks:
        raise ValueError("which notebook? For example: motionkit run 00 01 --profile laptop")
    parameters = parse_settings(set)
    sources = [find_notebook(name) for name in notebooks]
    for source in sources:  # everything that can be wrong is found before the first one starts
        check_parameters(source, *read_profile(source, profile))
        check_parameters(source, parameters, "--set")
    failures = []
    folder = sources[0].parent
    with WarmKernels(folder, most=sum(source.parent == folder for source in sources)) as kernels:
        from motionkit.running.notebooks import NotebookFailed, run_notebook  # slow; the first kernel starts meanwhile

        for source in sources:
            try:
                run_notebook(source, profile=profile, parameters=parameters, out_folder=out or RUNS / profile,
                             kernels=kernels if source.parent == folder else None)  # fmt: skip
            except NotebookFailed as failure:
                failures.append(str(failure))
    if failures:
        raise SystemExit("motionkit: " + "\n".join(failures))


def train(notebook: Annotated[str, tyro.conf.Positional], profile: str = "small", set: tuple[str, ...] = ()) -> None:
    """Run a notebook's training alone, as a plain script without Jupyter; `motionkit run` then only evaluates.

    On several GPUs: torchrun --nproc-per-node gpu -m motionkit train ...; on several machines with torchrun's --nnodes.
    Ctrl-C and SIGTERM leave a checkpoint; the same command continues from it, with any number of processes.

    Args:
        notebook: its name, or the beginning of it: 01.
        profile: small (the notebook's own values), laptop or full.
        set: single parameters as name=value, in place of the profile's.
    """
    import shlex

    from motionkit.running.parameters import parse_settings
    from motionkit.running.train import failures_told, process_rank, train_notebook

    with failures_told():
        train_notebook(notebook, profile=profile, parameters=parse_settings(set))
    if process_rank() == 0:
        options = ["--profile", profile, *(["--set", *set] if set else [])]
        print(f"trained; to evaluate: {shlex.join(['motionkit', 'run', notebook, *options])}")


def sweep(
    file: Annotated[Path, tyro.conf.Positional],
    profile: str | None = None,
    workers: int | None = None,
    scheduler: str = "",
    retry_failed: bool = False,
    dry_run: bool = False,
    out: Path | None = None,
) -> None:
    """Run a notebook over a grid of parameters; what has ended is not repeated, Ctrl-C stops, the next call goes on.

    Args:
        file: a sweep file, or the name of one in notebooks/sweeps.
        profile: in place of the file's.
        workers: runs at a time on this machine; one for each GPU, or for two cores, by default.
        scheduler: address of a dask scheduler whose workers run the notebooks, such as tcp://host:8786.
        retry_failed: run those again that failed.
        dry_run: list the runs with the time they take, and start nothing.
        out: folder of the runs; runs/sweeps/NAME by default.
    """
    from motionkit.running.sweeps import describe_plan, prepare_sweep, run_sweep

    if workers is not None and workers < 1:
        raise ValueError(f"--workers {workers}: expected at least 1")
    planned = prepare_sweep(file, out, profile)
    if dry_run:
        print(describe_plan(planned, workers))
        return
    try:
        states = run_sweep(planned, workers=workers, scheduler=scheduler, retry_failed=retry_failed)
    except KeyboardInterrupt:
        print("motionkit: stopped; the same command goes on where it was", file=sys.stderr)
        raise SystemExit(130) from None
    failed = [state.run for state in states.values() if state.state == "failed"]
    print(f"{planned.sweep.name}: {len(states) - len(failed)} done, {len(failed)} failed, in {planned.folder}")
    if len(failed) < len(states):
        print(f"its table: motionkit results {planned.folder} --pivot")
        if fills := planned.sweep.fills:
            print(f"beside the paper: motionkit compare {fills['paper']} {fills['table']} {planned.folder}")
    if failed:
        some = ", ".join(failed[:6]) + ", ..." * (len(failed) > 6)
        raise SystemExit(f"motionkit: {len(failed)} of {len(states)} runs failed; see log.txt of {some}")


def sweep_script(
    queue_system: Annotated[Literal["slurm", "pbs"], tyro.conf.Positional],
    scheduler: str,
    cores: int = 8,
    memory: str = "32GB",
    walltime: str = "24:00:00",
    gpus: int = 0,
    queue: str = "",
    account: str = "",
    out: Path | None = None,
) -> None:
    """Write the job script of a dask worker; each job that is submitted is one more worker of a sweep.

    Args:
        queue_system: slurm or pbs.
        scheduler: address of the dask scheduler, such as tcp://host:8786; start one with: dask scheduler.
        cores: of each worker; a run uses them all.
        memory: of each worker.
        walltime: longest time of a worker, as hours:minutes:seconds.
        gpus: of each worker.
        queue: to submit to; the cluster's default if empty.
        account: to charge; the cluster's default if empty.
        out: file to write; printed if left out.
    """
    from motionkit.running.job_scripts import job_script

    text = job_script(
        queue_system,
        scheduler,
        cores=cores,
        memory=memory,
        walltime=walltime,
        gpus=gpus,
        queue=queue,
        account=account,
    )
    if out is None:
        print(text, end="")
    else:
        out.write_text(text, encoding="utf-8")


def report(
    notebooks: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    profile: str = "laptop",
    runs: Path | None = None,
    results: tuple[Path, ...] = (),
    out: Path = Path("report/index.html"),
    pdf: bool = False,
    diff: Path | None = None,
) -> None:
    """Write one HTML file of executed notebooks that needs no network and no Python; or a PDF, printed by Chromium.

    Args:
        notebooks: names, or their beginnings; all that were run by default.
        profile: which runs: those in runs/PROFILE.
        runs: folder of executed notebooks, in place of runs/PROFILE.
        results: further folders of finished runs and of sweeps, for the tables against the papers.
        out: the file to write; a name that ends in .pdf gives the PDF alone.
        pdf: write the PDF beside the HTML file.
        diff: an earlier report; what changed since then is listed and marked.
    """
    from motionkit.running.pdf import find_browser, write_pdf
    from motionkit.running.report import MAX_MB, build_report

    folder = runs or RUNS / profile
    unfinished = (".failed.ipynb", ".running.ipynb")
    known = [path for path in sorted(folder.glob("*.ipynb")) if not path.name.endswith(unfinished)]
    chosen = []
    for name in notebooks or [path.stem for path in known]:
        found = [path for path in known if path.stem == name] or [path for path in known if path.stem.startswith(name)]
        if not found:
            names = ", ".join(path.stem for path in known) or "none"
            raise FileNotFoundError(f"no executed notebook {name!r} in {folder}; it holds {names}")
        chosen += found
    if not chosen:
        raise FileNotFoundError(f"no executed notebooks in {folder}; first: motionkit run 00 01 --profile {profile}")
    if missing := [str(folder) for folder in results if not folder.is_dir()]:
        raise FileNotFoundError(f"--results: no such folder: {', '.join(missing)}")
    chosen = list(dict.fromkeys(chosen))
    is_pdf_alone = out.suffix.lower() == ".pdf"
    if is_pdf_alone or pdf:
        find_browser()  # told before the work

    def tell(path: Path) -> None:
        size_mb = path.stat().st_size / 1e6
        too_large = f"; more than {MAX_MB} MB: leave out notebooks or shorten what plays" if size_mb > MAX_MB else ""
        print(f"{path} ({size_mb:.1f} MB{too_large}): {', '.join(notebook.stem for notebook in chosen)}")

    with tempfile.TemporaryDirectory() as aside:
        page = Path(aside) / "report.html" if is_pdf_alone else out
        build_report(chosen, [folder, *results], page, diff=diff)
        if not is_pdf_alone:
            tell(page)
        if is_pdf_alone or pdf:
            try:
                tell(write_pdf(page, out.with_suffix(".pdf")))
            except RuntimeError as error:
                raise SystemExit(f"motionkit: {error}") from None


def lab(
    notebook: Annotated[str, tyro.conf.Positional] = "00",
    port: int = 8888,
    browser: bool = True,
    jupyter: tuple[str, ...] = (),
) -> None:
    """Open JupyterLab at a notebook; what is only run there is not saved unless you ask for it.

    Args:
        notebook: name, or its beginning.
        port: the first to try; a taken one gives way to the next.
        browser: open a browser.
        jupyter: further settings of Jupyter as name=value, such as ip=0.0.0.0.
    """
    from motionkit.running.lab import open_lab

    open_lab(notebook, port=port, browser=browser, jupyter=jupyter)


def dashboard(
    notebook: Annotated[str, tyro.conf.Positional] = "00",
    port: int = 8866,
    browser: bool = True,
    jupyter: tuple[str, ...] = (),
) -> None:
    """Serve a notebook as a page with live widgets and without code; each reader gets a run of their own.

    Args:
        notebook: name, or its beginning.
        port: the first to try; a taken one gives way to another.
        browser: open a browser.
        jupyter: further settings of Voila as name=value, such as Voila.ip=0.0.0.0.
    """
    from motionkit.running.lab import open_dashboard

    open_dashboard(notebook, port=port, browser=browser, jupyter=jupyter)


def results(
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional] = (RUNS,),
    paper: str = "",
    table: str = "",
    row: str = "",
    column: str = "",
    profile: str = "",
    dataset: str = "",
    where: tuple[str, ...] = (),
    pivot: bool = False,
    out: Path | None = None,
) -> None:
    """List finished runs; with a paper, table, row or column also what they measured. Labels may hold * and ?.

    Args:
        folders: where to look, at any depth.
        paper: key of a paper, such as vqgan.
        table: number of a table, such as III.
        row: label of a row, such as '2D VQ-GAN*'.
        column: label of a column, such as SSIM.
        profile: small, laptop or full.
        dataset: name of a data set.
        where: parameters of the runs as name=value.
        pivot: pool the runs over their seeds: mean, 95 % interval, number of seeds.
        out: write every value (or the pivot) to a .csv, .parquet, .md or .tex file instead.
    """
    from motionkit.results import load_results, runs_table, select
    from motionkit.running.parameters import parse_settings
    from motionkit.tables import format_runs, write_table

    labels = {"paper": paper, "table": table, "row": row, "column": column}
    found = select(load_results(folders), parse_settings(where, "--where"), profile=profile, dataset=dataset, **labels)
    if pivot:
        _print_pivots(found, out)
    elif out:
        print(write_table(out, runs_table(found, values=True)))
    else:
        print(format_runs(runs_table(found, values=any(labels.values())), _terminal_width()))


def _print_pivots(found: Any, out: Path | None) -> None:
    from motionkit.results import pivot
    from motionkit.tables import format_pivot, pivot_texts, write_table

    tables = list(found.groupby(["paper", "table", "profile", "dataset"], sort=True))
    if out and len(tables) > 1:
        several = "; ".join(", ".join(key) for key, _ in tables)
        raise ValueError(
            f"{out} would hold several tables: choose one by --paper, --table, --profile, --dataset: {several}"
        )
    for (paper, table, profile, dataset), part in tables:
        pooled = pivot(part)
        if out:
            print(write_table(out, pooled, pivot_texts(pooled)))
        else:
            print(
                f"{paper} {table}, profile {profile}, data set {dataset}: {format_pivot(pooled, _terminal_width())}\n"
            )


def compare(
    paper: Annotated[str, tyro.conf.Positional],
    table: Annotated[str, tyro.conf.Positional],
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional] = (RUNS,),
    profile: str = "",
    dataset: str = "",
    where: tuple[str, ...] = (),
    all: bool = False,
    out: Path | None = None,
) -> None:
    """Print a paper's table beside ours: paper, ours, difference, note.

    Args:
        paper: key of a paper, such as vqgan.
        table: number of a table, such as III.
        folders: where the finished runs are, at any depth.
        profile: small, laptop or full.
        dataset: name of a data set.
        where: parameters of the runs as name=value.
        all: also the published numbers that no run has reached for, and ours that the paper does not have.
        out: write to a .csv, .parquet, .md or .tex file instead.
    """
    from motionkit import results
    from motionkit.running.parameters import parse_settings
    from motionkit.tables import comparison_texts, format_comparison, write_table

    results.published(paper, table)  # a misspelt name is told before any file is read

    labels = {"paper": paper, "table": table, "profile": profile, "dataset": dataset}
    found = results.select(results.load_results(folders), parse_settings(where, "--where"), **labels)
    compared = results.compare(paper, table, found)
    if not all:
        compared = compared.dropna(subset=["paper", "ours"])
    if out:
        print(write_table(out, compared, comparison_texts(compared)))
    else:
        print(format_comparison(compared, _terminal_width()))


def _terminal_width() -> int:
    import shutil

    return max(80, shutil.get_terminal_size((110, 40)).columns)
