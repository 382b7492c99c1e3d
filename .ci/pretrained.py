"""Put the models that a sweep trained into the kit: python .ci/pretrained.py runs/sweeps/<sweep> [seed].

Of every finished run of notebook 01 below the folder the trained 2D models, and of notebook 04 HG-VAE, of that seed (0)
and with one of the kit's names go to motionkit/models/pretrained/, with the run's record and the model's scores as
provenance.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from motionkit.fitting.checkpoints import list_checkpoints, read_checkpoint
from motionkit.models.dvae import DVAE, DVAEConfig
from motionkit.models.hg_vae import HGVAE, HGVAEConfig
from motionkit.models.pretrained import FOLDER, PRETRAINED, Model, keep_pretrained
from motionkit.models.vqgan import VQGAN, VQGANConfig
from motionkit.models.weights import config_from_dict
from motionkit.results import RECORD_FILE, RunRecord, load_record, load_results
from motionkit.training import load_weights

KINDS = {"VQGAN": (VQGAN, VQGANConfig), "DVAE": (DVAE, DVAEConfig), "HGVAE": (HGVAE, HGVAEConfig)}
NAMES = (
    *(f"vqgan-2d-f{rate}-{codes}" for rate in (8, 16, 32) for codes in (128, 512)),
    "dvae-2d-f8-2048",
    "vqgan-2d-f8-512-denoiser",
    "hg-vae-18-50",
)


def trained_models(run: Path, is_denoiser: bool) -> Iterator[tuple[str, Model, int]]:
    """Name, model and number of training steps of each checkpoint in a run's folder; none of 3D models, and of HG-VAE
    only such as the paper has it, without classes and with all levels on."""
    for folder in sorted(path.parent for path in run.glob("*/metrics.jsonl")):
        path = list_checkpoints(folder)[-1]
        described = read_checkpoint(path, prefixes=()).header["model"]
        kind = described.pop("class")
        if kind not in KINDS or described.get("out_channels", 1) != 1:
            continue
        model_type, config_type = KINDS[kind]
        model = model_type(config_from_dict(config_type, described))
        c = model.config
        if isinstance(model, HGVAE) and (c.num_classes or c.off_levels or c.layout != "paper"):
            continue
        yield name_of(model) + "-denoiser" * is_denoiser, model, load_weights(model, path)["step"]


def name_of(model: Model) -> str:
    c = model.config
    if isinstance(model, HGVAE):
        return f"hg-vae-{c.num_joints}-{c.num_frames}"
    return f"{type(model).__name__.lower()}-2d-f{2**c.num_downsamples}-{c.num_codes}"


def scores(run: Path, model: Model) -> dict[str, float]:
    """The metrics of a tokenizer's row of Table III, measured before its weights are rounded; of HG-VAE the errors of
    what it fills in."""
    results = load_results(run)
    if isinstance(model, HGVAE):
        rows = results[(results["row"] == "HG-VAE") & results["column"].str.endswith("RMSE")].dropna(subset="value")
        means = rows.groupby("column", sort=False)["value"].mean()
        return {f"{column} [mm]": round(value, 3) for column, value in means.items()}
    kind = "2D VQ-GAN" if isinstance(model, VQGAN) else "2D dVAE"
    row = f"{kind} F{2**model.config.num_downsamples}/{model.config.num_codes}"
    return {line.column: round(line.value, 6) for line in results[results["row"] == row].itertuples()}


def about(record: RunRecord, model: Model, steps: int, measured: dict[str, float]) -> str:
    """What a reader should know, in one line."""
    p = record.parameters
    text = f"windows of {p['window_frames']} frames at {p['fps']:g} fps "
    training = f"; {steps:,} steps on {record.dataset}, seed {record.seeds[0]}"
    if isinstance(model, HGVAE):
        told = [f"{name.split(':')[0]} {error:.1f} mm" for name, error in measured.items() if " 0.2:" in name]
        filled = f"; off, where a fifth is lost of held-out clips: {', '.join(told)}" if told else ""
        return f"{text}of {model.config.num_joints} joints in the pelvis' frame{training}{filled}"
    text += f"as 16 limb heatmaps of {p['size']} px, sigma {p['sigma_px']:g} px{training}"
    if corruption := p.get("corruption"):
        text += ", of keypoints with " + ", ".join(f"{kind} up to {level:g}" for kind, level in corruption.items())
    shown = " that it is shown clean" if corruption else ""
    return text + (f"; SSIM {measured['SSIM']:.3f} on held-out clips{shown}" if "SSIM" in measured else "")


def export(folder: Path, seed: int = 0, to: Path = FOLDER) -> dict[str, Path]:
    """Name -> folder of the run it comes from. ``ValueError`` where two runs trained a model of one name; nothing has
    changed then."""
    found: dict[str, tuple[Path, RunRecord, Model, int]] = {}
    for run in sorted(path.parent for path in folder.rglob(RECORD_FILE)):
        record = load_record(run)
        if record.seeds != (seed,):
            continue
        for name, model, steps in trained_models(run, bool(record.parameters.get("corruption"))):
            if name not in NAMES:
                continue
            if name in found:
                raise ValueError(f"{name} was trained twice: {found[name][0]} and {run}; give the folder of one")
            found[name] = run, record, model, steps
    for name, (run, record, model, steps) in found.items():
        measured = scores(run, model)
        parameters = {key: value for key, value in record.parameters.items() if key != "runs"}  # a path of ours
        provenance = asdict(record) | {"parameters": parameters, "steps": steps, "scores": measured}
        keep_pretrained(model, name, about(record, model, steps, measured), provenance, to)
    return {name: run for name, (run, *_) in found.items()}


if __name__ == "__main__":
    found = export(Path(sys.argv[1]), *map(int, sys.argv[2:3]))
    for name, run in found.items():
        print(f"{name}  from {run}")
    missing = [name for name in NAMES if name not in found and name not in PRETRAINED]
    print(f"still missing: {', '.join(missing)}" if missing else "all are there")
