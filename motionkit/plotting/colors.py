"""The kit's colors in one place: calm tones built on the Okabe-Ito set, told apart by all kinds of color vision."""

from __future__ import annotations

# Okabe & Ito, "Color Universal Design" (2008).
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE, GRAY = "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#8A9099"

# One color for each side of a body, wherever a body is drawn. Blue and vermilion also differ in lightness.
SIDES = {"left": BLUE, "right": VERMILION, "center": "#4A4F57"}
# The same on black: heatmaps and dark backgrounds.
SIDES_ON_DARK = {"left": SKY, "right": ORANGE, "center": "#C9CED6"}

# Lines of a chart, in order of use.
LINES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, GRAY, BLACK)

INK = "#23272E"
MUTED = "#6B7280"
RULE = "#D9DCE1"
DEAD = "#B4B9C1"

# Perceptually uniform maps: heatmap values in [0, 1], and absolute errors, which must not be mistaken for them.
HEATMAP_MAP = "magma"
ERROR_MAP = "viridis"

# The player's two looks. ``clips``: the colors [left, right, center] of a clip, of the paler one that it is laid over,
# and of further ones.
PLAYER_LIGHT = {
    "surface": ["#FDFDFC", "#F0F1F2"],
    "ink": INK,
    "muted": MUTED,
    "grid": "#8D95A1",
    "shadow": "#20242B",
    "clips": [
        [SIDES["left"], SIDES["right"], SIDES["center"]],
        ["#A9D6F2", "#F5CF98", "#C4C9D0"],
        [GREEN, GREEN, GREEN],
        [PURPLE, PURPLE, PURPLE],
    ],
}
PLAYER_DARK = {
    "surface": ["#1B1F25", "#14171B"],
    "ink": "#E6E8EB",
    "muted": "#9AA1AB",
    "grid": "#7C8592",
    "shadow": "#000000",
    "clips": [
        [SIDES_ON_DARK["left"], SIDES_ON_DARK["right"], SIDES_ON_DARK["center"]],
        ["#28597A", "#7A5312", "#5B636D"],
        ["#35B894", "#35B894", "#35B894"],
        [PURPLE, PURPLE, PURPLE],
    ],
}


def rgb(color: str) -> tuple[float, float, float]:
    """``"#RRGGBB"`` as three numbers in [0, 1].

    >>> rgb("#FF0080")
    (1.0, 0.0, 0.5019607843137255)
    """
    return tuple(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))  # type: ignore[return-value]
