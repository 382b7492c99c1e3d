"""Codebooks: each latent vector is replaced by the nearest of ``num_codes`` code vectors.

``GradientCodebook`` learns its codes from the loss. ``EMACodebook`` moves them to the running mean of the vectors they
stand for and restarts codes that fall out of use. ``ResidualCodebooks`` are several of the latter, one after another,
each for what those before it left over.
Source: paper 1 (adversarially refined VQ-GAN), III-B, Eq. 4; moving averages: van den Oord et al. 2017, appendix A.1;
residuals: Zeghidour et al. 2021 (SoundStream), III-C, and Lee et al. 2022 (RQ-VAE), 3.1.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from motionkit.models.quantizers.lookup import Found, look_up
from motionkit.models.quantizers.quantized import (
    Quantized,
    counts_to_perplexity,
    straight_through,
    to_grid,
    to_rows,
    to_token_grid,
)


class GradientCodebook(nn.Module):
    """A codebook that is an ordinary parameter, moved by ``codebook_weight * codebook_loss``.

    num_codes, dim: codes are (num_codes, dim), initialized uniformly in +-1/num_codes.
    codebook_weight, commitment_weight: the weights of the two terms of Eq. 4, both 1 in the paper.
    Differs: the published code weighs the codebook term with 0.25; pass ``codebook_weight=0.25`` for that.
    """

    is_nearest = True

    def __init__(self, num_codes: int, dim: int, codebook_weight: float = 1.0, commitment_weight: float = 1.0) -> None:
        super().__init__()
        self.num_codes = num_codes
        self.bits_per_cell = math.log2(num_codes)
        self.codebook_weight = codebook_weight
        self.commitment_weight = commitment_weight
        self.codebook = nn.Parameter(torch.empty(num_codes, dim).uniform_(-1 / num_codes, 1 / num_codes))

    def forward(self, z: Float[Tensor, "batch dim *grid"]) -> Quantized:
        """Latents (B, dim, *grid) to ``Quantized``."""
        vectors = to_rows(z, self.codebook.shape[1])
        found = look_up(vectors, self.codebook, with_sums=torch.is_grad_enabled() and self.codebook.requires_grad)
        return _quantized(z, vectors, self.codebook, found, self.codebook_weight, self.commitment_weight)

    def codes(self, tokens: Int[Tensor, "*any"]) -> Float[Tensor, "*any dim"]:
        """The vectors that tokens stand for."""
        return F.embedding(tokens, self.codebook)

    def update(self) -> None:
        """Nothing to do: the optimizer moves the codes."""


class EMACodebook(nn.Module):
    """A codebook that follows the running mean of the vectors assigned to each code.

    In training mode a call adds its batch to the statistics; ``update()``, called once after each optimizer step,
    moves the codes. Between updates the codebook stands still, so gradient accumulation over several calls equals
    one call on the joined batch. The statistics are buffers and travel with checkpoints. ``train()`` and ``eval()``
    drop what was gathered for an update that never came, as when a loss that was not finite ended the training.

    num_codes, dim: codes are (num_codes, dim).
    commitment_weight: weight of the only loss term.
    decay: of the running counts and sums, per update, in [0, 1).
    restart_below: a code whose running count is below this share of the mean count becomes one of the last
        ``num_codes`` vectors, each its own (a batch may have fewer vectors than there are codes), with the mean count,
        so that the average does not pull it back. 0 turns restarts off. All counts begin at zero: the first update
        also fills the codebook from the data.
    """

    is_nearest = True

    def __init__(
        self, num_codes: int, dim: int, commitment_weight: float = 1.0, decay: float = 0.99, restart_below: float = 0.03
    ) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        if not 0 <= restart_below < 1:
            raise ValueError(f"restart_below must be in [0, 1), got {restart_below}")
        self.num_codes = num_codes
        self.bits_per_cell = math.log2(num_codes)
        self.commitment_weight = commitment_weight
        self.decay = decay
        self.restart_below = restart_below
        self.register_buffer("codebook", torch.empty(num_codes, dim).uniform_(-1 / num_codes, 1 / num_codes))
        self.register_buffer("counts", torch.zeros(num_codes))
        self.register_buffer("sums", torch.zeros(num_codes, dim))
        self.register_buffer("recent", torch.zeros(num_codes, dim))  # vectors, the newest first
        self.register_buffer("num_recent", torch.zeros((), dtype=torch.int64))
        # what the calls since the last update have gathered: empty between steps, so not part of a checkpoint
        self.register_buffer("new_counts", torch.zeros(num_codes), persistent=False)
        self.register_buffer("new_sums", torch.zeros(num_codes, dim), persistent=False)
        self.new_vectors: list[Tensor] = []

    def train(self, mode: bool = True) -> EMACodebook:
        if self.new_vectors:
            self._forget_new()
        return super().train(mode)

    def forward(self, z: Float[Tensor, "batch dim *grid"]) -> Quantized:
        """Latents (B, dim, *grid) to ``Quantized``; in training mode the batch is added to the statistics."""
        vectors = to_rows(z, self.codebook.shape[1])
        is_learning = self.training and torch.is_grad_enabled()
        found = look_up(vectors, self.codebook, with_sums=is_learning)
        if is_learning:
            picks = torch.randperm(len(vectors), device=vectors.device)[: self.num_codes]
            self.new_vectors.append(vectors.detach()[picks])
            self.new_counts += found.counts
            self.new_sums += found.sums
        return _quantized(z, vectors, self.codebook, found, 0.0, self.commitment_weight)

    def codes(self, tokens: Int[Tensor, "*any"]) -> Float[Tensor, "*any dim"]:
        """The vectors that tokens stand for."""
        return F.embedding(tokens, self.codebook)

    @torch.no_grad()
    def update(self) -> None:
        """Moves the codes by the statistics gathered since the last update and restarts unused ones.

        Under ``torch.distributed`` the statistics and vectors of all processes are brought together: the codebooks stay
        equal, and are those of as many calls one after the other.
        """
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(self.new_counts)
            torch.distributed.all_reduce(self.new_sums)
            self.new_vectors = [part for vectors in self.new_vectors for part in _of_all_processes(vectors)]
        for vectors in self.new_vectors:
            self.recent.copy_(torch.cat([vectors, self.recent])[: len(self.recent)])
            self.num_recent.add_(len(vectors)).clamp_(max=len(self.recent))
        picks = torch.randperm(len(self.recent), device=self.recent.device) % self.num_recent.clamp(min=1)
        self.counts.lerp_(self.new_counts, 1 - self.decay)
        self.sums.lerp_(self.new_sums, 1 - self.decay)
        mean_count = self.counts.mean()
        restart = self.counts < self.restart_below * mean_count
        self.counts.copy_(torch.where(restart, mean_count, self.counts))
        self.sums.copy_(torch.where(restart[:, None], mean_count * self.recent[picks], self.sums))
        used = self.counts > torch.finfo(self.counts.dtype).tiny  # a count that has decayed to nothing has no mean
        self.codebook.copy_(torch.where(used[:, None], self.sums / self.counts[:, None], self.codebook))
        self._forget_new()

    def _forget_new(self) -> None:
        self.new_counts.zero_()
        self.new_sums.zero_()
        self.new_vectors = []


class ResidualCodebooks(nn.Module):
    """``depth`` moving-average codebooks: the first stands for the latents, each next one for what is left over.

    Tokens have a last axis of length ``depth``, coarse to fine; ``codes`` takes the first few of them as well and gives
    the coarser vectors. A cell takes depth * log2(num_codes) bits.

    num_codes: of each codebook; they share nothing. The other settings are those of ``EMACodebook``.
    loss: the commitment losses of all depths, each for the sum of the codes so far, summed up (Lee et al. 2022).
    perplexity: geometric mean over the depths.
    """

    is_nearest = True

    def __init__(
        self,
        num_codes: int,
        dim: int,
        depth: int,
        commitment_weight: float = 1.0,
        decay: float = 0.99,
        restart_below: float = 0.03,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        self.num_codes = num_codes
        self.bits_per_cell = depth * math.log2(num_codes)
        books = (EMACodebook(num_codes, dim, commitment_weight, decay, restart_below) for _ in range(depth))
        self.books = nn.ModuleList(books)

    def forward(self, z: Float[Tensor, "batch dim *grid"]) -> Quantized:
        """Latents (B, dim, *grid) to ``Quantized``, tokens (B, *grid, depth)."""
        rest, parts = z.float(), []
        for book in self.books:
            parts.append(book(rest))
            rest = rest - parts[-1].z_q.detach()
        tokens = torch.stack([part.tokens for part in parts], -1)
        rows = to_rows(z, self.books[0].codebook.shape[1])
        codes = self.codes(tokens).detach().reshape(rows.shape)
        return replace(
            parts[-1],
            z_q=to_grid(straight_through(rows, codes), z),
            tokens=tokens,
            codebook_loss=sum(part.codebook_loss for part in parts),
            commitment_loss=sum(part.commitment_loss for part in parts),
            loss=sum(part.loss for part in parts),
            perplexity=torch.stack([part.perplexity for part in parts]).log().mean().exp(),
        )

    def codes(self, tokens: Int[Tensor, "*any depth"]) -> Float[Tensor, "*any dim"]:
        """The vectors that tokens stand for: the sums of their codes over the last axis, which may be shorter.

        Raises ``ValueError`` for a longer one.
        """
        if not 1 <= tokens.shape[-1] <= len(self.books):
            raise ValueError(
                f"tokens of shape {tuple(tokens.shape)}: the last axis is the depth, 1 to {len(self.books)}"
            )
        return sum(book.codes(level) for book, level in zip(self.books, tokens.unbind(-1), strict=False))

    def update(self) -> None:
        """Moves the codes of all depths."""
        for book in self.books:
            book.update()


def _of_all_processes(vectors: Tensor) -> list[Tensor]:
    gathered = [torch.empty_like(vectors) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(gathered, vectors.contiguous())
    return gathered


def _quantized(
    z: Tensor, vectors: Tensor, codebook: Tensor, found: Found, codebook_weight: float, commitment_weight: float
) -> Quantized:
    z_q, codebook_loss, commitment_loss = _Gradients.apply(
        vectors, codebook, found.codes, found.error, found.counts, found.sums
    )
    loss = commitment_weight * commitment_loss
    if codebook.requires_grad:
        loss = loss + codebook_weight * codebook_loss
    return Quantized(
        z_q=to_grid(z_q, z),
        tokens=to_token_grid(found.tokens, z),
        codebook_loss=codebook_loss if codebook.requires_grad else codebook_loss.detach(),
        commitment_loss=commitment_loss,
        loss=loss,
        perplexity=counts_to_perplexity(found.counts),
    )


class _Gradients(torch.autograd.Function):
    """What a lookup has found, with its gradients: those of the codes go straight through to the vectors, those of the
    two losses, both of the value ``error``, to the codebook and to the vectors.

    The codebook's needs no second pass: sum over the vectors v of a code e of (e - v) = count * e - sum.
    """

    @staticmethod
    def forward(ctx, vectors, codebook, codes, error, counts, sums):
        ctx.set_materialize_grads(False)
        # a codebook without gradients may be moved before the backward pass: it is not held
        ctx.save_for_backward(vectors, codes, *((codebook, counts, sums) if ctx.needs_input_grad[1] else ()))
        return codes.view_as(codes), error.clone(), error.clone()

    @staticmethod
    def backward(ctx, grad_codes, grad_codebook_loss, grad_commitment):
        vectors, codes, *statistics = ctx.saved_tensors
        scale = 2 / vectors.numel()
        grad_vectors, grad_codebook = grad_codes, None
        if ctx.needs_input_grad[0] and grad_commitment is not None:
            grad_vectors = torch.sub(vectors, codes).mul_(scale * grad_commitment)
            if grad_codes is not None:
                grad_vectors += grad_codes
        if ctx.needs_input_grad[1] and grad_codebook_loss is not None:
            codebook, counts, sums = statistics
            grad_codebook = (scale * grad_codebook_loss) * (counts[:, None] * codebook - sums)
        return grad_vectors, grad_codebook, None, None, None, None
