"""What two sources say of numbers that are not seen, each an expectation and a variance of its error, and what they say
together: the mean of both that errs least.

Both misjudge people whom neither has met, and much alike: their errors are correlated. The mean of two such opinions
leans on the surer one more than that of independent ones, and one much less sure has no say in it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

CORRELATION = 0.25  # of two opinions' errors on people new to both: measured .2 to .9, in long gaps most


def share_of_second(first: Float[Tensor, "*shape"], second: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Weight of the second opinion, 0 to 1, by the variances of both [m^2], which are finite; where both know, 0."""
    common = CORRELATION * first.sqrt() * second.sqrt()
    total = first + second - 2 * common
    return torch.where(total == 0, 0.0, (first - common) / total).clamp(0, 1)


def variance_of_both(first: Float[Tensor, "*shape"], second: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """That of the mean in which the second opinion has ``share_of_second`` [m^2]; never more than either."""
    share = share_of_second(first, second)
    common = CORRELATION * first.sqrt() * second.sqrt()
    return (1 - share).square() * first + share.square() * second + 2 * share * (1 - share) * common
