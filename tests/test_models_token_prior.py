"""Priors over tokens: probabilities that sum to one, nothing of the future, and what can be learned is learned."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from motionkit.data.batches import TensorBatches
from motionkit.metrics.detection import auc
from motionkit.models.token_prior import CountPrior, TokenPrior, TokenPriorConfig, bits_per_token, train_prior
from motionkit.training import TrainConfig, fit

SMALL = TokenPriorConfig(num_codes=5, grid=(3, 2, 2), dim=16, depth=2, num_heads=2, dropout=0.0)
TRAIN = TrainConfig(num_steps=300, lr=1e-2, device="cpu", progress="off")


def built(config: TokenPriorConfig = SMALL) -> TokenPrior:
    torch.manual_seed(0)
    return TokenPrior(config).eval()


def some_tokens(count: int = 6, config: TokenPriorConfig = SMALL, seed: int = 0) -> torch.Tensor:
    return torch.randint(config.num_codes, (count, *config.grid), generator=torch.Generator().manual_seed(seed))


def counting(count: int, seed: int = 0, num_codes: int = 5) -> torch.Tensor:
    """Each cell starts anywhere and goes on by one code a time step."""
    start = torch.randint(num_codes, (count, 1, 2, 2), generator=torch.Generator().manual_seed(seed))
    return (start + torch.arange(3).view(1, 3, 1, 1)) % num_codes


PRIORS = {
    "transformer": lambda config, tokens: built(config),
    "cells": lambda config, tokens: CountPrior(tokens, config.num_codes),
    "pairs": lambda config, tokens: CountPrior(tokens, config.num_codes, memory=1),
}
every_prior = pytest.mark.parametrize("make", PRIORS.values(), ids=PRIORS.keys())


@every_prior
def test_the_probabilities_of_all_clips_sum_to_one(make):
    config = replace(SMALL, num_codes=3, grid=(3, 2, 1))
    every = torch.tensor(list(itertools.product(range(3), repeat=6))).view(-1, 3, 2, 1)
    prior = make(config, some_tokens(4, config))
    assert prior.log_prob(every).flatten(1).sum(1).double().exp().sum().item() == pytest.approx(1, abs=1e-5)


@every_prior
def test_a_cell_does_not_see_itself_or_the_future(make):
    tokens = some_tokens()
    prior = make(SMALL, some_tokens(seed=1))
    before = prior.log_prob(tokens).flatten(1)
    for cell in range(12):
        changed = tokens.flatten(1).clone()
        changed[:, cell] = (changed[:, cell] + 1) % 5
        after = prior.log_prob(changed.view_as(tokens)).flatten(1)
        torch.testing.assert_close(after[:, :cell], before[:, :cell])
        assert not torch.allclose(after[:, cell:], before[:, cell:])
    changed = tokens.clone()
    changed[:, -1, -1, -1] = 0  # what is predicted for the last cell does not depend on what is there
    if isinstance(prior, TokenPrior):
        torch.testing.assert_close(prior(changed), prior(tokens))


def test_the_past_is_seen():
    tokens, prior = some_tokens(), built()
    changed = tokens.clone()
    changed[:, 0, 0, 0] = (changed[:, 0, 0, 0] + 1) % 5
    assert (prior.log_prob(changed) - prior.log_prob(tokens)).flatten(1)[:, 1:].abs().amin(0).max() > 0


def test_bits_agree_with_the_loss():
    prior, tokens = built(), some_tokens()
    losses = prior.loss({"tokens": tokens}, 0)
    assert losses["loss"].item() == pytest.approx(-prior.log_prob(tokens, batch_size=4).mean().item(), rel=1e-5)
    assert losses["bits"].item() == pytest.approx(bits_per_token(prior.log_prob(tokens)).mean().item(), rel=1e-5)


def test_knowing_nothing_costs_the_fixed_length():
    even = CountPrior(torch.arange(5).repeat_interleave(12).view(5, 3, 2, 2), 5)
    torch.testing.assert_close(bits_per_token(even.log_prob(some_tokens())), torch.full((6,), math.log2(5)))


def test_counts_by_hand():
    tokens = torch.tensor([0, 0, 0, 1]).view(4, 1, 1, 1)
    prior = CountPrior(tokens, 2, smoothing=4.0)
    overall = (3 + 2) / (4 + 4)  # 3 of 4, leaning on even use
    cell = (3 + 4 * overall) / (4 + 4)
    assert prior.log_prob(torch.zeros(1, 1, 1, 1, dtype=torch.long)).exp().item() == pytest.approx(cell)


def test_pairs_by_hand():
    tokens = torch.tensor([[0, 1], [0, 1], [1, 0]]).view(3, 2, 1, 1)
    prior = CountPrior(tokens, 2, memory=1, smoothing=1.0)
    overall = (3 + 0.5) / 7
    cell = (2 + overall) / 4  # code 1 in the second cell
    found = prior.log_prob(torch.tensor([0, 1]).view(1, 2, 1, 1)).exp().flatten()[1].item()
    assert found == pytest.approx((2 + cell) / 3)


def test_transitions_cost_less_with_memory_and_least_with_training():
    train, test = counting(400), counting(100, seed=1)
    prior = built()
    fit(prior, TensorBatches({"tokens": train}, 32, seed=0), TRAIN)
    costs = [bits_per_token(p.log_prob(test)).mean().item()
             for p in (CountPrior(train, 5), CountPrior(train, 5, memory=1), prior)]  # fmt: skip
    truth = math.log2(5) / 3  # only the first of three steps is free
    assert costs[0] == pytest.approx(math.log2(5), abs=0.02)
    assert truth < costs[1] < truth + 0.1
    assert truth - 0.02 < costs[2] < truth + 0.1


def test_broken_clips_stand_out():
    train, normal = counting(400), counting(100, seed=1)
    prior = CountPrior(train, 5, memory=1)
    score = lambda tokens: bits_per_token(prior.log_prob(tokens))  # noqa: E731
    assert auc(score(normal), score(normal.flip(1))) > 0.99
    assert auc(score(normal), score(counting(100, seed=2))) == pytest.approx(0.5, abs=0.1)


def test_resume_equals_uninterrupted(tmp_path):
    config, batches = replace(SMALL, dropout=0.1), TensorBatches({"tokens": counting(40)}, 4, seed=0)
    whole, parts, again = built(config), built(config), built(config)
    fit(whole, batches, replace(TRAIN, num_steps=6))
    fit(parts, batches, replace(TRAIN, num_steps=3), checkpoint_dir=tmp_path)
    fit(again, batches, replace(TRAIN, num_steps=6), checkpoint_dir=tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_the_seed_decides_all_of_a_training():
    tokens, few = counting(20), replace(TRAIN, num_steps=2)
    one, same, other = (train_prior(tokens, 5, replace(few, seed=seed)) for seed in (1, 1, 2))
    assert one.config.grid == (3, 2, 2)
    assert torch.equal(one.log_prob(tokens), same.log_prob(tokens))
    assert not torch.equal(one.log_prob(tokens), other.log_prob(tokens))


def test_several_tokens_a_cell_are_one_more_axis():
    config = replace(SMALL, grid=(3, 2, 2, 2))
    assert built(config).log_prob(some_tokens(config=config)).shape == (6, 3, 2, 2, 2)


def test_wrong_inputs_are_named(unchecked):
    for prior in (built(), CountPrior(some_tokens(), 5)):
        with pytest.raises(ValueError, match=r"\(2, 3, 2\): expected \(B, 3, 2, 2\)"):
            prior.log_prob(torch.zeros(2, 3, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="memory is 2"):
        CountPrior(some_tokens(), 5, memory=2)
    with pytest.raises(ValueError, match="smoothing is 0"):
        CountPrior(some_tokens(), 5, smoothing=0)
    with pytest.raises(ValueError, match="outside a codebook of 3"):
        CountPrior(some_tokens(), 3)
    with pytest.raises(ValueError, match="num_codes must be at least 1, got 0"):
        replace(SMALL, num_codes=0)
