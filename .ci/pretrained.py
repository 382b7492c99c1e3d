"""Put the models that a sweep trained into the kit: python .ci/pretrained.py runs/sweeps/<sweep> [seed].

Of every finished run of notebook 01 below the folder, the trained 2D models of that seed (0) with one of the kit's
names go to motionkit/models/pretrained/, with the run's record and the model's scores as provenance.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from motionkit.fitting.checkpoints import list_checkpoints, read_checkpoint
from motionkit.models.dvae import DVAE, DVAEConfig
from motionkit.models.pretrained import FOLDER, PRETRAINED, keep_pretrained
from motionkit.models.tokenizers import build_tokenizer
from motionkit.models.vqgan import VQGAN, VQGANConfig
from motionkit.models.weights import config_from_dict
from motionkit.results import RECORD_FILE, RunRecord, load_record, load_results
from motionkit.training import load_weights

NAMES = (
    *(f"vqgan-2d-f{rate}-{codes}" for rate in (8, 16, 32) for codes in (128, 512)),
    "dvae-2d-f8-2048",
    "vqgan-2d-f8-512-denoiser",
)


def trained_models(run: Path, is_denoiser: bool) -> Iterator[tuple[str, VQGAN | DVAE, int]]:
    """Name, model and number of training steps of each checkpoint of a 2D model in a run's folder."""
    for folder in sorted(path.parent for path in run.glob("*/metrics.jsonl")):
        path = list_checkpoints(folder)[-1]
        described = read_checkpoint(path, prefixes=()).header["model"]
        kind = described.pop("class")
        if described["out_channels"] != 1:
            continue
        model = build_tokenizer(config_from_dict(VQGANConfig if kind == "VQGAN" else DVAEConfig, described))
        name = f"{kind.lower()}-2d-f{2**model.config.num_downsamples}-{model.config.num_codes}"
        yield name + "-denoiser" * is_denoiser, model, load_weights(model, path)["step"]


def scores(run: Path, model: VQGAN | DVAE) -> dict[str, float]:
    """The metrics of the model's row of Table III, measured before its weights are rounded."""
    results = load_results(run)
    kind = "2D VQ-GAN" if isinstance(model, VQGAN) else "2D dVAE"
    row = f"{kind} F{2**model.config.num_downsamples}/{model.config.num_codes}"
    return {line.column: round(line.value, 6) for line in results[results["row"] == row].itertuples()}


def about(record: RunRecord, steps: int, measured: dict[str, float]) -> str:
    """What a reader should know, in one line."""
    p = record.parameters
    text = f"windows of {p['window_frames']} frames at {p['fps']:g} fps as 16 limb heatmaps of {p['size']} px, "
    text += f"sigma {p['sigma_px']:g} px; {steps:,} steps on {record.dataset}, seed {record.seeds[0]}"
    if corruption := p.get("corruption"):
        text += ", of keypoints with " + ", ".join(f"{kind} up to {level:g}" for kind, level in corruption.items())
    shown = " that it is shown clean" if corruption else ""
    return text + (f"; SSIM {measured['SSIM']:.3f} on held-out clips{shown}" if "SSIM" in measured else "")


def export(folder: Path, seed: int = 0, to: Path = FOLDER) -> dict[str, Path]:
    """Name -> folder of the run it comes from. ``ValueError`` where two runs trained a model of one name."""
    origin: dict[str, Path] = {}
    for run in sorted(path.parent for path in folder.rglob(RECORD_FILE)):
        record = load_record(run)
        if record.seeds != (seed,):
            continue
        for name, model, steps in trained_models(run, bool(record.parameters.get("corruption"))):
            if name not in NAMES:
                continue
            if name in origin:
                raise ValueError(f"{name} was trained twice: {origin[name]} and {run}; give the folder of one")
            measured = scores(run, model)
            parameters = {key: value for key, value in record.parameters.items() if key != "runs"}  # a path of ours
            provenance = asdict(record) | {"parameters": parameters, "steps": steps, "scores": measured}
            keep_pretrained(model, name, about(record, steps, measured), provenance, to)
            origin[name] = run
    return origin


if __name__ == "__main__":
    found = export(Path(sys.argv[1]), *map(int, sys.argv[2:3]))
    for name, run in found.items():
        print(f"{name}  from {run}")
    missing = [name for name in NAMES if name not in found and name not in PRETRAINED]
    print(f"still missing: {', '.join(missing)}" if missing else "all are there")
