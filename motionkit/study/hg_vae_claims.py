"""The claims of paper 4 (HG-VAE) about stochastic depth, under each reading of which levels are off.

Source: "greater stochastic depth achieves higher likelihoods, reconstructions, and KL" (section 6, Table 1), also
abstract and section 7; the notes are our reading of the table.
"""

from __future__ import annotations

from motionkit.models.motion_models import DEPTHS as NUM_LEVELS
from motionkit.study.claims import Claim, ClaimSet, difference, reduction

DEPTHS = (1, 2, 4, 8, 16)
# end of a row (``table_row``) -> which levels are drawn, and whose mean the others take: the settings of the runs
READINGS = {
    "": ("highest", "prior"),
    ", lowest levels": ("lowest", "prior"),
    ", posterior means": ("highest", "posterior"),
}
BOUND = "bound"  # on the evidence
DERIVED = {BOUND: (("log(X)", "KL-Divergence"), difference)}

_STEPS = ((1, 16), (1, 2), (2, 4), (4, 8), (8, 16))
_KINDS = (
    ("higher likelihoods", "higher likelihoods", {"log(X)": "nats", BOUND: "nats", "evidence": "nats"}, difference),
    ("better reconstructions", "higher reconstructions", {"MSE": "%"}, reduction),
    ("a higher KL", "higher KL", {"KL-Divergence": "nats"}, difference),
)
_NOTES = {
    "higher likelihoods": "log(X) is the likelihood given draws of the latents, which a model may buy with their "
    "divergence. What clips are worth to a model is the evidence, which the paper does not print, and log(X) less "
    "the divergence is a bound on it; with posterior means neither holds, as levels that are off tell of the clip for "
    "nothing. 'Independent of capacity': part of the parameters of levels that are off learn nothing.",
    "better reconstructions": "The text's 'higher reconstructions' can only be a lower error.",
    "a higher KL": "To the letter. The printed KL falls, from 274 to 29 nats; if 'higher' means better, as it must "
    "for reconstructions, and a lower KL is better, the numbers bear the text out.",
}


def depth_row(depth: int, reading: str = "") -> str:
    """The row of a depth under one of ``READINGS``; with all levels on there is one model.

    >>> depth_row(4, ", lowest levels"), depth_row(16, ", lowest levels")
    ('depth 4, lowest levels', 'depth 16')
    """
    return f"depth {depth}{reading if depth < NUM_LEVELS else ''}"


def label_of(reading: str) -> str:
    """One of ``READINGS`` in words.

    >>> label_of(", lowest levels")
    'lowest levels, prior means'
    """
    return "{} levels, {} means".format(*READINGS[reading])


def printed_row(row: str) -> str:
    """The paper's row of a depth, whatever the reading."""
    return row.partition(",")[0]


def _claims(reading: str) -> tuple[Claim, ...]:
    return tuple(
        Claim(
            f"depth {deep} has {what} than depth {shallow}",
            "abstract, 6, 7" if "likelihoods" in what else "6", text if (shallow, deep) == _STEPS[0] else "",
            (depth_row(deep, reading), depth_row(shallow, reading)), metrics, measure,
            _NOTES[what] if (shallow, deep) == _STEPS[0] else "",
        )
        for what, text, metrics, measure in _KINDS
        for shallow, deep in _STEPS
    )  # fmt: skip


DEPTH_CLAIMS = {
    reading: ClaimSet(
        paper="hgvae",
        table="1",
        claims=_claims(reading),
        # num_components is of the linear model alone, of which no claim is made
        of_a_row=frozenset({"depth", "keep", "off_latent", "num_components", "seed", "runs"}),
        printed_row=printed_row,
        derived=DERIVED,
    )
    for reading in READINGS
}
