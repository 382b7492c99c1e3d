"""Keep the README's table of notebooks in step with the records in ``figures/``: python .ci/times.py rewrites it."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROFILE = "laptop"  # the last column of the table


def in_words(seconds: float) -> str:
    """A duration as a reader wants it: ``"4 s"`` below a minute and a half, then ``"10 min"``, then ``"3.5 h"``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def with_times(text: str, figures: Path) -> str:
    """The README with the last cell of each notebook's line filled in from its record, ``–`` where there is none."""

    def fill(line: re.Match[str]) -> str:
        record = figures / line["notebook"] / PROFILE / "record.json"
        took = in_words(json.loads(record.read_text(encoding="utf-8"))["duration_s"]) if record.is_file() else "–"
        return f"{line['head']} {took} |"

    return re.sub(r"^(?P<head>\| `(?P<notebook>\d\d[a-z]?_\w+)` \|.*\|)[^|\n]*\|$", fill, text, flags=re.MULTILINE)


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(with_times(readme.read_text(encoding="utf-8"), ROOT / "figures"), encoding="utf-8")
