import pytest
import torch

from motionkit.data.cameras import dome
from motionkit.data.catalogue import load_dataset
from motionkit.data.skeleton import H36M_17
from motionkit.data.windows import WindowBatches, cut_windows, thin
from motionkit.metrics.image import l1, psnr, ssim, ssim_foreground, tstd_code
from motionkit.metrics.reconstruction import (
    KEYPOINT_ERROR,
    SCORES,
    KeypointReader,
    reconstruction_scores,
    summarize,
    summarize_all,
    tokenizer_scores,
    trivial_scores,
)
from motionkit.models.autoencoder import Reconstruction
from motionkit.representation.heatmap_video import HeatmapVideo


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


def test_tstd_is_of_the_curves_of_whole_frames():
    """Three channels that err in turn: every frame as a whole errs alike, and its curves are flat."""
    target = torch.zeros(1, 3, 6, 16, 16)
    output = target.clone()
    for frame in range(6):
        output[:, frame % 3, frame, 4:8, 4:8] = 0.5
    scores = reconstruction_scores(lambda *_: output, [{"input": target, "target": target}])
    assert scores["T-Std"].item() == pytest.approx(0, abs=1e-6)
    assert tstd_code(output, target).min() > 0.2  # channel by channel they are not flat


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
        q_loss, q_error = (torch.tensor(size), torch.tensor(size / 10)) if self.has_q_loss else (None, None)
        return Reconstruction(clips / 2, torch.full((len(clips), 1, 1, 1), len(clips)), q_loss, q_error)


def test_tokenizer_scores_collect_tokens_and_quantizer_loss():
    scores, tokens = tokenizer_scores(Halver(True), batches(1))
    assert tokens.flatten().tolist() == [2, 2, 1]
    assert scores["Q-Loss"].tolist() == [2, 2, 1]
    assert scores["Q-Loss normalized"].tolist() == pytest.approx([0.2, 0.2, 0.1])
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
    assert summary["Usage"] == pytest.approx(0.4)
    assert "Bits per second" not in summary


def test_residual_tokens_are_summarized_depth_by_depth():
    """Codes 0 to 3 alike at the first depth, code 3 alone at the second: perplexities 4 and 1."""
    scores = {"SSIM": torch.ones(4)}
    tokens = torch.stack([torch.arange(4), torch.full((4,), 3)], -1).reshape(4, 1, 1, 1, 2)
    summary = summarize(scores, scores, tokens, num_codes=8, duration_s=2.0)
    assert summary["Perplexity"] == pytest.approx(2)
    assert summary["Codes used"] == 2.5
    assert summary["Bits per second"] == 2 * 3 / 2


def test_table_of_all_rows():
    """Two windows of 8 tokens of 16 codes, each of half a second: 8 x 4 bits / 0.5 s. 17 joints at 16 Hz as floats."""
    views = {"2D": list(batches(1)), "3D": list(batches(3))}
    scores = {f"{v} {name}": s for v, b in views.items() for name, s in trivial_scores(lambda b=b: b).items()}
    scores["3D VQ-GAN F8/16"] = reconstruction_scores(lambda video, _: video, views["3D"])
    tokens, num_codes = {"3D VQ-GAN F8/16": torch.zeros(2, 2, 2, 2, dtype=torch.int64)}, {"3D VQ-GAN F8/16": 16}
    table = summarize_all(scores, tokens, num_codes, num_joints=17, num_frames=8, fps=16.0)
    assert list(table) == list(scores)
    assert list(table)[:4] == ["2D blank", "2D first frame", "2D temporal mean", "2D keypoints"]
    bits = {row: values["Bits per second"] for row, values in table.items() if "Bits per second" in values}
    assert bits == {"2D keypoints": 17 * 2 * 32 * 16, "3D keypoints": 17 * 3 * 32 * 16, "3D VQ-GAN F8/16": 64}
    assert table["2D blank"]["SSIM skill"] == table["3D blank"]["SSIM skill"] == 0
    assert table["3D keypoints"]["SSIM skill"] == pytest.approx(1)
    assert table["3D VQ-GAN F8/16"]["Perplexity"] == 1


# ---- keypoints read from the output ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", ["2d", "3d"])
def test_keypoint_error_of_truth_blank_and_a_shifted_picture(dimensions):
    clips = load_dataset("sample", H36M_17)
    windows = thin(cut_windows(clips, length=8, stride=20, fps=20.0), 3)
    video = HeatmapVideo(H36M_17, dimensions, 64, 0.75, tuple(dome()))
    drawn = list(WindowBatches(windows, 1, seed=0, transform=video.scored).in_order())
    reader = KeypointReader(H36M_17.limbs, 0.75)
    scores = trivial_scores(lambda: drawn, reader)
    views = [(0, 1)] if dimensions == "2d" else [(2, 1), (0, 2), (0, 1)]
    still = []
    for batch in drawn:
        moved = (batch["keypoints"] - batch["keypoints"].mean(1, keepdim=True))[batch["peaks"] > 0]
        still.append(torch.stack([moved[:, list(axes)].norm(dim=-1).mean() for axes in views]).mean())
    torch.testing.assert_close(scores["blank"][KEYPOINT_ERROR], torch.stack(still))  # the mean pose, by hand
    truth = scores["keypoints"][KEYPOINT_ERROR].mean()
    assert truth < 0.6 * scores["blank"][KEYPOINT_ERROR].mean()
    assert truth < scores["first frame"][KEYPOINT_ERROR].mean()
    shifted = reconstruction_scores(lambda _, target: target.roll(3, dims=-1), drawn, reader)[KEYPOINT_ERROR].mean()
    # three columns: in the projections these are axes of the room, each picture shows its own
    assert shifted.item() == pytest.approx(3, abs=2 * truth.item())


def test_unobserved_joints_and_skipped_batches_do_not_count():
    keypoints = torch.rand(1, 4, 3, 2, generator=torch.Generator().manual_seed(0)) * 16 + 8
    peaks = torch.ones(1, 4, 3)
    peaks[..., 2] = 0
    blank = torch.zeros(1, 1, 4, 32, 32)
    reader = KeypointReader(((0, 1), (1, 2)), 1.0, every=2)
    expected = (keypoints - keypoints.mean(1, keepdim=True))[:, :, :2].norm(dim=-1).mean()
    torch.testing.assert_close(reader.errors(blank, keypoints, peaks)[0], expected)
    batch = {"input": blank, "target": blank, "keypoints": keypoints, "peaks": peaks}
    scores = reconstruction_scores(lambda _, target: target, [batch] * 3, reader)
    assert scores[KEYPOINT_ERROR].isnan().tolist() == [False, True, False]
    assert summarize(scores, scores)[KEYPOINT_ERROR] == pytest.approx(expected.item())
