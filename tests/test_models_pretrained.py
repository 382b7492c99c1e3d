"""The models inside the kit: whole, equal to what was trained, small, and named helpfully when they are not there."""

import importlib.util
import json
import shutil
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import get_args

import pytest
import torch

from motionkit.data.skeleton import AMASS_18
from motionkit.metrics.imputation import imputation_curves
from motionkit.models.dvae import DVAE, DVAEConfig
from motionkit.models.fillers import bridged, filler_of, plain_fillers
from motionkit.models.hg_vae import HGVAE, HGVAEConfig
from motionkit.models.imputation import leftovers_of
from motionkit.models.linear_prior import LinearPrior
from motionkit.models.pretrained import (
    FOLDER,
    INDEX,
    PRETRAINED,
    Pretrained,
    for_inference,
    keep_pretrained,
    load_pretrained,
    read_index,
)
from motionkit.models.quantizers import QuantizerKind
from motionkit.models.vqgan import VQGAN, VQGANConfig
from motionkit.models.weights import DESCRIPTION, WEIGHTS, save_weights
from motionkit.representation.pelvis_frame import pelvis_windows
from motionkit.results import result_row, save_results, start_record
from motionkit.training import TrainConfig, fit

SMALL = VQGANConfig(
    in_channels=3,
    widths=(8, 8),
    num_downsamples=3,
    halving_stem=True,
    encoder_blocks=1,
    decoder_blocks=1,
    num_codes=128,
    code_dim=8,
    quantizer="ema",
    perceptual="none",
    discriminator_widths=(4, 8),
    adversarial_start=1,
)
CLIPS = torch.linspace(0, 1, 2 * 3 * 8 * 16 * 16).reshape(2, 3, 8, 16, 16)


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    model = VQGAN(SMALL)
    batch = {"input": CLIPS, "target": CLIPS.amax(1, keepdim=True)}
    fit(model, lambda _: batch, TrainConfig(num_steps=3, progress="off"))
    return model


@pytest.fixture
def kept(trained, tmp_path):
    keep_pretrained(trained, "vqgan-2d-f8-128", "for a test", {"seed": 0}, tmp_path)
    return tmp_path


@pytest.mark.parametrize("quantizer", get_args(QuantizerKind))
def test_a_lean_model_is_equal_to_the_bit(quantizer):
    torch.manual_seed(1)
    model = VQGAN(replace(SMALL, quantizer=quantizer))
    lean = for_inference(model)
    before, after = model.eval().reconstruct(CLIPS), lean.reconstruct(CLIPS)
    assert torch.equal(before.output, after.output)
    assert torch.equal(before.tokens, after.tokens)
    assert torch.equal(lean.decode(before.tokens), model.decode(before.tokens))
    assert (before.q_loss is None) == (quantizer in ("gumbel", "fsq", "lfq"))
    assert before.q_loss is None or torch.equal(before.q_loss, after.q_loss)
    assert not any(name.startswith("discriminator") for name in lean.state_dict())
    assert quantizer == "residual" or not any("sums" in name or "counts" in name for name in lean.state_dict())
    assert model.discriminator is not None  # the argument stays as it was


def test_a_dvae_is_kept_and_loaded_as_one(tmp_path):
    torch.manual_seed(1)
    model = DVAE(DVAEConfig(3, widths=(8, 8, 8), encoder_blocks=1, decoder_blocks=1, num_codes=32, code_dim=8)).eval()
    keep_pretrained(model, "dvae-2d-f8-32", "for a test", {}, tmp_path)
    loaded = load_pretrained("dvae-2d-f8-32", folder=tmp_path)
    assert isinstance(loaded, DVAE)
    tokens = torch.arange(4).reshape(1, 1, 2, 2)
    torch.testing.assert_close(loaded.decode(tokens), model.decode(tokens), rtol=0, atol=0.02)


def test_a_model_of_clips_is_kept_as_it_is(tmp_path):
    torch.manual_seed(0)
    model = HGVAE(HGVAEConfig(levels=((54, 4), (1, 8)), trunk_features=4)).eval()
    clips = torch.randn(3, 50, 18, 3)
    model.nodes.standardize(clips)
    keep_pretrained(model, "hg-vae-18-50", "for a test", {}, tmp_path)
    loaded = load_pretrained("hg-vae-18-50", folder=tmp_path)
    assert loaded.config == model.config
    assert torch.equal(loaded.reconstruct(clips), model.reconstruct(clips))


