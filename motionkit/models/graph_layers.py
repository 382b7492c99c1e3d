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
from torch.autograd.function import once_differentiable

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
        return _GraphConv.apply(*_in_one_type(x, self.mix, self.weight, self.bias))


class _GraphConv(torch.autograd.Function):
    """``S A W + b`` with its own gradients. Torch's would clone one for each sum in place on a view, and sums out of
    place take fresh memory, which is slow."""

    @staticmethod
    def forward(ctx, x: Tensor, mix: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        (nodes_out, nodes_in), (features_out, features_in) = mix.shape, weight.shape
        # S (A W) = (S A) W: the cheaper one
        ctx.mixes_first = nodes_out * features_in * (nodes_in + features_out) < nodes_in * features_out * (
            nodes_out + features_in
        )
        between = _mixed(x, mix) if ctx.mixes_first else _mapped(x, weight)
        ctx.save_for_backward(x, mix, weight, between)
        ctx.bias_shape = bias.shape
        return (_mapped(between, weight) if ctx.mixes_first else _mixed(between, mix)).add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, mix, weight, between = ctx.saved_tensors
        for_x, for_mix, for_weight, for_bias = ctx.needs_input_grad
        grad, grad_mix, grad_weight = grad.contiguous(), None, None
        if ctx.mixes_first:
            if for_weight:
                grad_weight = grad.flatten(0, 1).t() @ between.flatten(0, 1)
            grad_between = _mapped(grad, weight.t())
            if for_mix:
                grad_mix = grad_between.flatten(1) @ x.flatten(1).t()
            grad_x = _mixed(grad_between, mix.t()) if for_x else None
        else:
            if for_mix:
                grad_mix = grad.flatten(1) @ between.flatten(1).t()
            grad_between = _mixed(grad, mix.t())
            if for_weight:
                grad_weight = grad_between.flatten(0, 1).t() @ x.flatten(0, 1)
            grad_x = _mapped(grad_between, weight.t()) if for_x else None
        return grad_x, grad_mix, grad_weight, grad.sum_to_size(ctx.bias_shape) if for_bias else None


def _mixed(x: Tensor, mix: Tensor) -> Tensor:
    return (mix @ x.flatten(1)).view(len(mix), *x.shape[1:])


def _mapped(x: Tensor, weight: Tensor) -> Tensor:
    return (x.flatten(0, 1) @ weight.t()).view(*x.shape[:2], len(weight))


def added(x: Float[Tensor, "*shape"], alpha: Tensor, y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """``x + alpha y``, for one alpha, of shape () or (1,).

    Under autocast the sum is of half precision, as the products are: an alpha below 1/256 then moves nothing that is as
    large as y, until its gradient, which does not depend on it, has made it larger.
    """
    return _Added.apply(*_in_one_type(x, alpha, y))


class _Added(torch.autograd.Function):
    """With its own gradients: torch's of ``addcmul`` are four passes over fresh memory, and two are enough."""

    @staticmethod
    def forward(ctx, x: Tensor, alpha: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(alpha, y)
        return torch.addcmul(x, alpha, y)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        alpha, y = ctx.saved_tensors
        for_alpha, for_y = ctx.needs_input_grad[1:]
        grad_alpha = _product(grad, y).to(alpha).view_as(alpha) if for_alpha else None
        return grad, grad_alpha, grad * alpha if for_y else None


def _product(one: Tensor, other: Tensor) -> Float[Tensor, ""]:
    """Sum of products. Processors have no such sum of halves, but products of matrices, added up in single precision:
    of one that has a few dozen nodes squared, the diagonal is wanted. A compiler makes it a part of the pass before."""
    if torch.compiler.is_compiling():
        return (one.float() * other.float()).sum()
    if one.device.type != "cpu" or one.dtype in (torch.float32, torch.float64):
        return torch.dot(one.flatten(), other.flatten())
    return (one.flatten(1) @ other.flatten(1).t()).diagonal().sum(dtype=torch.float32)


def _in_one_type(*tensors: Tensor) -> tuple[Tensor, ...]:
    """As autocast would have them, which does not look into functions with their own gradients: in its type, but for
    double precision, which it leaves alone."""
    device = tensors[0].device.type
    if tensors[0].dtype == torch.float64 or not torch.is_autocast_enabled(device):
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype(device)) for tensor in tensors)


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
        return added(x, self.alpha, F.gelu(self.second(F.gelu(self.first(x)))))


class GraphGaussian(nn.Module):
    """A distribution of graphs: mean and log-variance, a graph convolution each."""

    def __init__(self, in_shape: tuple[int, int], out_shape: tuple[int, int], has_node_bias: bool = True) -> None:
        super().__init__()
        self.mean = GraphConv(in_shape, out_shape, has_node_bias)
        self.log_var = GraphConv(in_shape, out_shape, has_node_bias)

    def forward(self, x: Float[Tensor, "nodes batch features"], has_variance: bool = True) -> Gaussian:
        """Without a variance, where the answer needs none, it is NaN."""
        kind = torch.promote_types(x.dtype, torch.float32)  # products may be of half precision, densities not
        mean = self.mean(x).to(kind)
        log_var = (
            self.log_var(x).to(kind).clamp(*LOG_VAR_RANGE)
            if has_variance
            else mean.new_tensor(math.nan).expand_as(mean)
        )
        return Gaussian(mean, log_var)
