"""New motion: of each class, with more and more levels drawn, and between two clips. What is shown of a model are the
means of its output, given the latents that were drawn."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from motionkit.fitting.surroundings import seeded
from motionkit.models.hg_vae import HGVAE
from motionkit.models.linear_prior import LinearPrior

CHUNK = 256  # clips that a model looks at together


def draw_classes(
    model: HGVAE,
    count: int,
    *,
    seed: int,
    drawn_levels: int | None = None,
    like: tuple[Float[Tensor, "clips frames joints 3"], Int[Tensor, "clips"]] | None = None,
) -> tuple[Float[Tensor, "draws frames joints 3"], Int[Tensor, "draws"]]:
    """``count`` clips of each class of a model, class by class, and the classes. drawn_levels: see ``HGVAE.generate``;
    with the same seed z0 is the same.

    like: clips and their classes. z0 is then drawn from the normal distribution of the posteriors of a class' clips,
        and not from its prior, which is that of all classes together.
    Raises ``ValueError`` for a model without classes, and for one of its classes with fewer than 2 clips to be like.
    Source of ``like``: Ghosh and others 2020, "From variational to deterministic autoencoders", section 4; here a
    normal distribution a class.
    """
    if not model.config.num_classes:
        raise ValueError("the model has no classes; build it with num_classes")
    device = model.nodes.scale.device
    classes = torch.arange(model.config.num_classes, device=device).repeat_interleave(count)
    with seeded(device, seed):
        z0 = model.sample_top(len(classes)) if like is None else tops_like(model, *like, count)
        return model.generate(z0, classes, drawn_levels=drawn_levels).mean, classes


@torch.no_grad()
def tops_like(
    model: HGVAE, clips: Float[Tensor, "clips frames joints 3"], classes: Int[Tensor, "clips"], count: int
) -> Float[Tensor, "nodes draws features"]:
    """``count`` z0 for each class of a model, class by class, of the normal distribution of draws from its clips'
    posteriors. The noise is of torch's global generator.

    Raises ``ValueError`` for a class with fewer than 2 clips.
    """
    parts = zip(clips.split(CHUNK), classes.split(CHUNK), strict=True)
    tops = torch.cat([model.infer(*part, has_output=False).latents[0] for part in parts], 1)
    drawn = []
    for label in range(model.config.num_classes):
        own = tops[:, classes == label].movedim(1, 0)
        if len(own) < 2:
            raise ValueError(f"{len(own)} clips are of class {label}; to be like them takes 2 or more")
        # weights of the clips themselves: the covariance of few clips has no root, and none is needed
        weights = torch.randn(count, len(own), device=own.device) / (len(own) - 1) ** 0.5
        drawn.append(own.mean(0) + torch.einsum("dc,cnf->dnf", weights, own - own.mean(0)))
    return torch.cat(drawn).movedim(0, 1)


def draw_classes_linear(
    clips: Float[Tensor, "clips frames joints 3"],
    classes: Int[Tensor, "clips"],
    count: int,
    *,
    num_components: int,
    seed: int,
) -> tuple[Float[Tensor, "draws frames joints 3"], Int[Tensor, "draws"]]:
    """The same without a network: a ``LinearPrior`` of the clips of each class, of which there must be 3 or more.

    num_components: or half as many as a class has clips, if these are less.
    Raises ``ValueError`` for a class with fewer clips.
    """
    drawn = []
    with seeded(clips.device, seed):
        for label in (kinds := classes.unique()):
            own = clips[classes == label]
            if len(own) < 3:
                raise ValueError(f"{len(own)} clips are of class {label}; a linear model of them takes 3 or more")
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