def test_a_kept_model_is_a_fraction_as_large_and_draws_nearly_the_same(trained, kept, tmp_path):
    save_weights(trained, tmp_path / "whole", {})
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in ("vqgan-2d-f8-128", "whole")]
    assert sizes[0] < sizes[1] / 3
    model = load_pretrained("vqgan-2d-f8-128", folder=kept)
    assert not model.training
    assert all(value.dtype == torch.float32 for value in model.parameters())
    codes = trained.eval().encode(CLIPS)
    difference = (model.decode(codes) - trained.decode(codes)).abs().max()
    assert difference < 0.03 * trained.decode(codes).abs().max()
    assert next(trained.parameters()).dtype == torch.float32  # the trained one is not rounded


def test_a_damaged_file_is_named_with_both_sums(kept):
    path = kept / "vqgan-2d-f8-128" / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{WEIGHTS}: SHA-256 is [0-9a-f]{{64}}, expected [0-9a-f]{{64}}"):
        load_pretrained("vqgan-2d-f8-128", folder=kept)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=WEIGHTS):
        load_pretrained("vqgan-2d-f8-128", folder=kept)


def test_an_unknown_name_gets_the_nearest(kept):
    with pytest.raises(ValueError, match=r"named 'VQGAN-2D-F8-129'. Did you mean 'vqgan-2d-f8-128'\?"):
        load_pretrained("VQGAN-2D-F8-129", folder=kept)
    with pytest.raises(ValueError, match=r"'resnet'. There are: vqgan-2d-f8-128"):
        load_pretrained("resnet", folder=kept)


def test_models_are_listed_by_compression_and_codes(trained, tmp_path):
    in_order = [
        "vqgan-2d-f8-128", "vqgan-2d-f8-512", "vqgan-2d-f16-128", "vqgan-2d-f32-128", "dvae-2d-f8-2048",
        "vqgan-2d-f8-512-denoiser",
    ]  # fmt: skip
    for name in reversed(in_order):
        keep_pretrained(trained, name, name, {}, tmp_path)
    keep_pretrained(trained, "vqgan-2d-f8-512", "again", {}, tmp_path)
    assert list(read_index(tmp_path)) == in_order
    assert read_index(tmp_path)["vqgan-2d-f8-512"].about == "again"


# ---- what comes with the kit -----------------------------------------------------------------------------------------

