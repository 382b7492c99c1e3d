"""The skeleton player as a live widget: it tells the kernel what time it shows, and can be told to show another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anywidget
import traitlets

from motionkit.plotting.motion import Motion, play, player_source

_RENDER = """
export default {
  render({ model, el }) {
    let player;
    function show() {
      if (player) player.pause();
      const root = document.createElement("div");
      el.replaceChildren(root);
      player = motionkitPlayer(root, model.get("payload"));
      let sent = 0;
      player.onTime = (seconds) => {
        const now = performance.now();
        if (root.dataset.playing === "true" && now - sent < 90) return; // the pictures beside it cannot follow faster
        sent = now;
        model.set("shown_s", seconds);
        model.save_changes();
      };
    }
    show();
    model.on("change:payload", show);
    model.on("change:wanted", () => {
      player.pause();
      player.seek(model.get("wanted")[0]);
    });
  },
};
"""


class PlayerWidget(anywidget.AnyWidget):
    """``play`` as a widget. ``shown_s`` follows the player; ``seek`` moves it. Two ways, two traits: no feedback."""

    payload = traitlets.Dict().tag(sync=True)
    shown_s = traitlets.Float(0.0).tag(sync=True)
    wanted = traitlets.List([0.0, 0]).tag(sync=True)

    def __init__(self, motion: Motion | Sequence[Motion], **options: Any) -> None:
        self._options = {"autoplay": False, **options}
        super().__init__(_esm=f"{player_source()}\n{_RENDER}", payload=play(motion, **self._options).payload)

    def show(self, motion: Motion | Sequence[Motion]) -> None:
        """Put another motion into the player."""
        self.payload = play(motion, **self._options).payload

    def seek(self, seconds: float) -> None:
        """Stop and show this time."""
        self.wanted = [seconds, self.wanted[1] + 1]  # the count makes a repeated wish a change too
