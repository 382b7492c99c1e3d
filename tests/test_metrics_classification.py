"""Confusion matrices and what follows from them: hand-computed values, a slow twin, invariances."""

import math

import pytest
import torch

from motionkit.metrics.classification import accuracy, balanced_accuracy, confusion_matrix, recall


def samples(count: int, num_classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Predicted and actual classes: deterministic, uneven, right about every third time."""
    actual = torch.arange(count) ** 2 % num_classes
    return torch.where(torch.arange(count) % 3 == 0, actual, torch.arange(count) % num_classes), actual


def test_the_matrix_counts_like_a_loop():
    predicted, actual = samples(101)
    table = confusion_matrix(predicted, actual, 5)
    for row in range(5):
        for column in range(5):
            pairs = zip(actual.tolist(), predicted.tolist(), strict=True)
            assert table[row, column] == sum(pair == (row, column) for pair in pairs)


def test_batches_add_up():
    predicted, actual = samples(60)
    pairs = zip(predicted.split(20), actual.split(20), strict=True)
    assert torch.equal(sum(confusion_matrix(p, a, 4) for p, a in pairs), confusion_matrix(predicted, actual, 4))


def test_accuracy_and_recall_by_hand():
    table = torch.tensor([[3, 1, 0], [0, 0, 2], [0, 0, 4]])
    assert accuracy(table) == pytest.approx(7 / 10)
    torch.testing.assert_close(recall(table), torch.tensor([0.75, 0.0, 1.0], dtype=torch.float64))
    assert balanced_accuracy(table) == pytest.approx(1.75 / 3)


def test_balanced_accuracy_does_not_see_how_often_a_class_occurs():
    table = torch.tensor([[3, 1], [4, 4]])
    often = table * torch.tensor([[100], [1]])
    assert balanced_accuracy(often) == pytest.approx(balanced_accuracy(table))
    assert accuracy(often) != pytest.approx(accuracy(table), abs=1e-3)


def test_always_the_commonest_class_is_chance_when_balanced():
    actual = torch.tensor([0] * 90 + [1] * 10)
    table = confusion_matrix(torch.zeros(100, dtype=torch.long), actual, 2)
    assert (accuracy(table), balanced_accuracy(table)) == (0.9, 0.5)


def test_classes_without_samples_do_not_count():
    table = confusion_matrix(torch.tensor([0, 1]), torch.tensor([0, 0]), 3)
    assert balanced_accuracy(table) == 0.5
    assert recall(table).isnan().tolist() == [False, True, True]
    assert math.isnan(accuracy(torch.zeros(3, 3, dtype=torch.long)))


def test_samples_of_no_class_are_left_out():
    predicted, actual = samples(50)
    everyone = confusion_matrix(torch.cat([predicted, predicted]), torch.cat([actual, torch.full((50,), -1)]), 4)
    assert torch.equal(everyone, confusion_matrix(predicted, actual, 4))
    assert confusion_matrix(predicted, torch.full((50,), -1), 4).sum() == 0


@pytest.mark.parametrize(("predicted", "actual", "name"), [([3], [0], "predicted"), ([0], [-2], "actual")])
def test_a_class_out_of_range_is_named(predicted, actual, name):
    with pytest.raises(ValueError, match=f"{name} classes .* 3 classes allow 0 to 2"):
        confusion_matrix(torch.tensor(predicted), torch.tensor(actual), 3)
