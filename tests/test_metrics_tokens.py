"""Codebook statistics: hand-computed values, limits, invariances, a slow twin."""

import math
from collections import Counter

import pytest
import torch

from motionkit.metrics.tokens import (
    bits_per_second,
    dead_codes,
    occurrences,
    perplexity,
    similar_codes,
    similarity_order,
    usage,
    usage_by_depth,
)


def tokens(*shape: int, num_codes: int = 7) -> torch.Tensor:
    """Deterministic, uneven: squares modulo the number of codes."""
    return (torch.arange(math.prod(shape)) ** 2 % num_codes).reshape(shape)


def test_usage_counts_like_a_counter():
    counted = Counter(tokens(2, 3, 4, 5).flatten().tolist())
    assert usage(tokens(2, 3, 4, 5), 9).tolist() == [counted[code] for code in range(9)]


def test_usage_of_batches_adds_up():
    all_tokens = tokens(6, 4, 4)
    parts = sum(usage(part, 7) for part in all_tokens.split(2))
    assert torch.equal(parts, usage(all_tokens, 7))


def test_each_depth_of_residual_tokens_is_counted_by_itself():
    residual = tokens(6, 4, 4, 3)
    tables = usage_by_depth(residual, 9)
    assert tables.shape == (3, 9)
    assert all(torch.equal(table, usage(residual[..., depth], 9)) for depth, table in enumerate(tables))
    assert torch.equal(tables.sum(0), usage(residual, 9))


def test_usage_of_nothing():
    assert usage(torch.zeros(0, dtype=torch.long), 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize("bad", [-1, 4, 100])
def test_a_token_outside_the_codebook_is_named(bad):
    with pytest.raises(ValueError, match=rf"{bad}.*codebook of 4"):
        usage(torch.tensor([0, 3, bad]), 4)


def test_perplexity_by_hand():
    assert perplexity(torch.tensor([3, 0, 0])) == pytest.approx(1)
    assert perplexity(torch.tensor([2, 2, 2, 2])) == pytest.approx(4)
    # shares 1/2, 1/4, 1/4: entropy 1.5 bit
    assert perplexity(torch.tensor([2, 1, 1])) == pytest.approx(2**1.5)


def test_perplexity_as_a_loop():
    counts = usage(tokens(4, 5, 6), 9)
    shares = [c / 120 for c in counts.tolist() if c]
    assert perplexity(counts) == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)))


def test_perplexity_does_not_see_order_scale_or_unused_codes():
    counts = torch.tensor([5.0, 1.0, 0.0, 3.0])
    expected = perplexity(counts)
    assert perplexity(counts[[2, 0, 3, 1]]) == pytest.approx(expected)
    assert perplexity(0.01 * counts) == pytest.approx(expected)
    assert perplexity(torch.cat([counts, torch.zeros(50)])) == pytest.approx(expected)


def test_perplexity_of_unused_and_impossible_counts():
    assert math.isnan(perplexity(torch.zeros(4)))
    with pytest.raises(ValueError, match="-2"):
        perplexity(torch.tensor([1, -2]))


def test_dead_codes():
    assert dead_codes(torch.tensor([0, 4, 0, 1])).tolist() == [0, 2]
    assert dead_codes(torch.tensor([1.0, 0.5])).tolist() == []
    assert len(dead_codes(usage(tokens(50), 9))) == 9 - len(set(tokens(50).tolist()))


def test_bits_per_second():
    assert bits_per_second(256, 128, 64 / 30) == pytest.approx(256 * 7 / (64 / 30))
    assert bits_per_second(100, 1, 2.0) == 0
    assert bits_per_second(100, perplexity(torch.tensor([1, 1, 0, 0])), 2.0) == pytest.approx(50)
    with pytest.raises(ValueError, match="duration_s is 0"):
        bits_per_second(1, 2, 0)
    with pytest.raises(ValueError, match="num_codes is 0"):
        bits_per_second(1, 0, 1)


def test_every_place_of_a_code_is_found_and_nothing_else():
    tokens = torch.randint(0, 5, (3, 2, 4, 4), generator=torch.Generator().manual_seed(0))
    places = [occurrences(tokens, code) for code in range(6)]
    assert [len(found) for found in places] == [*usage(tokens, 5).tolist(), 0]
    assert all((tokens[tuple(found.T)] == code).all() for code, found in enumerate(places))


def test_similar_codes_are_sorted_by_the_distances_of_a_plain_loop():
    vectors = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    nearest, distances = similar_codes(vectors, 7, 19)
    assert sorted([7, *nearest.tolist()]) == list(range(20))
    assert (distances.diff() >= 0).all()
    for code, distance in zip(nearest.tolist(), distances.tolist(), strict=True):
        assert distance == pytest.approx(
            sum((a - b) ** 2 for a, b in zip(vectors[7], vectors[code], strict=True)) ** 0.5
        )
    assert torch.equal(similar_codes(vectors, 7, 4)[0], nearest[:4])
    vectors[12] = vectors[7]  # a twin is another code, at distance 0
    assert [part[0].item() for part in similar_codes(vectors, 7, 1)] == [12, 0.0]


def test_the_order_of_similarity_follows_a_line_whatever_its_direction_and_the_codes_numbering():
    along = torch.tensor([0.3, 5.0, 2.0, 4.0, 1.0])
    direction = torch.nn.functional.normalize(torch.tensor([1.0, -2.0, 0.5]), dim=0)
    order = similarity_order(along[:, None] * direction + 7.0)
    assert order.tolist() == [0.0, 1.0, 0.5, 0.75, 0.25]
    mixed = torch.tensor([4, 2, 0, 1, 3])
    assert torch.equal(similarity_order((along[:, None] * direction)[mixed]), order[mixed])
    assert similarity_order(torch.ones(3, 2)).sort().values.tolist() == [0.0, 0.5, 1.0]
