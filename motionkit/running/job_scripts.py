"""Job scripts that start dask workers for a sweep on a cluster."""

from __future__ import annotations

import re

NAMES = {"slurm": "$SLURM_JOB_ID", "pbs": "$PBS_JOBID"}  # two workers of one name would be refused
MARGIN_S = 300  # before the queue's end of a job, for its worker to leave in order


def job_script(
    queue_system: str,
    scheduler: str,
    *,
    cores: int,
    memory: str,
    walltime: str,
    gpus: int = 0,
    queue: str = "",
    account: str = "",
) -> str:
    """A script for ``sbatch`` or ``qsub`` that runs one worker with all of the job's cores, as text.

    Raises ``ValueError`` for a walltime that is no ``hours:minutes:seconds`` or too short, and if dask-jobqueue is
    missing.
    """
    seconds = _seconds(walltime)
    try:
        from dask_jobqueue.pbs import PBSJob
        from dask_jobqueue.slurm import SLURMJob
    except ImportError:
        raise ValueError("job scripts need dask-jobqueue: pip install motionkit[cluster]") from None
    if queue_system == "slurm":
        kind, request = SLURMJob, {"job_extra_directives": [f"--gres=gpu:{gpus}"] * (gpus > 0)}
    else:
        gib = re.sub(r"\s", "", memory)
        request = {"resource_spec": f"select=1:ncpus={cores}:mem={gib}" + f":ngpus={gpus}" * (gpus > 0)}
        kind = PBSJob
    job = kind(
        scheduler=scheduler,
        name=f"motionkit-{NAMES[queue_system]}",
        job_name="motionkit-sweep",
        cores=cores,
        processes=1,
        memory=memory,
        walltime=walltime,
        queue=queue or None,
        account=account or None,
        death_timeout=120,
        worker_extra_args=["--lifetime", f"{seconds - MARGIN_S}s"],
        **request,
    )
    return job.job_script()


def _seconds(walltime: str) -> int:
    parts = re.fullmatch(r"(\d+):([0-5]\d):([0-5]\d)", walltime)
    if not parts:
        raise ValueError(f"--walltime {walltime!r}: expected hours:minutes:seconds, such as 24:00:00")
    seconds = int(parts[1]) * 3600 + int(parts[2]) * 60 + int(parts[3])
    if seconds <= 2 * MARGIN_S:
        raise ValueError(f"--walltime {walltime!r}: expected more than {2 * MARGIN_S // 60} minutes")
    return seconds
