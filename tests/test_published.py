"""The published tables, checked by the facts that the papers state about them."""

import re

import numpy as np
import pandas as pd
import pytest

from motionkit.results import published


def number(table: str, row: str, column: str) -> float:
    return float(published("vqgan", table).loc[row, column])


def test_every_cell_of_table_three_is_there():
    table = published("vqgan", "III")
    assert table.shape == (12, 8)
    assert table.index.is_unique
    empty = table.loc[:, "SSIM":] == ""
    # the dVAE has no quantization loss; everything else is a number
    assert list(table.index[empty.any(axis=1)]) == ["2D dVAE F8/2048", "3D dVAE F8/2048"]
    assert empty.sum().sum() == empty["Q-Loss"].sum() == 2
    numbers = table.loc[:, "SSIM":].apply(pd.to_numeric)
    assert numbers["SSIM"].between(0.8, 1).all()
    assert numbers["PSNR"].between(24, 32).all()
    assert numbers["L1"].between(0.005, 0.018).all()
    assert numbers["T-Std"].between(0.15, 0.2422).all()
    assert numbers["Q-Loss"].dropna().between(0.0001, 0.0034).all()
    # sums over the columns as printed: one mistyped digit changes them
    assert numbers.sum().round(4).to_dict() == {
        "SSIM": 10.978, "PSNR": 333.68, "L1": 0.109, "T-Std": 2.636, "Q-Loss": 0.0131,
    }  # fmt: skip


def test_row_labels_repeat_the_descriptive_columns():
    for label, row in published("vqgan", "III").iterrows():
        model = row["Model Type"].removesuffix(" (Baseline)")
        assert label == f"{model} {row['Compression']}/{row['Vocab Size']}"


@pytest.mark.parametrize(("rate", "factor"), [("F8", 512), ("F16", 4096), ("F32", 32768)])
def test_compression_factors_follow_from_the_sizes(rate, factor):
    row = published("vqgan", "II").loc[rate]
    before, after = (list(map(int, re.findall(r"\d+", row[name]))) for name in ("Original Size", "Compressed Size"))
    assert [a / b for a, b in zip(before, after, strict=True)] == [int(rate[1:])] * 3
    assert int(row["Compression Factor"]) == factor == int(rate[1:]) ** 3


def test_claimed_gain_in_ssim_is_relative_to_the_better_value():
    ours, baseline = number("III", "3D VQ-GAN F8/1024", "SSIM"), number("III", "3D dVAE F8/2048", "SSIM")
    assert (ours, baseline) == (0.934, 0.847)
    assert 100 * (ours - baseline) / ours == pytest.approx(9.31, abs=0.005)
    assert 100 * (ours - baseline) / baseline == pytest.approx(10.27, abs=0.005)


def test_claimed_gain_in_stability():
    ours, baseline = number("III", "3D VQ-GAN F8/1024", "T-Std"), number("III", "3D dVAE F8/2048", "T-Std")
    assert 100 * (1 - ours / baseline) == pytest.approx(37.1, abs=0.05)
    assert 100 * (1 - 0.210 / baseline) == pytest.approx(12.5, abs=0.05)  # with the number in the authors' repository


def test_claimed_collapse_of_the_quantization_loss():
    before, after = (number("III", f"2D VQ-GAN F16/{k}", "Q-Loss") for k in (512, 128))
    assert 100 * (1 - after / before) == pytest.approx(90.9, abs=0.05)
    assert number("III", "2D VQ-GAN F16/256", "Q-Loss") > before  # not ordered by the size of the codebook


def test_numbers_quoted_in_the_text():
    assert number("III", "2D VQ-GAN F16/512", "SSIM") == 0.950
    assert number("III", "2D VQ-GAN F16/128", "SSIM") == 0.954
    assert number("III", "3D VQ-GAN F16/1024", "SSIM") == 0.912
    assert number("III", "2D VQ-GAN F32/512", "SSIM") == 0.913


def test_table_one():
    table = published("vqgan", "I")
    assert list(table.columns) == ["Input", "Core Architecture", "Denoising", "Application"]
    assert table["Denoising"].to_dict() == {"dVAE": "No", "MoMask": "No", "MotionGPT": "No", "Ours": "Yes"}
    assert (table != "").all().all()


@pytest.mark.parametrize("number", ["I", "II", "III"])
def test_tables_name_their_source(number):
    assert re.search(rf"Maldonado.*Table {number}:", published("vqgan", number).attrs["source"])


def test_a_published_table_cannot_be_spoiled():
    table = published("vqgan", "III")
    table.loc["2D VQ-GAN F16/128", "SSIM"] = "1.000"
    assert published("vqgan", "III").loc["2D VQ-GAN F16/128", "SSIM"] == "0.954"


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown paper: 'vqgna'; did you mean 'vqgan'\?"):
        published("vqgna", "III")
    with pytest.raises(ValueError, match=r"unknown table of vqgan: 'IIII'; did you mean 'III'\?.*I, II, III"):
        published("vqgan", "IIII")
    with pytest.raises(ValueError, match="unknown paper"):
        published("columns", "")


def test_likelihoods_of_hg_vae_are_those_of_metres():
    table = published("hgvae", "1").loc[:, "log(X)":].astype(float)
    assert table.sum().round(2).to_dict() == {"log(X)": 26759.0, "MSE": 5.28, "KL-Divergence": 444.0}
    most = -0.5 * 2700 * (np.log(2 * np.pi * table["MSE"] / 2700) + 1)  # of one variance for all numbers
    assert (table["log(X)"] < most).all()  # so MSE is a sum over the clip in square metres
    assert table["log(X)"].is_monotonic_increasing
