"""What explorers share of their controls: sliders and buttons that look alike, answers to them, and saved files."""

from __future__ import annotations

import base64
import html
import re
import threading
from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets

from motionkit.data.atomic import written_whole
from motionkit.plotting import colors

WRAPPED = {"flex_flow": "row wrap", "grid_gap": "4px 24px", "align_items": "flex-start"}  # the layout of a row


def control(kind: type, name: str, tooltip: str, **options: object) -> widgets.Widget:
    """A slider or a menu with its name before it."""
    look = {"style": {"description_width": "92px"}, "layout": {"width": "340px"}}
    return kind(description=name, tooltip=tooltip, **options, **look)


def button(text: str, icon: str, tooltip: str) -> widgets.Button:
    return widgets.Button(description=text, icon=icon, tooltip=tooltip, layout={"width": "auto"})


def muted(text: str) -> str:
    """A text as pale HTML."""
    return f'<span style="color:{colors.MUTED}">{html.escape(text)}</span>'


def heading(text: str, explanation: str) -> widgets.HTML:
    return widgets.HTML(f'<div style="line-height:1.4"><b>{text}</b> {muted(explanation)}</div>')


class Reactions:
    """Turns functions into answers to controls: to what the reader changes, not to what follows from it. What goes
    wrong is said in ``message``.

    A kernel may hear controls in threads of their own: what is asked in one waits for what is being done in another.
    """

    def __init__(self, message: widgets.HTML) -> None:
        self._message, self._turn, self._thread = message, threading.Lock(), None

    def __call__(self, reaction: Callable[[], None], *, is_asked_for: bool = True) -> Callable[[object], None]:
        """is_asked_for: by the reader, who is done with the last message then."""

        def react(_: object) -> None:
            if self._thread == threading.get_ident():  # it follows from the reaction that this thread is at
                return
            with self._turn:
                self._thread = threading.get_ident()
                if is_asked_for:
                    self._message.value = ""
                try:
                    reaction()
                except Exception as error:  # whatever it is, the reader must see it: a kernel's log is out of sight
                    self._message.value = f'<span style="color:{colors.VERMILION}">{html.escape(f"{error}")}</span>'
                finally:
                    self._thread = None

        return react


def saved(folder: Path, name: str, kind: str, write: Callable[[Path], None]) -> str:
    """Write a file and offer it, as HTML, to readers who do not see the kernel's disk.

    name: what is no letter, digit, dot or underscore of it becomes a hyphen. kind: MIME type. write: given a path.
    """
    name = re.sub(r"[^\w.-]+", "-", name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with written_whole(path) as aside:
        write(aside)
    link = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
    return (
        f'saved as {html.escape(str(path))} · <a href="{link}" download="{name}" '
        f'style="text-decoration:underline">download</a>'
    )
