"""How often a classifier is right, overall and class by class. Everything follows from one table of counts."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def confusion_matrix(
    predicted: Int[Tensor, "samples"], actual: Int[Tensor, "samples"], num_classes: int
) -> Int[Tensor, "actual predicted"]:
    """How many samples of each actual class (row) were taken for each class (column).

    Samples whose actual class is -1, of none of the classes, are left out.
    Raises ``ValueError`` for a class outside 0 .. num_classes - 1.

    >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), num_classes=2)
    tensor([[1, 1],
            [0, 1]])
    """
    predicted, actual = predicted[actual != -1], actual[actual != -1]
    for name, classes in (("predicted", predicted), ("actual", actual)):
        if classes.numel() and not (classes.min() >= 0 and classes.max() < num_classes):
            raise ValueError(
                f"{name} classes run from {classes.min().item()} to {classes.max().item()}; "
                f"{num_classes} classes allow 0 to {num_classes - 1}"
            )
    pairs = actual.long() * num_classes + predicted.long()
    return torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def accuracy(confusion: Int[Tensor, "actual predicted"]) -> float:
    """Share of all samples on the diagonal, in [0, 1]; NaN without samples.

    >>> accuracy(torch.tensor([[1, 1], [0, 2]]))
    0.75
    """
    total = confusion.sum().item()
    return confusion.trace().item() / total if total else float("nan")


def recall(confusion: Int[Tensor, "actual predicted"]) -> Float[Tensor, "classes"]:
    """For each actual class the share that was recognized, in [0, 1]; NaN for a class without samples."""
    return confusion.diagonal().double() / confusion.sum(1)


def balanced_accuracy(confusion: Int[Tensor, "actual predicted"]) -> float:
    """Mean recall of the classes that have samples: every class counts alike, however rare; chance is 1 / classes.

    >>> balanced_accuracy(torch.tensor([[8, 0], [1, 1]]))  # recalls 1 and 1/2
    0.75
    """
    return recall(confusion).nanmean().item()
