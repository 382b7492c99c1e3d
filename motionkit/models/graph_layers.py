"""Graph convolutions over a few dozen nodes that each learn their own neighbors.

Volumes are (nodes, batch, features): with the nodes first, mixing the nodes of all clips is one matrix product, and so
is mapping their features; neither copies, where (batch, nodes, features) needs a product for each clip.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from motionkit.models.gaussian import LOG_VAR_RANGE, Gaussian


class GraphConv(nn.Module):
    """``S A W + b``: S mixes nodes, W maps features; both are learned, the activation is left to others.

    in_shape, out_shape: (nodes, features).
    has_node_bias: b has a number for each node and feature (the paper), else one for each feature (its program).

    Source: paper 4, Eq. 4 without its activation, which the program has in blocks alone.
    Differs: initial values keep the variance of their input. Of the program's a third is left after each layer, so that
    HG-VAE's latents begin at a hundredth of their noise and are found late.
    """

    def __init__(self, in_shape: tuple[int, int], out_shape: tuple[int, int], has_node_bias: bool = True) -> None:
        super().__init__()
        (nodes_in, features_in), (nodes_out, features_out) = in_shape, out_shape
        self.mix = nn.Parameter(torch.empty(nodes_out, nodes_in))
        self.weight = nn.Parameter(torch.empty(features_out, features_in))
        self.bias = nn.Parameter(torch.zeros(nodes_out if has_node_bias else 1, 1, features_out))
        for matrix in (self.mix, self.weight):
            nn.init.uniform_(matrix, -math.sqrt(3 / matrix.shape[1]), math.sqrt(3 / matrix.shape[1]))

    def start_as_published(self) -> None:
        """The program's initial values: uniform up to 1 / sqrt(features out)."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(len(self.weight)), 1 / math.sqrt(len(self.weight)))

    def forward(self, x: Float[Tensor, "nodes batch features"]) -> Float[Tensor, "nodes2 batch features2"]:
        nodes_out, nodes_in = self.mix.shape
        features_out, features_in = self.weight.shape
        # S (A W) = (S A) W: the cheaper one
        if nodes_out * features_in * (nodes_in + features_out) < nodes_in * features_out * (nodes_out + features_in):
            return F.linear(self._mixed(x), self.weight).add_(self.bias)  # in place: fresh memory is slow
        return self._mixed(F.linear(x, self.weight)).add_(self.bias)

    def _mixed(self, x: Tensor) -> Tensor:
        return (self.mix @ x.reshape(len(x), -1)).view(len(self.mix), *x.shape[1:])


class GraphBlock(nn.Module):
    """``A + alpha f(A)``: f is two graph convolutions, each with a GELU after it; alpha starts at 0 (ReZero).

    Differs from Eq. 5, which puts alpha on the skip: at 0 that would cut it. Source: Bachlechner et al. 2020.
    """

    def __init__(self, shape: tuple[int, int], has_node_bias: bool = True) -> None:
        super().__init__()
        self.first = GraphConv(shape, shape, has_node_bias)
        self.second = GraphConv(shape, shape, has_node_bias)
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[Tensor, "nodes batch features"]) -> Float[Tensor, "nodes batch features"]:
        return torch.addcmul(x, self.alpha, F.gelu(self.second(F.gelu(self.first(x)))))


class GraphGaussian(nn.Module):
    """A distribution of graphs: mean and log-variance, a graph convolution each."""

    def __init__(self, in_shape: tuple[int, int], out_shape: tuple[int, int], has_node_bias: bool = True) -> None:
        super().__init__()
        self.mean = GraphConv(in_shape, out_shape, has_node_bias)
        self.log_var = GraphConv(in_shape, out_shape, has_node_bias)

    def forward(self, x: Float[Tensor, "nodes batch features"], has_variance: bool = True) -> Gaussian:
        """Without a variance, where the answer needs none, it is NaN."""
        mean = self.mean(x)
        log_var = self.log_var(x).clamp(*LOG_VAR_RANGE) if has_variance else mean.new_tensor(math.nan).expand_as(mean)
        return Gaussian(mean, log_var)