spec = importlib.util.spec_from_file_location("pretrained", Path(__file__).parents[1] / ".ci" / "pretrained.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def test_the_index_names_what_is_there_and_the_whole_is_small():
    assert set(PRETRAINED) == {path.parent.name for path in FOLDER.glob(f"*/{WEIGHTS}")}
    assert set(PRETRAINED) == set(script.NAMES)
    sizes = [path.stat().st_size for path in FOLDER.glob(f"*/{WEIGHTS}")]
    assert sum(sizes) < 20e6


@pytest.mark.parametrize("name", PRETRAINED)
def test_every_model_of_the_kit_loads_and_knows_where_it_comes_from(name):
    model = load_pretrained(name)  # checks its sum
    assert name.removesuffix("-denoiser") == script.name_of(model)
    description = json.loads((FOLDER / name / DESCRIPTION).read_text())
    record = description["provenance"]
    if isinstance(model, HGVAE):
        assert model.reconstruct(torch.zeros(1, 50, 18, 3)).shape == (1, 50, 18, 3)
    else:
        assert model.reconstruct(torch.zeros(1, 16, 32, 64, 64)).output.shape == (1, 1, 32, 64, 64)
    assert record["notebook"] == ("04_hg_vae" if isinstance(model, HGVAE) else "01_heatmap_vqgan")
    assert record["commit"]
    assert record["steps"] > 0
    assert ("joints 0.2: RMSE [mm]" if isinstance(model, HGVAE) else "SSIM") in record["scores"]
    assert "/" not in str(record["parameters"])
    # what the package holds is what a wheel holds: hatchling packs everything below the package
    assert files("motionkit.models").joinpath("pretrained", name, WEIGHTS).is_file()


def filling_errors(dataset):
    """Of windows of people that the kit's model has not seen, RMSE in mm by method and pattern."""
    model = load_pretrained("hg-vae-18-50")
    parts = pelvis_windows(dataset, length=50, stride=10, fps=25.0, most=20)
    train, calibration, test = (parts[name].positions for name in ("train", "calibration", "test"))
    linear, mean = LinearPrior.fit(train, 128, AMASS_18).calibrated(calibration), train.mean(0)
    known = bridged(linear.given, mean, calibration)
    fillers = plain_fillers(mean, {"linear": linear.given, "no network": known})
    fillers["HG-VAE"] = filler_of(model, known, leftovers_of(model, calibration), 5)
    curves = imputation_curves(fillers, test, [0.2])
    return curves[curves["metric"] == "RMSE"].pivot_table(index="method", columns="pattern", values="value")


def test_the_model_of_clips_fills_gaps_better_than_bridging_and_the_linear_model():
    errors = filling_errors("default")
    assert (errors.loc["HG-VAE"] < errors.loc[["interpolation", "linear"]].min()).all()


@pytest.mark.filterwarnings("ignore:.* are shorter than")
def test_of_recorded_people_it_knows_more_than_no_network(data_folder):
    errors = filling_errors("cmu")
    assert (errors.loc["HG-VAE"] < errors.loc[["interpolation", "linear"]].min()).all()
    assert errors.loc["HG-VAE", "joints"] < 0.95 * errors.loc["no network", "joints"]


def test_a_sweep_becomes_models_of_the_kit_with_the_records_of_their_runs(tmp_path):
    for seed, codes in ((0, 128), (1, 128), (0, 512), (0, 256)):
        run = tmp_path / "sweep" / f"{seed}-{codes}" / "laptop" / "01_heatmap_vqgan"
        for folder, config in (("a", SMALL), ("b", replace(SMALL, in_channels=3, out_channels=3))):
            batch = {"input": CLIPS, "target": CLIPS.amax(1, keepdim=True).repeat(1, config.out_channels, 1, 1, 1)}
            model = VQGAN(replace(config, num_codes=codes))
            fit(model, lambda _, b=batch: b, TrainConfig(num_steps=2, progress="off"), checkpoint_dir=run / folder)
        parameters = {"window_frames": 8, "fps": 20.0, "size": 16, "sigma_px": 0.75, "runs": "/somewhere"}
        record = start_record("vqgan", "01_heatmap_vqgan", "laptop", seeds=(seed,), dataset="sample")
        record = record.finished(parameters=parameters)
        save_results(run, [result_row(record, "III", f"2D VQ-GAN F8/{codes}", "SSIM", 0.9)], record)
    run = tmp_path / "sweep" / "generative" / "laptop" / "04_hg_vae"
    model = HGVAE(HGVAEConfig(levels=((54, 4), (1, 8)), trunk_features=4))
    fit(model, lambda _: torch.zeros(2, 50, 18, 3), TrainConfig(num_steps=2, progress="off"), checkpoint_dir=run / "a")
    record = start_record("hgvae", "04_hg_vae", "laptop", seeds=(0,), dataset="sample")
    record = record.finished(parameters={"window_frames": 50, "fps": 25.0})
    errors = {"joints 0.05: RMSE": 4.0, "joints 0.2: RMSE": 8.0, "joints 0.2: change": -99.0}
    save_results(run, [result_row(record, "imputation", "HG-VAE", *error) for error in errors.items()], record)
    origin = script.export(tmp_path / "sweep", to=tmp_path / "kit")
    assert origin.pop("hg-vae-18-50") == run
    provenance = json.loads((tmp_path / "kit" / "hg-vae-18-50" / DESCRIPTION).read_text())["provenance"]
    assert provenance["scores"] == {"joints 0.05: RMSE [mm]": 4.0, "joints 0.2: RMSE [mm]": 8.0}
    expected = "windows of 50 frames at 25 fps of 18 joints in the pelvis' frame; 2 steps on sample, seed 0; off, "
    expected += "where a fifth is lost of held-out clips: joints 0.2 8.0 mm"
    assert read_index(tmp_path / "kit")["hg-vae-18-50"].about == expected
    assert list(origin) == ["vqgan-2d-f8-128", "vqgan-2d-f8-512"]  # no seed 1, no 256 codes, no 3D
    assert origin["vqgan-2d-f8-512"].parts[-3] == "0-512"
    provenance = json.loads((tmp_path / "kit" / "vqgan-2d-f8-512" / DESCRIPTION).read_text())["provenance"]
    assert provenance["seeds"] == [0]
    assert provenance["steps"] == 2
    assert provenance["scores"] == {"SSIM": 0.9}
    assert "runs" not in provenance["parameters"]
    index = json.loads((tmp_path / "kit" / INDEX).read_text())
    expected = "windows of 8 frames at 20 fps as 16 limb heatmaps of 16 px, sigma 0.75 px; 2 steps on sample, seed 0; "
    assert Pretrained(**index["vqgan-2d-f8-512"]).about == expected + "SSIM 0.900 on held-out clips"
    shutil.copytree(tmp_path / "sweep" / "0-128", tmp_path / "sweep" / "again")
    with pytest.raises(ValueError, match="vqgan-2d-f8-128 was trained twice"):
        script.export(tmp_path / "sweep", to=tmp_path / "kit")
