"""Skeletons: which joints a motion has, how they hang together, and how one layout maps to another."""

from __future__ import annotations

from dataclasses import dataclass, field

Limb = tuple[int, int]


@dataclass(frozen=True)
class Skeleton:
    """A named set of joints.

    name: short name, e.g. ``"cmu_31"``.
    joints: joint names in the order of the data's joint axis.
    parents: index of each joint's parent, -1 for a root; ``None`` for keypoint sets that are no tree (COCO).
    limbs: (parent, child) pairs that are drawn and rendered as limbs.
    swaps: (left, right) joint index pairs, for mirroring and for left/right colors.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...] | None
    limbs: tuple[Limb, ...]
    swaps: tuple[tuple[int, int], ...] = field(default=())

    def __post_init__(self) -> None:
        count = len(self.joints)
        if len(set(self.joints)) != count:
            repeated = sorted({j for j in self.joints if self.joints.count(j) > 1})
            raise ValueError(f"skeleton {self.name!r}: joint names repeat: {repeated}")
        if self.parents is not None:
            if len(self.parents) != count:
                raise ValueError(f"skeleton {self.name!r}: {len(self.parents)} parents for {count} joints")
            for joint, parent in enumerate(self.parents):
                if not -1 <= parent < joint:
                    raise ValueError(
                        f"skeleton {self.name!r}: joint {self.joints[joint]!r} has parent {parent}; "
                        f"a parent must come before its child (-1 for a root)"
                    )
        for kind, pairs in (("limb", self.limbs), ("swap", self.swaps)):
            for pair in pairs:
                if len(pair) != 2 or not all(0 <= index < count for index in pair):
                    raise ValueError(f"skeleton {self.name!r}: {kind} {pair} is not a pair of joints 0..{count - 1}")

    @property
    def num_joints(self) -> int:
        return len(self.joints)

    @property
    def num_limbs(self) -> int:
        return len(self.limbs)

    def index(self, joint: str) -> int:
        """Position of a joint by name; ``ValueError`` naming the joints there are."""
        try:
            return self.joints.index(joint)
        except ValueError:
            raise ValueError(f"skeleton {self.name!r} has no joint {joint!r}; it has {', '.join(self.joints)}") from None

    def sides(self) -> tuple[str, ...]:
        """``"left"``, ``"right"`` or ``"center"`` for each joint."""
        sides = ["center"] * self.num_joints
        for left, right in self.swaps:
            sides[left], sides[right] = "left", "right"
        return tuple(sides)
