"""Vector quantizers: nearest code, straight-through, losses, moving averages, restarts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from motionkit.models.quantizers import EMACodebook, GradientCodebook, ResidualCodebooks, nearest_codes
from motionkit.models.quantizers.lookup import look_up
from motionkit.training import TrainConfig, TrainingDiverged, fit, load_weights

KINDS = [GradientCodebook, EMACodebook]


def latents(batch=2, dim=4, grid=(2, 3, 5), seed=0):
    return torch.randn(batch, dim, *grid, generator=torch.Generator().manual_seed(seed))


def set_codes(quantizer, codes):
    with torch.no_grad():
        quantizer.codebook.copy_(codes)


@pytest.mark.parametrize("rows", [1, 7, 2048, 5000])
def test_nearest_codes_against_all_distances(rows):
    generator = torch.Generator().manual_seed(1)
    vectors, codes = torch.randn(rows, 6, generator=generator), torch.randn(33, 6, generator=generator)
    slow = torch.stack([(vectors - code).square().sum(1) for code in codes], 1).argmin(1)
    assert torch.equal(nearest_codes(vectors, codes), slow)


@pytest.mark.parametrize("rows", [7, 1300])
def test_lookup_against_a_loop(rows, tolerance):
    generator = torch.Generator().manual_seed(1)
    vectors, codebook = torch.randn(rows, 4, generator=generator), torch.randn(20, 4, generator=generator)
    codebook[7] = 100  # far from all vectors
    found = look_up(vectors, codebook, with_sums=True)
    assert torch.equal(found.tokens, nearest_codes(vectors, codebook))
    assert torch.equal(found.codes, codebook[found.tokens])
    torch.testing.assert_close(found.error, (vectors - found.codes).square().mean(), **tolerance())
    for code in range(20):
        assert found.counts[code] == (found.tokens == code).sum()
        torch.testing.assert_close(found.sums[code], vectors[found.tokens == code].sum(0), **tolerance())
    assert found.counts[7] == 0
    assert look_up(vectors, codebook, with_sums=False).sums is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grid", [(), (7,), (3, 4), (2, 3, 5)])
def test_shapes_and_codes_bit_for_bit(kind, grid):
    quantizer = kind(5, 4)
    z = latents(grid=grid)
    quantized = quantizer(z)
    assert quantized.z_q.shape == z.shape
    assert quantized.tokens.shape == (2, *grid)
    assert quantized.tokens.dtype == torch.int64
    assert torch.equal(quantized.z_q, quantizer.codebook[quantized.tokens].movedim(-1, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_straight_through_hands_the_gradient_to_the_latents(kind):
    quantizer = kind(5, 4)
    z = latents().requires_grad_()
    weights = torch.linspace(-1, 1, z.numel()).reshape(z.shape)
    (quantizer(z).z_q * weights).sum().backward()
    assert torch.equal(z.grad, weights)
    assert getattr(quantizer.codebook, "grad", None) is None


def test_losses_by_hand():
    """Codes 0 and 10; latents 1 and 7: distances 1 and 9, mean 5."""
    quantizer = GradientCodebook(2, 1, codebook_weight=0.25, commitment_weight=1.0)
    set_codes(quantizer, torch.tensor([[0.0], [10.0]]))
    z = torch.tensor([[[1.0, 7.0]]], requires_grad=True)
    quantized = quantizer(z)
    assert quantized.tokens.tolist() == [[0, 1]]
    assert quantized.codebook_loss.item() == quantized.commitment_loss.item() == 5.0
    assert quantized.loss.item() == 6.25
    assert quantized.perplexity.item() == pytest.approx(2.0)
    quantized.loss.backward()
    assert z.grad.flatten().tolist() == [1.0, -3.0]  # 2 (z - e) / 2
    assert quantizer.codebook.grad.flatten().tolist() == [-0.25, 0.75]  # 0.25 * 2 (e - z) / 2


def test_paper_weights_are_the_default():
    quantizer = GradientCodebook(5, 4)
    quantized = quantizer(latents())
    torch.testing.assert_close(quantized.loss, 2 * quantized.commitment_loss)


def test_moving_average_by_hand():
    """One update from empty statistics is the mean of the assigned vectors; the second blends with weight 1/4."""
    quantizer = EMACodebook(2, 1, decay=0.75, restart_below=0.0)
    set_codes(quantizer, torch.tensor([[0.0], [10.0]]))
    quantizer(torch.tensor([[[1.0, 3.0, 8.0]]]))
    assert quantizer.codebook.flatten().tolist() == [0.0, 10.0]  # stands still until the update
    quantizer.update()
    assert quantizer.counts.tolist() == [0.5, 0.25]
    assert quantizer.codebook.flatten().tolist() == [2.0, 8.0]
    quantizer(torch.tensor([[[4.0, 9.0, 9.0]]]))
    quantizer.update()
    # counts .75 * .5 + .25 * 1, .75 * .25 + .25 * 2; sums .75 * 1 + .25 * 4, .75 * 2 + .25 * 18
    assert quantizer.counts.tolist() == [0.625, 0.6875]
    assert quantizer.codebook.flatten().tolist() == pytest.approx([1.75 / 0.625, 6.0 / 0.6875])


def test_accumulation_equals_the_joined_batch(tolerance):
    whole, parts = (EMACodebook(5, 4, restart_below=0.0) for _ in range(2))
    parts.load_state_dict(whole.state_dict())
    z = latents(batch=4)
    whole(z)
    parts(z[:1])
    parts(z[1:])
    whole.update()
    parts.update()
    torch.testing.assert_close(whole.codebook, parts.codebook, **tolerance())


def test_no_statistics_outside_training():
    quantizer = EMACodebook(5, 4)
    before = quantizer.codebook.clone()
    with torch.no_grad():
        quantizer(latents())
    quantizer.eval()
    quantizer(latents())
    assert quantizer.new_counts.sum() == 0
    quantizer.update()
    assert torch.equal(quantizer.codebook, before)


def test_unused_code_restarts_at_a_latent_and_survives_the_next_update():
    torch.manual_seed(0)
    quantizer = EMACodebook(3, 2, decay=0.9)
    set_codes(quantizer, torch.tensor([[0.0, 0.0], [1.0, 1.0], [1e3, 1e3]]))
    z = torch.tensor([[0.1, 0.0], [0.0, 0.2], [1.1, 1.0], [0.9, 1.2]]).T[None]  # (1, 2, 4)
    quantizer(z)
    quantizer.update()
    restarted = quantizer.codebook[2].clone()
    assert any(torch.allclose(restarted, row) for row in z[0].T)
    assert quantizer.counts[2] == pytest.approx(quantizer.counts.mean().item(), rel=0.3)
    quantizer(torch.zeros(1, 2, 4))  # now far from the restarted code or equal to none: it must not jump back to 1000
    quantizer.update()
    assert quantizer.codebook.abs().max() < 2


def test_codes_restart_at_different_vectors_though_a_batch_has_fewer():
    quantizer = EMACodebook(8, 2, decay=0.5)
    for step in range(8):
        quantizer(torch.randn(1, 2, 2, generator=torch.Generator().manual_seed(step)))
        quantizer.update()
    quantizer.counts[:6] = 0.0  # six of the eight codes are unused
    quantizer(torch.randn(1, 2, 2, generator=torch.Generator().manual_seed(8)))
    quantizer.update()
    assert len(quantizer.codebook[:6].unique(dim=0)) == 6


def test_restarts_put_all_codes_to_use():
    torch.manual_seed(0)
    with_restart, without = EMACodebook(16, 2), EMACodebook(16, 2, restart_below=0.0)
    data = torch.rand(1, 2, 512, generator=torch.Generator().manual_seed(3)) + 4
    for quantizer in (with_restart, without):
        for _ in range(20):
            quantized = quantizer(data)
            quantizer.update()
        quantizer.last = quantized.perplexity.item()
    assert with_restart.last > 10
    assert without.last < 4


def test_counts_that_decay_to_nothing_leave_finite_codes():
    quantizer = EMACodebook(2, 1, decay=0.0, restart_below=0.0)
    set_codes(quantizer, torch.tensor([[0.0], [10.0]]))
    quantizer(torch.zeros(1, 1, 4))
    quantizer.update()
    quantizer.update()
    assert quantizer.codebook.isfinite().all()


def test_statistics_are_in_the_checkpoint_and_batch_scratch_is_not():
    names = set(EMACodebook(3, 2).state_dict())
    assert names == {"codebook", "counts", "sums", "recent", "num_recent"}


class Coder(nn.Module):
    """Points of the plane, a few a batch, as codes: some of 24 codes restart in every update."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder = nn.Linear(2, 4), nn.Linear(4, 2)
        self.quantizer = ResidualCodebooks(24, 4, depth=2, decay=0.5, restart_below=0.5)

    def loss(self, batch, step):
        quantized = self.quantizer(self.encoder(batch).movedim(-1, 1))
        error = (self.decoder(quantized.z_q.movedim(1, -1)) - batch).square().mean()
        return {"loss": error + quantized.loss}

    def after_step(self, step):
        self.quantizer.update()


