"""New motion: of each class, with more and more levels drawn, and between two clips. What is shown of a model are the
means of its output, given the latents that were drawn."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from motionkit.fitting.surroundings import seeded
from motionkit.models.hg_vae import HGVAE
from motionkit.models.linear_prior import LinearPrior


def draw_classes(
    model: HGVAE, count: int, *, seed: int, drawn_levels: int | None = None
) -> tuple[Float[Tensor, "draws frames joints 3"], Int[Tensor, "draws"]]:
    """``count`` clips of each class of a model, class by class, and the classes. drawn_levels: see ``HGVAE.generate``;
    with the same seed z0 is the same.

    Raises ``ValueError`` for a model without classes.
    """
    if not model.config.num_classes:
        raise ValueError("the model has no classes; build it with num_classes")
    device = model.nodes.scale.device
    classes = torch.arange(model.config.num_classes, device=device).repeat_interleave(count)
    with seeded(device, seed):
        return model.generate(model.sample_top(len(classes)), classes, drawn_levels=drawn_levels).mean, classes


def draw_classes_linear(
    clips: Float[Tensor, "clips frames joints 3"],
    classes: Int[Tensor, "clips"],
    count: int,
    *,
    num_components: int,
    seed: int,
) -> tuple[Float[Tensor, "draws frames joints 3"], Int[Tensor, "draws"]]:
    """The same without a network: a ``LinearPrior`` of the clips of each class, of which there must be 2 or more.

    num_components: or half as many as a class has clips, if these are less.
    """
    drawn = []
    with seeded(clips.device, seed):
        for label in (kinds := classes.unique()):
            own = clips[classes == label]
            drawn.append(LinearPrior.fit(own, min(num_components, len(own) // 2)).sample(count, has_noise=False))
    return torch.cat(drawn), kinds.repeat_interleave(count)


def level_by_level(
    model: HGVAE, label: int | None = None, *, seed: int, most: int = 5
) -> dict[str, Float[Tensor, "frames joints 3"]]:
    """One draw as levels are added to z0, the others at their priors' means, by what is drawn: of all levels, or of
    ``most`` evenly chosen numbers of them. A level that stays is drawn with the same noise.

    Source: paper 4, Figure 5.
    """
    device, last = model.nodes.scale.device, len(model.config.levels) - 1
    classes = None if label is None else torch.tensor([label], device=device)
    rows = {}
    for level in sorted({round(step * last / max(1, most - 1)) for step in range(most)}):
        with seeded(device, seed):
            clip = model.generate(model.sample_top(1), classes, drawn_levels=level).mean[0]
        rows["z0" if level == 0 else f"z0 to z{level}"] = clip
    return rows


def between(
    model: HGVAE, ends: Float[Tensor, "two frames joints 3"], num_steps: int = 5
) -> Float[Tensor, "steps frames joints 3"]:
    """Clips at evenly spaced places, both ends included, of the line from the mean of z0 given one clip to that given
    another; all levels below are at their priors' means. For a model without classes."""
    first, second = model.top_of(ends).split(1, dim=1)
    weights = torch.linspace(0, 1, num_steps, device=ends.device)[:, None]
    return model.generate(torch.lerp(first, second, weights), drawn_levels=0).mean
