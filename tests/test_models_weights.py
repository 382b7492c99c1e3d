"""Saving and loading: a round trip changes nothing, broken folders are named."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from motionkit.models.dvae import DVAE, DVAEConfig
from motionkit.models.vqgan import VQGAN, VQGANConfig
from motionkit.models.weights import DESCRIPTION, WEIGHTS, config_from_dict, load_weights, save_weights

VQ = VQGANConfig(
    widths=(8, 8),
    num_downsamples=2,
    encoder_blocks=1,
    decoder_blocks=1,
    num_codes=8,
    code_dim=4,
    quantizer="ema",
    perceptual="vgg16",  # not installed: loading needs no feature network
    discriminator_widths=(4, 8, 8),
)
DV = DVAEConfig(widths=(8, 8), num_downsamples=2, encoder_blocks=1, decoder_blocks=1, num_codes=8, code_dim=4)
CLIPS = torch.linspace(0, 1, 2 * 4 * 8 * 8).reshape(2, 1, 4, 8, 8)


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "model"
    save_weights(VQGAN(VQ), folder, {"step": 3})
    return folder


def rewrite(folder, **changes):
    description = json.loads((folder / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps(description | changes))


@pytest.mark.parametrize(("model_type", "config"), [(VQGAN, VQ), (DVAE, DV)])
def test_round_trip(model_type, config, tmp_path):
    model = model_type(config)
    provenance = {"dataset": "sample", "step": 12, "seeds": [0, 1]}
    save_weights(model, tmp_path / "a" / "b", provenance)
    loaded, read = load_weights(model_type, tmp_path / "a" / "b")
    assert read == provenance
    assert loaded.config == config
    assert not loaded.training
    before, after = model.state_dict(), loaded.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(loaded.reconstruct(CLIPS).output, model.eval().reconstruct(CLIPS).output)


@pytest.mark.parametrize(("model_type", "config"), [(VQGAN, VQ), (DVAE, DV)])
def test_compact_kernels_are_off_by_half_a_step_and_the_rest_is_rounded_to_float16(model_type, config, tmp_path):
    model = model_type(config)
    with torch.no_grad():
        model.decoder.first.weight[0] = 0.0  # a slice without a largest weight
        model.decoder.first.weight[1] *= 1e-6  # each slice has a scale of its own
    save_weights(model, tmp_path / "whole", {})
    save_weights(model, tmp_path / "compact", {}, is_compact=True)
    loaded = load_weights(model_type, tmp_path / "compact")[0].state_dict()
    kernels = 0
    for name, before in model.state_dict().items():
        after = loaded[name]
        assert after.dtype == before.dtype
        if before.ndim < 3:
            assert torch.equal(after, before.half().to(before.dtype) if before.is_floating_point() else before)
            continue
        kernels += 1
        step = before.abs().flatten(1).amax(1) / 127
        assert ((after - before).abs().flatten(1).amax(1) <= 0.501 * step).all()
    assert kernels > 10
    sizes = [(tmp_path / kind / WEIGHTS).stat().st_size for kind in ("compact", "whole")]
    assert sizes[0] < 0.45 * sizes[1]  # these small models have more biases than kernels


def test_a_compact_kernel_without_its_scale_is_named(tmp_path):
    save_weights(VQGAN(VQ), tmp_path, {}, is_compact=True)
    state = load_file(tmp_path / WEIGHTS)
    del state["decoder.first.weight:scale"]
    save_file(state, tmp_path / WEIGHTS)
    with pytest.raises(ValueError, match=r"weights\.safetensors: .*decoder\.first\.weight is stored in 8 bits"):
        load_weights(VQGAN, tmp_path)


@pytest.mark.parametrize(("name", "value"), [("quantizer.sums", 1e5), ("decoder.first.weight", float("nan"))])
def test_what_a_compact_file_cannot_hold_is_named(name, value, tmp_path):
    model = VQGAN(VQ)
    with torch.no_grad():
        model.state_dict()[name][0, 1] = value
    with pytest.raises(ValueError, match=f"'{name}' reaches {value:g}, which a compact file cannot hold"):
        save_weights(model, tmp_path, {}, is_compact=True)
    assert not list(tmp_path.iterdir())


def test_saving_again_replaces_and_leaves_nothing_behind(saved):
    save_weights(VQGAN(VQ), saved, {"step": 4})
    assert sorted(path.name for path in saved.iterdir()) == sorted([WEIGHTS, DESCRIPTION])
    assert load_weights(VQGAN, saved)[1] == {"step": 4}


def test_missing_file(saved, tmp_path):
    (saved / WEIGHTS).unlink()
    for folder in (saved, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="no such file; a saved model holds"):
            load_weights(VQGAN, folder)


def test_another_model(saved):
    with pytest.raises(ValueError, match=r"model\.json: holds a 'VQGAN', not a 'DVAE'"):
        load_weights(DVAE, saved)


def test_unknown_key(saved):
    rewrite(saved, config={"num_kodes": 8})
    with pytest.raises(ValueError, match=r"model\.json: VQGANConfig has no num_kodes; it has .*num_codes"):
        load_weights(VQGAN, saved)


def test_impossible_configuration(saved):
    rewrite(saved, config={"num_downsamples": 9})
    with pytest.raises(ValueError, match=r"model\.json: num_downsamples must be 1 to 5"):
        load_weights(VQGAN, saved)


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"model": "VQGAN"', '{"model": "VQGAN"}', "\x00\x01"])
def test_damaged_description(saved, text):
    (saved / DESCRIPTION).write_text(text)
    with pytest.raises(ValueError, match=r"model\.json: "):
        load_weights(VQGAN, saved)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"\x80\x04]."])
def test_damaged_weights(saved, damage):
    path = saved / WEIGHTS
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"weights\.safetensors: does not hold the weights"):
        load_weights(VQGAN, saved)


def test_weights_of_another_size(saved, tmp_path):
    save_weights(VQGAN(replace(VQ, num_codes=9)), tmp_path / "other", {})
    (tmp_path / "other" / WEIGHTS).replace(saved / WEIGHTS)
    with pytest.raises(ValueError, match=r"weights\.safetensors: [\s\S]*size mismatch for quantizer\.codebook"):
        load_weights(VQGAN, saved)


def test_a_model_without_configuration_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match="Linear has no configuration"):
        save_weights(torch.nn.Linear(1, 1), tmp_path, {})


def test_provenance_must_be_json(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_weights(VQGAN(VQ), tmp_path, {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_config_from_dict():
    assert config_from_dict(VQGANConfig, {"widths": [8, 16], "num_downsamples": 1}) == VQGANConfig(
        widths=(8, 16), num_downsamples=1
    )
    assert config_from_dict(DVAEConfig, {}) == DVAEConfig()
