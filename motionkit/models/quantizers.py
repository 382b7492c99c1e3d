"""Vector quantization: each latent vector is replaced by the nearest of ``num_codes`` code vectors.

Two codebooks behind one call, ``quantizer(z) -> Quantized``: ``GradientCodebook`` learns its codes from the loss,
``EMACodebook`` moves them to the running mean of the vectors they stand for and restarts codes that fall out of use.
Source: paper 1 (adversarially refined VQ-GAN), III-B, Eq. 4; moving averages: van den Oord et al. 2017, appendix A.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

CHUNK_ROWS = 2048  # scores of 2048 x 1024 floats stay in a core's cache while their maximum is looked up


@dataclass(frozen=True)
class Quantized:
    """What a quantizer returns for latents z of shape (B, C, *grid).

    z_q: (B, C, *grid) code vectors; their gradient goes to z unchanged (straight-through).
    tokens: (B, *grid) index of the nearest code, int64.
    codebook_loss: mean ||sg[z] - e||^2 per element; moves the codes (a constant for moving averages).
    commitment_loss: mean ||z - sg[e]||^2 per element; moves the encoder. Equal in value to ``codebook_loss``.
    loss: the weighted sum, the L_VQ of Eq. 4 and the paper's Q-loss.
    perplexity: exp(entropy) of this batch's tokens, 1 (one code does all) to num_codes (all equally used).
    """

    z_q: Tensor
    tokens: Tensor
    codebook_loss: Tensor
    commitment_loss: Tensor
    loss: Tensor
    perplexity: Tensor


def nearest_codes(vectors: Float[Tensor, "rows dim"], codebook: Float[Tensor, "codes dim"]) -> Int[Tensor, " rows"]:
    """Index of the code with the least Euclidean distance to each vector; of equally near codes any one.

    ||v - e||^2 = ||v||^2 - 2 (v . e - ||e||^2 / 2), so the nearest code has the greatest v . e - ||e||^2 / 2: one
    matrix product and a maximum, in single precision whatever the autocast setting. No gradient.
    """
    with torch.no_grad(), torch.autocast(vectors.device.type, enabled=False):
        vectors, codebook = vectors.detach().float(), codebook.detach().float()
        offset, columns = -0.5 * codebook.square().sum(1), codebook.t()
        if vectors.device.type != "cpu" or torch.compiler.is_compiling():
            return torch.addmm(offset, vectors, columns).argmax(1)
        tokens = torch.empty(len(vectors), dtype=torch.int64)
        scores = vectors.new_empty(min(CHUNK_ROWS, len(vectors)), len(codebook))
        best = vectors.new_empty(len(scores))
        for chunk, out in zip(vectors.split(CHUNK_ROWS), tokens.split(CHUNK_ROWS), strict=True):
            rows = len(chunk)
            torch.addmm(offset, chunk, columns, out=scores[:rows])
            torch.max(scores[:rows], 1, out=(best[:rows], out))  # faster than argmax
        return tokens


def code_statistics(
    vectors: Float[Tensor, "rows dim"], tokens: Int[Tensor, " rows"], num_codes: int
) -> tuple[Float[Tensor, " codes"], Float[Tensor, "codes dim"]]:
    """Number and sum of the vectors assigned to each code: (num_codes,) and (num_codes, dim), no gradient."""
    vectors = vectors.detach().float()
    counts = torch.bincount(tokens, minlength=num_codes).to(vectors.dtype)
    sums = vectors.new_zeros(num_codes, vectors.shape[1]).index_add_(0, tokens, vectors)
    return counts, sums


class GradientCodebook(nn.Module):
    """A codebook that is an ordinary parameter, moved by ``codebook_weight * codebook_loss``.

    num_codes, dim: codes are (num_codes, dim), initialized uniformly in +-1/num_codes.
    codebook_weight, commitment_weight: the weights of the two terms of Eq. 4, both 1 in the paper.
    Differs: the published code weighs the codebook term with 0.25; pass ``codebook_weight=0.25`` for that.
    """

    def __init__(self, num_codes: int, dim: int, codebook_weight: float = 1.0, commitment_weight: float = 1.0) -> None:
        super().__init__()
        self.codebook_weight = codebook_weight
        self.commitment_weight = commitment_weight
        self.codebook = nn.Parameter(torch.empty(num_codes, dim).uniform_(-1 / num_codes, 1 / num_codes))

    def forward(self, z: Float[Tensor, "batch dim *grid"]) -> Quantized:
        """Latents (B, dim, *grid) to ``Quantized``."""
        vectors = _rows(z, self.codebook.shape[1])
        tokens = nearest_codes(vectors, self.codebook)
        counts = torch.bincount(tokens, minlength=len(self.codebook))
        codes = F.embedding(tokens, self.codebook)
        codebook_loss = F.mse_loss(codes, vectors.detach())
        return _quantized(
            z, vectors, tokens, codes.detach(), counts, codebook_loss, self.codebook_weight, self.commitment_weight
        )

    def update(self) -> None:
        """Nothing to do: the optimizer moves the codes."""


class EMACodebook(nn.Module):
    """A codebook that follows the running mean of the vectors assigned to each code.

    In training mode a call adds its batch to the statistics; ``update()``, called once after each optimizer step,
    moves the codes. Between updates the codebook stands still, so gradient accumulation over several calls equals
    one call on the joined batch. The statistics are buffers and travel with checkpoints.

    num_codes, dim: codes are (num_codes, dim).
    commitment_weight: weight of the only loss term.
    decay: of the running counts and sums, per update, in [0, 1).
    restart_below: a code whose running count is below this share of the mean count becomes one of the last ``num_codes``
        vectors, each its own (a batch may have fewer vectors than there are codes), with the mean count, so that the
        average does not pull it back. 0 turns restarts off. All counts begin at zero: the first update also fills the
        codebook from the data.
    """

    def __init__(
        self, num_codes: int, dim: int, commitment_weight: float = 1.0, decay: float = 0.99, restart_below: float = 0.03
    ) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        if not 0 <= restart_below < 1:
            raise ValueError(f"restart_below must be in [0, 1), got {restart_below}")
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

    def forward(self, z: Float[Tensor, "batch dim *grid"]) -> Quantized:
        """Latents (B, dim, *grid) to ``Quantized``; in training mode the batch is added to the statistics."""
        vectors = _rows(z, self.codebook.shape[1])
        tokens = nearest_codes(vectors, self.codebook)
        codes = F.embedding(tokens, self.codebook)
        if self.training and torch.is_grad_enabled():
            counts, sums = code_statistics(vectors, tokens, len(self.codebook))
            self.new_counts += counts
            self.new_sums += sums
            picks = torch.randperm(len(vectors), device=vectors.device)[: len(self.codebook)]
            self.new_vectors.append(vectors.detach()[picks])
        else:
            counts = torch.bincount(tokens, minlength=len(self.codebook))
        return _quantized(z, vectors, tokens, codes, counts, None, 0.0, self.commitment_weight)

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
        self.new_vectors = []
        picks = torch.randperm(len(self.recent), device=self.recent.device) % self.num_recent.clamp(min=1)
        self.counts.lerp_(self.new_counts, 1 - self.decay)
        self.sums.lerp_(self.new_sums, 1 - self.decay)
        mean_count = self.counts.mean()
        restart = self.counts < self.restart_below * mean_count
        self.counts.copy_(torch.where(restart, mean_count, self.counts))
        self.sums.copy_(torch.where(restart[:, None], mean_count * self.recent[picks], self.sums))
        used = self.counts > torch.finfo(self.counts.dtype).tiny  # a count that has decayed to nothing has no mean
        self.codebook.copy_(torch.where(used[:, None], self.sums / self.counts[:, None], self.codebook))
        self.new_counts.zero_()
        self.new_sums.zero_()


def _of_all_processes(vectors: Tensor) -> list[Tensor]:
    gathered = [torch.empty_like(vectors) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(gathered, vectors.contiguous())
    return gathered


class _StraightThrough(torch.autograd.Function):
    """Forward: the codes, bit for bit. Backward: the gradient goes to the latents as if nothing had happened."""

    @staticmethod
    def forward(ctx, z: Tensor, codes: Tensor) -> Tensor:
        return codes.view_as(codes)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def _rows(z: Tensor, dim: int) -> Tensor:
    """(B, dim, *grid) as float32 rows (B * grid, dim); a view when channels are stored last."""
    if z.ndim < 2 or z.shape[1] != dim:
        raise ValueError(f"latents of shape {tuple(z.shape)} need {dim} channels on axis 1, as many as a code")
    return z.movedim(1, -1).reshape(-1, dim).float()


def _quantized(
    z: Tensor,
    vectors: Tensor,
    tokens: Tensor,
    codes: Tensor,
    counts: Tensor,
    codebook_loss: Tensor | None,
    codebook_weight: float,
    commitment_weight: float,
) -> Quantized:
    commitment_loss = F.mse_loss(vectors, codes)
    loss = commitment_weight * commitment_loss
    if codebook_loss is None:
        codebook_loss = commitment_loss.detach()
    else:
        loss = loss + codebook_weight * codebook_loss
    shape = (z.shape[0], *z.shape[2:])
    share = counts / counts.sum()
    return Quantized(
        z_q=_StraightThrough.apply(vectors, codes).reshape(*shape, -1).movedim(-1, 1),
        tokens=tokens.reshape(shape),
        codebook_loss=codebook_loss,
        commitment_loss=commitment_loss,
        loss=loss,
        perplexity=torch.special.entr(share).sum().exp(),
    )
