"""The classifier of tokens or keypoints: one trunk, order matters, one batch is learned, resume equals no pause."""

from dataclasses import replace

import pytest
import torch

from motionkit.data.batches import TensorBatches
from motionkit.models.sequence_classifier import SequenceClassifier, SequenceClassifierConfig, train_classifier
from motionkit.models.transformer import TransformerBlock
from motionkit.training import TrainConfig, fit

TOKENS = SequenceClassifierConfig(num_classes=3, grid=(2, 3, 3), num_codes=7, dim=16, depth=1, num_heads=2)
VECTORS = SequenceClassifierConfig(num_classes=3, grid=(8,), num_features=10, dim=16, depth=1, num_heads=2)
TRAIN = TrainConfig(num_steps=60, lr=3e-3, device="cpu", progress="off")


def samples(config: SequenceClassifierConfig, count: int = 12) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    if config.num_codes is not None:
        x = torch.randint(config.num_codes, (count, *config.grid), generator=generator)
    else:
        x = torch.randn(count, *config.grid, config.num_features, generator=generator)
    return {"input": x, "label": torch.arange(count) % config.num_classes}


def built(config: SequenceClassifierConfig) -> SequenceClassifier:
    torch.manual_seed(0)
    return SequenceClassifier(config)


@pytest.mark.parametrize("config", [TOKENS, VECTORS], ids=["tokens", "vectors"])
def test_shapes_and_finite_gradients(config):
    model, batch = built(config), samples(config)
    assert model(batch["input"]).shape == (12, 3)
    model.loss(batch, 0)["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_only_the_first_layer_and_the_places_differ():
    def rest(model):
        return {name: p.shape for name, p in model.named_parameters() if not name.startswith(("first", "position"))}

    assert rest(built(TOKENS)) == rest(built(VECTORS))


@pytest.mark.parametrize("config", [TOKENS, VECTORS], ids=["tokens", "vectors"])
def test_one_batch_is_learned(config):
    model, batch = built(replace(config, dropout=0.0)), samples(config)
    fit(model, lambda index: batch, replace(TRAIN, num_steps=150, lr=1e-2))
    assert torch.equal(model.predict(batch["input"], batch_size=5), batch["label"])


def test_order_matters():
    """Same tokens, backward in time: told apart, so more than a histogram of codes is seen."""
    forward = torch.arange(7).repeat(3).view(1, 7, 3, 1)
    batch = {"input": torch.cat([forward, forward.flip(1)]), "label": torch.tensor([0, 1])}
    model = built(replace(TOKENS, num_classes=2, grid=(7, 3, 1), dropout=0.0))
    fit(model, lambda index: batch, TRAIN)
    assert model.predict(batch["input"]).tolist() == [0, 1]


def test_a_class_that_is_there_to_be_learned_generalizes():
    """Class = the code in one cell, all others noise: unseen samples are recognized."""
    tokens = samples(TOKENS, 600)["input"]
    label = tokens[:, 1, 0, 2] % 3
    train = {"input": tokens[:400], "label": label[:400]}
    model = built(TOKENS)
    fit(model, TensorBatches(train, 32, seed=0), replace(TRAIN, num_steps=200, lr=1e-2))
    assert (model.predict(tokens[400:]) == label[400:]).float().mean() > 0.9


@pytest.mark.parametrize("config", [TOKENS, VECTORS], ids=["tokens", "vectors"])
def test_one_call_builds_what_the_input_needs_and_leaves_out_what_has_no_label(config):
    batch, few = samples(config), replace(TRAIN, num_steps=2)
    unknown = {
        "input": torch.cat([batch["input"], batch["input"]]),
        "label": torch.cat([batch["label"], -1 - 0 * batch["label"]]),
    }
    one, other = (train_classifier(*part.values(), 3, few, num_codes=7) for part in (batch, unknown))
    assert (one.config.grid, one.config.num_codes, one.config.num_features) == (
        config.grid,
        config.num_codes,
        config.num_features,
    )
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    with pytest.raises(ValueError, match="none of 12 samples has a label"):
        train_classifier(batch["input"], -1 - 0 * batch["label"], 3, few, num_codes=7)


def test_resume_equals_uninterrupted(tmp_path):
    batches = TensorBatches(samples(TOKENS), 4, seed=0)
    whole, parts = built(TOKENS), built(TOKENS)
    fit(whole, batches, replace(TRAIN, num_steps=6))
    fit(parts, batches, replace(TRAIN, num_steps=3), checkpoint_dir=tmp_path)
    again = built(TOKENS)
    fit(again, batches, replace(TRAIN, num_steps=6), checkpoint_dir=tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_wrong_inputs_and_configs_are_named(unchecked):
    with pytest.raises(ValueError, match=r"\(4, 2, 3\): expected \(B, 2, 3, 3\)"):
        built(TOKENS)(torch.zeros(4, 2, 3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"\(4, 8, 9\): expected \(B, 8, 10\)"):
        built(VECTORS)(torch.zeros(4, 8, 9))
    for changes, message in (
        ({"num_codes": None}, "num_codes or num_features"),
        ({"num_features": 3}, "num_codes or num_features"),
        ({"grid": ()}, r"got \(\)"),
        ({"dim": 15}, "dim must be a multiple of num_heads 2, got 15"),
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout .* got 1\.0"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(TOKENS, **changes)
    with pytest.raises(ValueError, match="dim 15 is no multiple of num_heads 2"):
        TransformerBlock(15, 2)


# ---- batches ---------------------------------------------------------------------------------------------------------


def test_a_batch_depends_on_seed_and_index_alone_and_keeps_samples_together():
    tensors = {"input": torch.arange(10), "label": torch.arange(10) * 10}
    first, again, other = (TensorBatches(tensors, 4, seed=seed) for seed in (0, 0, 1))
    batches = [first(index) for index in range(50)]
    assert torch.equal(again(49)["input"], batches[49]["input"])
    assert any(not torch.equal(other(index)["input"], batches[index]["input"]) for index in range(5))
    assert all(torch.equal(batch["label"], batch["input"] * 10) for batch in batches)
    assert set(torch.cat([batch["input"] for batch in batches]).tolist()) == set(range(10))


def test_batches_refuse_what_cannot_be_drawn_from():
    with pytest.raises(ValueError, match=r"\{'a': 3, 'b': 2\}"):
        TensorBatches({"a": torch.zeros(3), "b": torch.zeros(2)}, 1, seed=0)
    with pytest.raises(ValueError, match=r"\{'a': 0\}"):
        TensorBatches({"a": torch.zeros(0)}, 1, seed=0)
    with pytest.raises(ValueError, match="got 0"):
        TensorBatches({"a": torch.zeros(3)}, 0, seed=0)
