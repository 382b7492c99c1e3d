"""Points of many numbers laid in a plane, to be looked at: by their principal components, or by UMAP.

The first is a shadow: distances shrink and never grow. The second keeps neighbors together and tears the rest apart:
neither the distance of two clumps nor their size means anything. What is said of classes is to be measured where the
points came from (``motionkit.metrics.clusters``).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from jaxtyping import Float
from torch import Tensor

FEWEST = 4  # points that UMAP can lay out


def principal_plane(points: Float[Tensor, "points features"], seed: int = 0) -> Float[Tensor, "points 2"]:
    """The two principal components of the points, the larger first; 0 where they have one number. The signs, which are
    arbitrary, are such that the largest weight of a component is positive. Nothing is drawn: ``seed`` has no effect.

    >>> principal_plane(torch.tensor([[0.0, 0.0, 1.0], [3.0, 4.0, 1.0], [6.0, 8.0, 1.0]])).tolist()[0][0]
    -5.0
    """
    away = points.double() - points.double().mean(0)
    weights = torch.linalg.svd(away, full_matrices=False).Vh[:2]
    weights = weights * weights.gather(1, weights.abs().argmax(1, keepdim=True)).sign()
    plane = away.new_zeros(len(points), 2)
    plane[:, : len(weights)] = away @ weights.t()
    return plane.to(points.dtype)


def umap_plane(points: Float[Tensor, "points features"], seed: int = 0) -> Float[Tensor, "points 2"]:
    """UMAP with 15 neighbors, or as many as there are. The same seed gives the same plane on one machine.

    Needs the extra ``umap``, see ``plane_maker``; its first call in a process compiles for ten seconds and more.
    Raises ``ValueError`` for fewer than ``FEWEST`` points, which it cannot lay out.
    Source: McInnes, Healy and Melville 2018, as ``umap-learn`` has it.
    """
    if len(points) < FEWEST:
        raise ValueError(f"UMAP needs {FEWEST} points or more, got {len(points)}")
    _require_umap()
    from umap import UMAP

    # one thread: with a seed umap-learn takes no more anyway, and warns
    umap = UMAP(n_neighbors=min(15, len(points) - 1), random_state=seed, n_jobs=1)
    num_threads = torch.get_num_threads()
    try:
        plane = umap.fit_transform(points.detach().float().cpu().numpy())
    finally:
        # numba takes all cores for OpenMP's, whatever OMP_NUM_THREADS asks for, and torch would too from now on: two
        # such processes side by side wait for each other, 25 times as long
        torch.set_num_threads(num_threads)
    return torch.from_numpy(plane).to(points)


PLANES: dict[str, Callable[..., Tensor]] = {"PCA": principal_plane, "UMAP": umap_plane}


def plane_maker(name: str) -> Callable[[Float[Tensor, "points features"], int], Float[Tensor, "points 2"]]:
    """One of ``PLANES`` by name, once what it needs is known to be there: ask before hours of training, not after.

    Raises ``ValueError`` for an unknown name, ``ModuleNotFoundError`` naming the extra to install.
    """
    if name not in PLANES:
        raise ValueError(f"no plane is called {name!r}; there are {', '.join(PLANES)}")
    if name == "UMAP":
        _require_umap()
    return PLANES[name]


def _require_umap() -> None:
    if find_spec("umap") is None:
        raise ModuleNotFoundError(
            "UMAP comes with: pip install 'motionkit[umap]'; the plane 'PCA' needs nothing", name="umap"
        )
