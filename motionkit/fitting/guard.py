"""Whether a phase of training does harm: a value of the loss since the phase began, against its level just before.

A generative adversarial model is the case in point: when its discriminator joins in, reconstruction may be ruined.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal


class Guard:
    """Judges a phase that begins at update ``start`` and, if asked, lets ``fit`` go back to before it did harm.

    The rule: the phase does harm when the median of ``metric`` over the last ``window`` updates is more than
    ``1 + tolerance`` times its median over the ``window`` updates before ``start``; judged every ``window`` updates.

    ``fit`` watches the guard that a model has as its attribute ``guard``. It records the ratio of the two medians as
    "harm" in a record of split "guard" (1 at the start; the update returned to as "returned_to"). With ``on_harm``
    "warn" it says when harm begins. With "return" it keeps a checkpoint at the start and after every window that is no
    worse than the level (ratio at most 1) as ``good.safetensors``; at the first harm it restores all that is trained,
    optimizers and averages too, from there, and ``has_returned`` is true from then on: the model must leave out the
    phase. The updates since are lost; the count of steps and what follows from it, such as the
    learning rate, go on. As long as it may return, a loss that
    explodes does not end the run (one that is not finite does).

    metric: name of a positive value that ``loss`` returns at every step; of several micro-batches the mean counts.
    start: the first step of the phase; where it is 0 there is no level before, and nothing is judged.
    window: in updates; so many that medians of neighboring windows differ by less than ``tolerance``.
    tolerance: share of the level, above 0.

    Raises: ``ValueError`` naming the setting and its value.
    """

    SETTINGS = ("metric", "start", "window", "tolerance", "on_harm")

    def __init__(
        self,
        metric: str,
        start: int,
        window: int = 200,
        tolerance: float = 0.1,
        on_harm: Literal["warn", "return"] = "warn",
    ) -> None:
        if start < 0:
            raise ValueError(f"start must be 0 or more, got {start}")
        if window < 1:
            raise ValueError(f"window must be at least 1, got {window}")
        if not 0 < tolerance < math.inf:
            raise ValueError(f"tolerance must be a positive number, got {tolerance}")
        if on_harm not in ("warn", "return"):
            raise ValueError(f"on_harm must be 'warn' or 'return', got {on_harm!r}")
        self.metric, self.start, self.window, self.tolerance, self.on_harm = metric, start, window, tolerance, on_harm
        self.load({})

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` returned; an empty mapping is the state before training."""
        self.level: float | None = state.get("level")
        self.harm: float | None = state.get("harm")  # the latest ratio
        self.judged: int | None = state.get("judged")  # updates done when it was found
        self.good: int | None = state.get("good")  # the latest update no worse than the level
        self.has_returned: bool = state.get("has_returned", False)
        self._values: deque[float] = deque(state.get("values", ()), self.window)
        self._step, self._parts = -1, [math.nan]

    @property
    def settings(self) -> dict[str, Any]:
        """What a continued run must have in common with its beginning."""
        return {name: getattr(self, name) for name in self.SETTINGS}

    def state(self) -> dict[str, Any]:
        """What a continued run takes up, as json can hold it."""
        names = ("level", "harm", "judged", "good", "has_returned")
        return {**{name: getattr(self, name) for name in names}, "values": list(self._values)}

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """See the values of one micro-batch of a step. Raises ``ValueError`` if ``metric`` is not among them."""
        if self.metric not in values:
            raise ValueError(f"step {step}: the guard watches {self.metric!r}; model.loss returned {sorted(values)}")
        if step != self._step:
            self._step, self._parts = step, []
            self._values.append(math.nan)
        self._parts.append(values[self.metric])
        self._values[-1] = statistics.fmean(self._parts)

    def is_due(self, done: int) -> bool:
        """Whether to judge after so many updates."""
        return done >= self.start > 0 and (done - self.start) % self.window == 0

    def judge(self, done: int) -> bool:
        """Compare after ``done`` updates (at ``start`` with itself); whether harm has begun."""
        was_harmful, median = self.is_harmful, statistics.median(self._values)
        if done == self.start:
            self.level = median
        self.judged, self.harm = done, median / max(self.level, 1e-30)
        if self.harm <= 1 and not self.has_returned:
            self.good = done
        return self.is_harmful and not was_harmful and not self.has_returned

    def may_return(self, step: int) -> bool:
        """Whether harm done in this step can still be undone."""
        return self.on_harm == "return" and step >= self.start > 0 and not self.has_returned

    @property
    def is_harmful(self) -> bool:
        """The latest verdict."""
        return self.harm is not None and self.harm > 1 + self.tolerance

    def describe(self) -> str:
        """The latest verdict in words."""
        return (
            f"step {self.judged}: {self.metric} is {self.harm:.3g} times its level before step {self.start} "
            f"(harm above {1 + self.tolerance:.3g}, medians of {self.window} steps)"
        )
