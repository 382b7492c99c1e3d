"""The published models as they are built, and the kinds of a run."""

import re
from dataclasses import replace

import pytest
import torch

from motionkit.data.cameras import dome
from motionkit.data.skeleton import H36M_17
from motionkit.models.dvae import DVAE, DVAEConfig
from motionkit.models.tokenizers import (
    CODE,
    KINDS,
    PAPER,
    PUBLISHED,
    READINGS,
    STEPS,
    build_tokenizer,
    tokenizer_configs,
    tokenizer_size,
)
from motionkit.models.vqgan import VQGAN, VQGANConfig
from motionkit.representation.heatmap_video import HeatmapVideo
from motionkit.results import published
from motionkit.training import TrainConfig

SMALL = {"widths": (8, 8, 8), "code_dim": 4, "encoder_blocks": 1, "decoder_blocks": 1}
VQ = VQGANConfig(5, 1, adversarial_start=100, l2_steps=90, perceptual="none", discriminator_widths=(4, 8), **SMALL)
DV = DVAEConfig(5, 1, temperature_steps=100, **SMALL)
CODES = dict(zip(KINDS, (512, 2048, 1024, 2048), strict=True))


def test_published_models_are_the_rows_of_table_three():
    table = published("vqgan", "III")
    assert list(PUBLISHED) == list(table.index)
    for row, config in PUBLISHED.items():
        assert table.loc[row, "Compression"] == f"F{2**config.num_downsamples}"
        assert int(table.loc[row, "Vocab Size"]) == config.num_codes
        assert (config.in_channels, config.out_channels) == ((17, 1) if row.startswith("2D") else (3, 3))


@pytest.mark.parametrize("row", ["2D VQ-GAN F8/512", "3D VQ-GAN F16/256", "2D VQ-GAN F32/512", "3D dVAE F8/2048"])
def test_built_models_compress_as_table_two_says(row):
    printed = published("vqgan", "II").loc[row.split()[-1].partition("/")[0]]
    size = tokenizer_size(PUBLISHED[row])
    assert re.findall(r"\d+", printed["Original Size"]) == list(map(str, size.clip))
    assert re.findall(r"\d+", printed["Compressed Size"]) == list(map(str, size.grid))
    assert size.compression_factor == int(printed["Compression Factor"])


def test_size_is_that_of_the_model_and_its_tokens():
    size = tokenizer_size(VQ, (8, 16, 24))
    model = build_tokenizer(VQ).eval()
    assert size.grid == tuple(model.encode(torch.rand(1, 5, 8, 16, 24)).shape[1:]) == (1, 2, 3)
    assert size.num_tokens == 6
    assert size.parameters + size.discriminator == sum(p.numel() for p in model.parameters())
    assert tokenizer_size(replace(VQ, adversarial_start=None)).discriminator == tokenizer_size(DV).discriminator == 0


def test_parameters_of_the_published_models():
    sizes = {row: tokenizer_size(PUBLISHED[row]) for row in ("2D VQ-GAN F8/512", "2D VQ-GAN F32/512")}
    assert {row: size.parameters for row, size in sizes.items()} == {
        "2D VQ-GAN F8/512": 50_135_233,
        "2D VQ-GAN F32/512": 53_700_481,
    }
    assert {size.discriminator for size in sizes.values()} == {11_048_769}


def test_kinds_differ_in_channels_codes_and_length():
    configs = tokenizer_configs(KINDS, VQ, DV, CODES, longer_3d=1.5)
    assert list(configs) == ["2D VQ-GAN F8/512", "2D dVAE F8/2048", "3D VQ-GAN F8/1024", "3D dVAE F8/2048"]
    assert configs["2D VQ-GAN F8/512"] == VQ
    assert configs["2D dVAE F8/2048"] == DV
    in_3d = configs["3D VQ-GAN F8/1024"]
    assert (in_3d.adversarial_start, in_3d.l2_steps, in_3d.adversarial_warmup) == (150, 135, 0)
    same_steps = {name: getattr(VQ, name) for name in STEPS if hasattr(VQ, name)}
    assert replace(in_3d, **same_steps) == replace(VQ, in_channels=3, out_channels=3, num_codes=1024)
    assert configs["3D dVAE F8/2048"] == replace(DV, in_channels=3, out_channels=3, temperature_steps=150)
    assert [type(build_tokenizer(config)) for config in configs.values()] == [VQGAN, DVAE] * 2
    own = {"adversarial_start": 7, "adversarial_factor": 1.0}
    changed = tokenizer_configs(KINDS, VQ, DV, CODES, longer_3d=1.5, vqgan_3d=own)
    assert changed == configs | {"3D VQ-GAN F8/1024": replace(in_3d, **own)}
    without = tokenizer_configs(["3D VQ-GAN"], replace(VQ, adversarial_start=None), DV, CODES, 2.0)
    assert without["3D VQ-GAN F8/1024"].adversarial_start is None


def test_a_seed_decides_the_initial_weights_alone():
    first, _, again = (build_tokenizer(DV, seed).state_dict() for seed in (3, 4, 3))
    assert all(torch.equal(first[key], value) for key, value in again.items())
    assert not torch.equal(build_tokenizer(DV, 4).codebook.weight, first["codebook.weight"])


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind is '2D VQVAE'; expected one of 2D VQ-GAN, 2D dVAE"):
        tokenizer_configs(["2D VQVAE"], VQ, DV, CODES)


def test_readings_hold_what_the_paper_and_its_code_say():
    assert READINGS == {"paper": PAPER, "code": CODE}
    assert (PAPER.optimizer, CODE.optimizer) == ("adamw", "adam")
    assert (PAPER.codebook_weight, PAPER.commitment_weight) == (1, 1)  # Eq. 4
    assert (CODE.codebook_weight, CODE.commitment_weight) == (0.25, 1)
    assert (PAPER.window_length(64), CODE.window_length(64)) == (64, 300)
    assert CODE.window_length(16) == 75
    cameras = tuple(dome()[:1])
    for reading in READINGS.values():
        video = HeatmapVideo(H36M_17, "2d", 32, 0.75, cameras, **reading.drawing(8))
        span = torch.rand(1, reading.window_length(8), 17, 3)
        assert video(span, torch.Generator().manual_seed(0))["target"].shape == (1, 1, 8, 32, 32)
        assert video.has_random_peaks == (reading is CODE)
        TrainConfig(num_steps=1, optimizer=reading.optimizer, weight_decay=reading.weight_decay)
        VQGANConfig(codebook_weight=reading.codebook_weight, commitment_weight=reading.commitment_weight)