def points(index):
    return torch.randn(1, 5, 2, generator=torch.Generator().manual_seed(index))


CONFIG = {"num_steps": 9, "lr": 1e-2, "device": "cpu", "progress": "off"}
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
import test_models_quantizers as t
torch.set_num_threads(1)
t.fit(t.Coder(), t.points, t.TrainConfig(**t.CONFIG, accumulation=2, devices=2), checkpoint_dir=sys.argv[2])
"""


def test_two_processes_equal_accumulation(tmp_path):
    """Statistics, the vectors that codes restart at, their order too; two micro-batches in each of two processes."""
    one, two = Coder(), Coder()
    fit(one, points, TrainConfig(**CONFIG, accumulation=4))
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(Path(__file__).parent), str(tmp_path / "two")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    load_weights(two, tmp_path / "two")
    first = one.quantizer.books[0]
    assert first.num_recent == 24
    assert torch.cdist(first.codebook, first.recent).min() < 1e-5  # codes did restart in the last update
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def test_training_again_after_a_batch_that_is_not_finite_starts_clean():
    model = Coder()
    with pytest.raises(TrainingDiverged, match="batch index 3"):
        fit(model, lambda index: points(index) / (index != 3), TrainConfig(**CONFIG))
    fit(model, points, TrainConfig(**CONFIG))
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_channels_are_named(kind):
    with pytest.raises(ValueError, match=r"\(2, 4, 2, 3, 5\) need 6 channels"):
        kind(5, 6)(latents())


@pytest.mark.parametrize("values", [{"decay": 1.0}, {"decay": -0.1}, {"restart_below": 1.0}])
def test_impossible_settings_are_refused(values):
    with pytest.raises(ValueError, match=str(next(iter(values.values())))):
        EMACodebook(3, 2, **values)


def test_oracle_agrees_on_codes_and_moving_average(tolerance):
    oracle_module = pytest.importorskip("vector_quantize_pytorch")
    torch.manual_seed(0)
    oracle = oracle_module.VectorQuantize(dim=8, codebook_size=16, decay=0.9, commitment_weight=1.0, eps=0.0)
    oracle.train()
    ours = EMACodebook(16, 8, decay=0.9, restart_below=0.0)
    book = oracle._codebook
    z = torch.randn(2, 8, 40)
    set_codes(ours, book.embed[0])
    ours.counts.fill_(1.0)  # the oracle begins with a weight of one for each code
    ours.sums.copy_(book.embed[0])
    book.embed_avg.copy_(book.embed)
    book.cluster_size.fill_(1.0)
    for _ in range(3):
        expected, tokens, loss = oracle(z.transpose(1, 2))
        quantized = ours(z)
        ours.update()
        assert torch.equal(quantized.tokens, tokens)
        torch.testing.assert_close(quantized.z_q, expected.transpose(1, 2), **tolerance())
        torch.testing.assert_close(quantized.loss, loss.squeeze(), **tolerance())
        torch.testing.assert_close(ours.codebook, book.embed[0], **tolerance())
