"""The cosine transform: scipy's, orthonormal, and undone by its inverse."""

import numpy as np
import pytest
import torch
from scipy import fft

from motionkit.representation.dct import dct, dct_matrix, idct


@pytest.mark.parametrize("length", [1, 2, 7, 50])
def test_it_is_scipys_and_comes_back(length, tolerance):
    x = torch.linspace(-1, 2, 3 * length, dtype=torch.float64).sin().reshape(3, length)
    np.testing.assert_allclose(dct(x), fft.dct(x.numpy(), norm="ortho"), atol=1e-12)
    np.testing.assert_allclose(idct(x), fft.idct(x.numpy(), norm="ortho"), atol=1e-12)
    torch.testing.assert_close(idct(dct(x.float())), x.float(), **tolerance())
    torch.testing.assert_close(dct_matrix(length) @ dct_matrix(length).t(), torch.eye(length, dtype=torch.float64))


def test_autocast_leaves_the_precision_of_the_transform():
    x = torch.linspace(-1, 1, 50).sin() + 0.1
    with torch.autocast("cpu", torch.bfloat16):
        there, back = dct(x), idct(dct(x))
    assert torch.equal(there, dct(x))
    torch.testing.assert_close(back, x, rtol=0, atol=1e-6)
    torch.testing.assert_close(dct(x.bfloat16()), dct(x.bfloat16().float()))
