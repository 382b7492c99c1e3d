"""Two opinions and what they say together, against errors that are drawn."""

import math

import pytest
import torch

from motionkit.models.opinions import CORRELATION, share_of_second, variance_of_both


@pytest.mark.parametrize(("first", "second"), [(1.0, 1.0), (1.0, 0.3), (0.2, 0.5), (4.0, 2.0)])
def test_the_mean_of_both_errs_as_little_as_it_says_and_less_than_any_other(first, second):
    generator = torch.Generator().manual_seed(0)
    covariance = torch.tensor([[first, CORRELATION * (first * second) ** 0.5], [0, second]]).double()
    covariance[1, 0] = covariance[0, 1]
    errors = torch.randn(200_000, 2, generator=generator).double() @ torch.linalg.cholesky(covariance).t()

    def error(share):
        return torch.lerp(errors[:, 0], errors[:, 1], share).square().mean().item()

    one, other = torch.tensor([first]).double(), torch.tensor([second]).double()
    share = share_of_second(one, other).item()
    assert 0 < share < 1
    assert error(share) == pytest.approx(variance_of_both(one, other).item(), rel=0.02)
    assert error(share) < min(error(share - 0.1), error(share + 0.1), error(0.0), error(1.0))
    torch.testing.assert_close(variance_of_both(one, other), variance_of_both(other, one))


def test_an_opinion_much_less_sure_than_the_other_has_no_say():
    sure, unsure = torch.tensor([1e-4]), torch.tensor([1.0])
    assert share_of_second(sure, unsure).item() == 0
    assert share_of_second(unsure, sure).item() == 1
    assert variance_of_both(sure, unsure).item() == variance_of_both(unsure, sure).item() == sure.item()


def test_what_one_of_them_knows_is_known():
    nothing, something = torch.zeros(2), torch.tensor([1e-6, 4.0])
    for pair, share in (((nothing, nothing), 0), ((nothing, something), 0), ((something, nothing), 1)):
        assert torch.equal(share_of_second(*pair), torch.full((2,), float(share)))
        assert torch.equal(variance_of_both(*pair), nothing)


def test_a_variance_that_is_no_number_is_not_passed_over():
    assert share_of_second(torch.tensor([math.nan]), torch.ones(1)).isnan().all()
