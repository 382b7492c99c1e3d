"""The adversarial part of an autoencoder's training: its schedule, its weight, and its losses in one shared pass.

Source: paper 1 (adversarially refined VQ-GAN), III-B, Eq. 2 and 5; the adaptive weight is that of its published code.
Differs: the warm-up and the ramp, off by default, are not published.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motionkit.models.discriminator import hinge_loss_discriminator, hinge_loss_generator


def adversarial_strength(step: int, start: int | None, warmup: int = 0, ramp: int = 0) -> float | None:
    """Share of its adversarial term that the generator feels in ``step``; ``None`` while the discriminator rests.

    From ``start`` on the discriminator learns, for ``warmup`` steps alone (0); then the generator's term grows evenly
    over ``ramp`` steps to its full strength (1). A ``start`` of ``None`` never comes.

    >>> [adversarial_strength(step, start=1, warmup=2, ramp=2) for step in range(6)]
    [None, 0.0, 0.0, 0.5, 1.0, 1.0]
    """
    if start is None or step < start:
        return None
    felt = step - start - warmup + 1
    return min(1.0, max(0, felt) / max(1, ramp))


def adversarial_losses(
    discriminator: nn.Module,
    output: Float[Tensor, "*clip"],
    target: Float[Tensor, "*clip"],
    last_layer: Tensor,
    leaf: Float[Tensor, "*clip"],
    gradient: Float[Tensor, "*clip"],
    *,
    strength: float = 1.0,
    scale: float = 0.8,
    cap: float = 1e4,
    factor: float = 1.0,
) -> tuple[Float[Tensor, ""], Float[Tensor, "*any"], dict[str, Tensor]]:
    """The generator's weighted loss, its gradient at ``output``, and what a model's ``loss`` adds to its result.

    The latter: ``"loss/discriminator"``, and, detached, ``"adversarial"`` (unweighted), ``"adversarial_weight"``,
    ``"logit_real"`` and ``"logit_fake"``. One look at the target and one at the output serve both players.

    output: of the generator, a function of ``last_layer``, whose graph is kept. leaf: the same values, float32, without
        that graph but with gradients of its own.
    gradient: of the reconstruction loss at the output, for ``adaptive_weight``, which explains scale and cap.
    strength: of the generator's term, see ``adversarial_strength``; at 0 loss and gradient are zeros of shape ().
    factor: multiplies the losses of both players.
    """
    is_felt = strength > 0
    fake, real = discriminator(leaf if is_felt else leaf.detach()), discriminator(target)
    adversarial = hinge_loss_generator(fake)
    weight = push = leaf.new_zeros(())
    if is_felt:
        (push,) = torch.autograd.grad(adversarial, leaf, retain_graph=True)
        weight = factor * strength * adaptive_weight(output, last_layer, gradient, push, scale, cap)
    losses = {
        "loss/discriminator": factor * hinge_loss_discriminator(real, fake),
        "adversarial": adversarial.detach(),
        "adversarial_weight": weight,
        "logit_real": real.detach().mean(),
        "logit_fake": fake.detach().mean(),
    }
    return weight * adversarial.detach(), weight * push, losses


def adaptive_weight(
    output: Float[Tensor, "*clip"],
    last_layer: Tensor,
    reconstruction_gradient: Float[Tensor, "*clip"],
    adversarial_gradient: Float[Tensor, "*clip"],
    scale: float,
    cap: float,
) -> Float[Tensor, ""]:
    """scale * min(cap, |dL_rec / dw| / (|dL_adv / dw| + 1e-4)), the lambda of Eq. 2: both losses pull equally at w.

    output: a function of ``last_layer`` (w); the gradients are those of the two losses with respect to ``output``.
    Source: the paper calls lambda a hyperparameter; this rule is that of its published code and of Esser et al. 2021.
    """
    pulls = [
        torch.autograd.grad(output, last_layer, gradient.to(output.dtype), retain_graph=True)[0].float().norm()
        for gradient in (reconstruction_gradient, adversarial_gradient)
    ]
    return scale * (pulls[0] / (pulls[1] + 1e-4)).clamp(max=cap)


class Injected(torch.autograd.Function):
    """A loss value whose gradient with respect to the output is already known: ``apply(output, value, gradient)``."""

    @staticmethod
    def forward(ctx, output: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient.to(output.dtype))
        return value.clone()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return grad.to(gradient.dtype) * gradient, None, None
