"""What a terminal shows of a running notebook."""

from __future__ import annotations

import os
import re
import sys
import time
from io import TextIOBase

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Progress:
    """Prints where a run stands: the cell, its heading, what the cell prints, and how long it took."""

    def __init__(self, out: TextIOBase | None = None, every_s: float = 15.0, max_lines: int = 40) -> None:
        self.out = sys.stderr if out is None else out
        self.every_s = every_s  # how often a progress bar is repeated where lines cannot be rewritten
        self.max_lines = max_lines  # of one cell, and then one now and then; the executed notebook has them all
        self.where = "start"
        self._open = False  # the current line has no newline yet
        self._partial = ""  # what was printed since the last end of line, and by which stream
        self._source = "stdout"
        self._last_bar = 0.0

    def begin(self, number: int, count: int, title: str) -> None:
        self.where = f"cell {number} of {count} ({title})"
        self._started = self._last_bar = time.monotonic()
        self._num_lines = self._num_hidden = 0
        self._last_line = time.monotonic()
        self._partial = ""
        self._open = True
        self._write(f"  [{number:>{len(str(count))}}/{count}] {title}")

    def end(self) -> None:
        took = time.monotonic() - self._started
        self._flush_partial()
        if self._num_hidden:
            self._write(f"      | and {self._num_hidden} more lines in the executed notebook\n")
        self._write(f"{'' if self._open else '        took'}  {took:.1f} s\n")
        self._open = False

    def stream(self, text: str, source: str = "stdout") -> None:
        """Passes printed lines through. Progress bars (carriage returns) rewrite one line, or appear now and then."""
        if source != self._source:
            self._flush_partial()
        self._source = source
        for piece in re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", self._partial + plain(text)):
            self._partial = ""
            if piece.endswith("\n"):
                self._line(piece.rstrip("\r\n"))
            else:
                self._partial = piece
                self._bar(piece.rstrip("\r"))
                if piece.endswith("\r"):
                    self._partial = ""

    def _bar(self, text: str) -> None:
        if not text.strip():
            return
        if self.out.isatty():
            self._close()
            self._write(f"\r\x1b[2K      | {text[: max(20, terminal_columns() - 10)]}")
        elif time.monotonic() - self._last_bar > self.every_s:
            self._last_bar = time.monotonic()
            self._line(text)

    def _line(self, text: str) -> None:
        if text.strip():
            self._num_lines += 1
            if self._num_lines > self.max_lines and time.monotonic() - self._last_line < self.every_s:
                self._num_hidden += 1
                return
            self._last_line = time.monotonic()  # so that a training that runs for hours keeps telling
            self._close()
            clear = "\r\x1b[2K" if self.out.isatty() else ""
            self._write(f"{clear}      | {text}\n")

    def _flush_partial(self) -> None:
        partial, self._partial = self._partial.strip("\r"), ""
        self._line(partial)

    def _close(self) -> None:
        if self._open:
            self._write("\n")
            self._open = False

    def _write(self, text: str) -> None:
        self.out.write(text)
        self.out.flush()


def terminal_columns() -> int:
    """Width of the terminal that shows the progress; of a hundred characters where there is none."""
    try:
        return os.get_terminal_size(2).columns
    except OSError:
        return 100


def plain(text: str) -> str:
    """Text without the escape sequences for colors."""
    return _ANSI.sub("", text)
