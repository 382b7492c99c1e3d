"""Trained models that come with the kit: ``load_pretrained("vqgan-2d-f16-128")``, no download and no training.

Each is a folder of ``motionkit.models.weights`` in ``pretrained/`` beside this file, lean and compact;
``pretrained/index.json`` holds their checksums. The record of the run that trained a model is its provenance.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import torch

from motionkit.data.atomic import written_whole
from motionkit.fitting.surroundings import seeded
from motionkit.models.dvae import DVAE
from motionkit.models.hg_vae import HGVAE
from motionkit.models.vqgan import VQGAN
from motionkit.models.weights import WEIGHTS, load_weights, save_weights

Model = VQGAN | DVAE | HGVAE

FOLDER = Path(__file__).with_suffix("")
INDEX = "index.json"


@dataclass(frozen=True)
class Pretrained:
    """What is known of a model before it is loaded.

    sha256: of its weights file. about: one line: what goes in, what it was trained on, how well it draws unseen clips.
    """

    sha256: str
    about: str


def read_index(folder: Path = FOLDER) -> dict[str, Pretrained]:
    """The trained models of a folder by name."""
    entries = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return {name: Pretrained(**entry) for name, entry in entries.items()}


PRETRAINED: Mapping[str, Pretrained] = MappingProxyType(read_index())


def load_pretrained(name: str, device: str | torch.device = "cpu", *, folder: Path = FOLDER) -> Model:
    """A trained model in evaluation mode, single precision.

    name: one of ``PRETRAINED``. Tokenizers are ``<model>-<view>-f<compression>-<codes>``, and ``-denoiser`` where one
        was trained to draw clean video of corrupted keypoints; models of clips are ``<model>-<joints>-<frames>``. The
        ``about`` of each says which windows it reads.
    folder: where models and their index lie, if not in the kit.

    The kit's tokenizers read heatmap video (B, 16 limbs, 32 frames, 64, 64) in [0, 1] of ``H36M_17`` at 20 fps, as
    ``HeatmapVideo(H36M_17, "2d", 64, 0.75, cameras)`` draws it; ``encode_windows`` goes from windows to tokens. Models
    of clips read windows of ``pelvis_windows``.

    >>> model = load_pretrained("vqgan-2d-f16-128")
    >>> tokens = model.encode(torch.zeros(1, 16, 32, 64, 64))
    >>> tuple(tokens.shape), tuple(model.decode(tokens).shape)
    ((1, 2, 4, 4), (1, 1, 32, 64, 64))

    Raises: ``ValueError`` for an unknown name, naming the nearest one, and for a file whose checksum is another,
    naming it and both sums; ``FileNotFoundError`` for a missing file.
    """
    index = read_index(folder)
    if name not in index:
        close = difflib.get_close_matches(name.lower(), index, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"no pretrained model is named {name!r}.{hint} There are: {', '.join(index) or 'none'}")
    path = folder / name / WEIGHTS
    if path.is_file() and (found := _sha256(path)) != index[name].sha256:
        raise ValueError(
            f"{path}: SHA-256 is {found}, expected {index[name].sha256}: the file is damaged; install the kit again"
        )
    return load_weights(get_args(Model), folder / name, device)[0]


def keep_pretrained(model: Model, name: str, about: str, provenance: Mapping[str, Any], folder: Path = FOLDER) -> None:
    """Put a trained model among the pretrained ones, in place of one of that name: ``for_inference``, and a tokenizer
    compact.

    Rounding their weights moved the SSIM of unseen clips by less than 0.003 and their PSNR by less than 0.01 dB, up or
    down, in six VQ-GANs of the kit; the file is a quarter as large.
    """
    save_weights(for_inference(model), folder / name, provenance, is_compact=not isinstance(model, HGVAE))
    index = read_index(folder) if (folder / INDEX).is_file() else {}
    index[name] = Pretrained(_sha256(folder / name / WEIGHTS), about)
    entries = {key: asdict(entry) for key, entry in sorted(index.items(), key=_by_numbers)}
    with written_whole(folder / INDEX) as aside:
        aside.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def for_inference(model: Model) -> Model:
    """The model without what training alone needs; ``reconstruct``, ``encode`` and ``decode`` stay equal to the bit.

    Leaves out the discriminator, and the running statistics of a moving-average codebook, which then is an ordinary
    one. Residual codebooks keep theirs; other models have none.
    """
    if not isinstance(model, VQGAN):
        return copy.deepcopy(model).eval()
    config = replace(model.config, adversarial_start=None)
    if config.quantizer == "ema":
        config = replace(config, quantizer="gradient")
    state = model.state_dict()
    with seeded(torch.device("cpu"), 0):  # weights that are replaced at once take no random numbers from others
        lean = VQGAN(config).to(next(model.parameters()).device)
    lean.load_state_dict({key: state[key] for key in lean.state_dict()})
    return lean.eval()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _by_numbers(item: tuple[str, Pretrained]) -> list[str | int]:
    """VQ-GANs before others, F8 before F16, special ones last."""
    words, numbers = re.split(r"\d+", item[0]), re.findall(r"\d+", item[0])
    return [words[-1] if numbers else item[0], words[0] != "vqgan-", *map(int, numbers)]
