"""What two sources say of numbers that are not seen, each an expectation and a variance of its error, and what they say
together: the mean of both that errs least.

Both miss what nobody could know of a number, and what people do whom neither has met: most of the surer one's error is
the other's too. What one errs besides is its own. So each has a say, however little it knows.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

COMMON = 0.8  # of the lesser variance is of the error that both make: measured .65 to .9


def share_of_second(first: Float[Tensor, "*shape"], second: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Weight of the second opinion, 0 to 1, by the variances of both [m^2], which are finite; where both know, 0."""
    common = _common(first, second)
    of_first, of_second = first - common, second - common
    return torch.where(of_first + of_second == 0, 0.0, of_first / (of_first + of_second))


def variance_of_both(first: Float[Tensor, "*shape"], second: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """That of the mean in which the second opinion has ``share_of_second`` [m^2]; never more than either."""
    share, common = share_of_second(first, second), _common(first, second)
    return common + (1 - share).square() * (first - common) + share.square() * (second - common)


def spread_of_draws(
    first: Float[Tensor, "*shape"], second: Float[Tensor, "*shape"], true: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """By what the mean of a draw of each opinion, drawn apart and weighed by ``share_of_second``, is to be stretched so
    that it varies as that mean errs.

    first, second: the variances by which they are drawn and weighed. true: that of the errors of either.
    """
    share = share_of_second(first, second)
    squares = (1 - share).square(), share.square()
    apart = squares[0] * first + squares[1] * second
    together = true * (COMMON + (1 - COMMON) * (squares[0] + squares[1]))
    return torch.where(apart == 0, 1.0, together / apart).sqrt()


def _common(first: Tensor, second: Tensor) -> Tensor:
    return COMMON * torch.minimum(first, second)
