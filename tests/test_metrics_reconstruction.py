import pytest
import torch

from motionkit.metrics.image import l1, psnr, ssim, ssim_foreground, tstd_code
from motionkit.metrics.reconstruction import SCORES, reconstruction_scores, summarize, tokenizer_scores
from motionkit.models.autoencoder import Reconstruction


def batches(channels: int, sizes=(2, 1)):
    generator = torch.Generator().manual_seed(3)
    for size in sizes:
        target = torch.rand(size, channels, 6, 24, 24, generator=generator)
        yield {"input": target + 0.1, "target": target}


def test_perfect_output():
    scores = reconstruction_scores(lambda _, target: target, batches(3))
    assert tuple(scores) == SCORES
    assert all(values.shape == (3,) for values in scores.values())
    torch.testing.assert_close(scores["SSIM"], torch.ones(3))
    assert scores["PSNR"].min() == 100
    for name in ("L1", "T-Std", "T-Std temporal"):
        assert scores[name].abs().max() < 1e-6


def test_one_channel_equals_the_metrics_themselves():
    scores = reconstruction_scores(lambda video, _: video, batches(1))
    targets = torch.cat([batch["target"] for batch in batches(1)])[:, 0]
    outputs = (targets + 0.1).clamp(0, 1)
    expected = {
        "SSIM": ssim(outputs, targets, border="valid").mean(1),
        "PSNR": psnr(outputs, targets).mean(1),
        "L1": l1(outputs, targets).mean(1),
        "T-Std": tstd_code(outputs, targets),
        "SSIM foreground": ssim_foreground(outputs, targets).mean(1),
    }
    for name, values in expected.items():
        torch.testing.assert_close(scores[name], values)


def test_psnr_pools_the_channels_of_a_frame():
    def off_in_one_channel(_, target):
        output = torch.zeros_like(target)
        output[:, 0] = 0.3
        return output

    blank = [{"input": torch.zeros(1, 3, 4, 16, 16), "target": torch.zeros(1, 3, 4, 16, 16)}]
    scores = reconstruction_scores(off_in_one_channel, blank)
    assert scores["PSNR"].item() == pytest.approx(-10 * torch.tensor(0.09 / 3).log10().item(), abs=1e-3)


def test_outputs_are_clipped():
    bright = [{"input": torch.ones(1, 1, 4, 16, 16), "target": torch.ones(1, 1, 4, 16, 16)}]
    assert reconstruction_scores(lambda video, _: video * 7, bright)["L1"].item() == 0


def test_empty_frames_do_not_count_for_the_foreground():
    target = torch.zeros(1, 1, 4, 16, 16)
    target[..., 0, 8, 8] = 1
    target[:, :, 1:, 4, 4] = 0
    scores = reconstruction_scores(lambda _, target: target, [{"input": target, "target": target}])
    assert scores["SSIM foreground"].item() == pytest.approx(1)


class Halver:
    """Draws half of its input; its token is the batch size, its quantizer's loss too, if it has one."""

    def __init__(self, has_q_loss: bool) -> None:
        self.has_q_loss = has_q_loss

    def reconstruct(self, clips):
        size = float(len(clips))
        return Reconstruction(
            clips / 2, torch.full((len(clips), 1, 1, 1), len(clips)), torch.tensor(size) if self.has_q_loss else None
        )


def test_tokenizer_scores_collect_tokens_and_quantizer_loss():
    scores, tokens = tokenizer_scores(Halver(True), batches(1))
    assert tokens.flatten().tolist() == [2, 2, 1]
    assert scores["Q-Loss"].tolist() == [2, 2, 1]
    expected = reconstruction_scores(lambda video, _: video / 2, batches(1))
    for name in SCORES:
        torch.testing.assert_close(scores[name], expected[name])
    assert set(tokenizer_scores(Halver(False), batches(1))[0]) == set(SCORES)


def test_summary_of_blank_and_perfect():
    blank = reconstruction_scores(lambda _, target: torch.zeros_like(target), batches(1))
    perfect = reconstruction_scores(lambda _, target: target, batches(1))
    assert summarize(blank, blank)["SSIM skill"] == pytest.approx(0)
    summary = summarize(perfect, blank, torch.tensor([0, 1, 1, 0]), num_codes=5)
    assert summary["SSIM skill"] == pytest.approx(1)
    assert summary["PSNR"] == 100
    assert summary["Perplexity"] == pytest.approx(2)
    assert summary["Codes used"] == 2
