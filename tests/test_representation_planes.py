"""Points in a plane: principal components by hand, UMAP keeps clumps apart, and what is missing is named."""

import re
import sys

import pytest
import torch

from motionkit.representation import planes
from motionkit.representation.planes import PLANES, plane_maker, principal_plane, umap_plane


def clumps(count=20, features=6):
    """Three clumps far from each other, and which one a point is of."""
    labels = torch.arange(3 * count) % 3
    centers = 20 * torch.eye(3, features)
    return centers[labels] + torch.randn(3 * count, features, generator=torch.Generator().manual_seed(0)), labels


def test_principal_components_are_the_widest_directions_and_keep_distances_within_their_plane():
    torch.manual_seed(0)
    flat = torch.randn(30, 2, dtype=torch.float64) * torch.tensor([5.0, 1.0])
    axes = torch.linalg.qr(torch.randn(7, 2, dtype=torch.float64))[0]
    found = principal_plane(flat @ axes.t() + 3)
    torch.testing.assert_close(torch.pdist(found), torch.pdist(flat))
    torch.testing.assert_close(found.mean(0), torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)
    first, second = found.var(0)
    assert first > second
    assert (found[:, 0] @ found[:, 1]).abs() < 1e-9


def test_signs_do_not_depend_on_the_order_of_the_points_nor_the_type():
    points, _ = clumps()
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(principal_plane(points[order]), principal_plane(points)[order], atol=1e-4, rtol=1e-4)
    assert principal_plane(points).dtype == points.dtype
    assert not principal_plane(points[:, :1])[:, 1].any()


def test_umap_keeps_clumps_apart_and_is_the_same_each_time():
    pytest.importorskip("umap")
    points, labels = clumps()
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        plane = umap_plane(points, 3)
        assert torch.get_num_threads() == 1  # as many as before, and not as many as there are cores
    finally:
        torch.set_num_threads(num_threads)
    assert plane.shape == (60, 2)
    assert torch.equal(plane, umap_plane(points, 3))
    distances = torch.cdist(plane, plane).fill_diagonal_(torch.inf)
    assert torch.equal(labels[distances.argmin(1)], labels)
    assert umap_plane(points[: planes.FEWEST]).isfinite().all()
    with pytest.raises(ValueError, match="UMAP needs 4 points or more, got 3"):
        umap_plane(points[:3])


def test_a_plane_is_found_by_name_and_what_it_lacks_is_said_at_once(monkeypatch):
    assert plane_maker("PCA") is principal_plane
    with pytest.raises(ValueError, match="no plane is called 'TSNE'; there are PCA, UMAP"):
        plane_maker("TSNE")
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.setattr(planes, "find_spec", lambda name: None)
    for ask in (lambda: plane_maker("UMAP"), lambda: umap_plane(clumps()[0])):
        with pytest.raises(ModuleNotFoundError, match=re.escape("pip install 'motionkit[umap]'")):
            ask()
    assert set(PLANES) == {"PCA", "UMAP"}
