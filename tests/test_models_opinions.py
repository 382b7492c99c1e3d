"""Two opinions and what they say together, against errors that are drawn."""

import math

import pytest
import torch

from motionkit.models.opinions import COMMON, share_of_second, spread_of_draws, variance_of_both


@pytest.mark.parametrize(("first", "second"), [(1.0, 1.0), (1.0, 0.3), (0.2, 0.5), (4.0, 2.0)])
def test_the_mean_of_both_errs_as_little_as_it_says_and_less_than_any_other(first, second):
    generator = torch.Generator().manual_seed(0)
    covariance = torch.tensor([[first, COMMON * min(first, second)], [0, second]]).double()
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


def test_the_less_sure_an_opinion_the_less_it_says_and_there_is_a_limit_to_what_both_know():
    sure, unsure = torch.full((40,), 1e-2), torch.logspace(-2, 6, 40)
    shares = share_of_second(sure, unsure)
    assert (shares.diff() < 0).all()
    assert shares[0].item() == pytest.approx(0.5)
    assert 0 < shares[-1] < 1e-8
    torch.testing.assert_close(share_of_second(unsure, sure), 1 - shares)
    both = variance_of_both(sure, unsure)
    assert (both <= sure).all()
    assert both[0].item() == pytest.approx((1 + COMMON) / 2 * 1e-2)  # what both miss, and half of what each does


@pytest.mark.parametrize(("first", "second", "true"), [(1.0, 1.0, 1.0), (0.2, 0.5, 0.3), (4.0, 0.1, 6.0)])
def test_draws_that_are_drawn_apart_are_stretched_to_vary_as_both_err(first, second, true):
    generator, pair = torch.Generator().manual_seed(0), (torch.tensor(first), torch.tensor(second))
    share, spread = share_of_second(*pair), spread_of_draws(*pair, torch.tensor(true))
    draws = torch.tensor(pair).sqrt() * torch.randn(200_000, 2, generator=generator)
    common, own = torch.randn(200_000, 1, generator=generator), torch.randn(200_000, 2, generator=generator)
    errors = (true * COMMON) ** 0.5 * common + (true * (1 - COMMON)) ** 0.5 * own
    drawn, erring = (torch.lerp(both[:, 0], both[:, 1], share) for both in (spread * draws, errors))
    assert drawn.var().item() == pytest.approx(erring.var().item(), rel=0.02)
    if first == second == true:
        assert drawn.var().item() == pytest.approx(variance_of_both(*pair).item(), rel=0.02)
        assert spread > 1


def test_where_nothing_is_drawn_nothing_is_stretched():
    nothing = torch.zeros(2)
    assert torch.equal(spread_of_draws(nothing, torch.tensor([0.0, 1.0]), nothing), torch.ones(2))


def test_what_one_of_them_knows_is_known():
    nothing, something = torch.zeros(2), torch.tensor([1e-6, 4.0])
    for pair, share in (((nothing, nothing), 0), ((nothing, something), 0), ((something, nothing), 1)):
        assert torch.equal(share_of_second(*pair), torch.full((2,), float(share)))
        assert torch.equal(variance_of_both(*pair), nothing)


def test_a_variance_that_is_no_number_is_not_passed_over():
    assert share_of_second(torch.tensor([math.nan]), torch.ones(1)).isnan().all()
