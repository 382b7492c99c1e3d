"""Skeletons: which joints a motion has, how they hang together, and how one layout maps to another.

Order: the class, the named layouts, the conversion between them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float

Limb = tuple[int, int]


@dataclass(frozen=True)
class Skeleton:
    """A named set of joints.

    name: short name, e.g. ``"cmu_31"``.
    joints: joint names in the order of the data's joint axis.
    parents: index of each joint's parent, -1 for a root; ``None`` for keypoint sets that are no tree (COCO).
    limbs: (parent, child) pairs that are drawn and rendered as limbs.
    swaps: (left, right) joint index pairs, for mirroring and for left/right colors.
    anatomy: for each joint its name in the vocabulary that all layouts share (``"left_knee"``); where it is empty the
        joint's own name counts. Joints of two skeletons correspond when these names are equal.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...] | None
    limbs: tuple[Limb, ...]
    swaps: tuple[tuple[int, int], ...] = field(default=())
    anatomy: tuple[str, ...] = field(default=())

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
        if self.anatomy and len(self.anatomy) != count:
            raise ValueError(f"skeleton {self.name!r}: {len(self.anatomy)} anatomical names for {count} joints")

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
            raise ValueError(
                f"skeleton {self.name!r} has no joint {joint!r}; it has {', '.join(self.joints)}"
            ) from None

    def sides(self) -> tuple[str, ...]:
        """``"left"``, ``"right"`` or ``"center"`` for each joint."""
        sides = ["center"] * self.num_joints
        for left, right in self.swaps:
            sides[left], sides[right] = "left", "right"
        return tuple(sides)

    def mirrored_joints(self) -> tuple[int, ...]:
        """Joint order of the mirror image: ``positions[..., mirrored_joints(), :]``, then negate one axis."""
        order = list(range(self.num_joints))
        for left, right in self.swaps:
            order[left], order[right] = right, left
        return tuple(order)


# --- named layouts ----------------------------------------------------------------------------------------------------
# One line a joint: name, parent (- for a root), anatomical name where it differs from the joint's own.


def _layout(name: str, table: str, limbs: str = "", is_tree: bool = True) -> Skeleton:
    """Build a skeleton from its table; without ``limbs`` (``"parent:child ..."``) every parent-child pair is one."""
    rows = [line.split() for line in table.strip().splitlines()]
    joints = tuple(row[0] for row in rows)
    parents = tuple(-1 if row[1] == "-" else joints.index(row[1]) for row in rows)
    pairs = [pair.split(":") for pair in limbs.split()]
    return Skeleton(
        name=name,
        joints=joints,
        parents=parents if is_tree else None,
        limbs=tuple((joints.index(a), joints.index(b)) for a, b in pairs)
        or tuple((parent, joint) for joint, parent in enumerate(parents) if parent >= 0),
        swaps=left_right_pairs(joints),
        anatomy=tuple(row[2] if len(row) > 2 else "" for row in rows),
    )


def left_right_pairs(joints: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """(left, right) index pairs of joints whose names differ only in the side.

    >>> left_right_pairs(("Hips", "LeftLeg", "RightLeg", "Hand_L", "Hand_R", "lEye", "rEye"))
    ((1, 2), (3, 4), (5, 6))
    """
    index = {joint: position for position, joint in enumerate(joints)}
    pairs = {}
    for left, right in (("left", "right"), ("Left", "Right"), ("_L", "_R"), ("L", "R"), ("l", "r")):
        for joint, position in index.items():
            starts = joint.startswith(left) and index.get(right + joint[len(left) :])
            ends = left == "_L" and joint.endswith(left) and index.get(joint[: -len(left)] + right)
            if starts or ends:
                pairs.setdefault(position, starts or ends)
    return tuple(sorted(pairs.items()))


# CMU motion capture. BVH files place LHipJoint, RHipJoint and LowerBack on Hips, Neck and both Shoulders on Spine1, and
# FingerBase and Thumb on Hand: limbs skip these joints, so that none has length zero. ASF/AMC files give the thorax
# (Spine1 to Neck) and the lower forearm (Hand to FingerBase) their length; there the wrist is FingerBase.
CMU_31 = _layout(
    "cmu_31",
    """
    Hips             -              pelvis
    LHipJoint        Hips           pelvis
    LeftUpLeg        LHipJoint      left_hip
    LeftLeg          LeftUpLeg      left_knee
    LeftFoot         LeftLeg        left_ankle
    LeftToeBase      LeftFoot       left_toe
    RHipJoint        Hips           pelvis
    RightUpLeg       RHipJoint      right_hip
    RightLeg         RightUpLeg     right_knee
    RightFoot        RightLeg       right_ankle
    RightToeBase     RightFoot      right_toe
    LowerBack        Hips           pelvis
    Spine            LowerBack      spine_low
    Spine1           Spine          spine_mid
    Neck             Spine1         thorax
    Neck1            Neck           neck
    Head             Neck1          head
    LeftShoulder     Spine1         thorax
    LeftArm          LeftShoulder   left_shoulder
    LeftForeArm      LeftArm        left_elbow
    LeftHand         LeftForeArm    left_forearm
    LeftFingerBase   LeftHand       left_wrist
    LeftHandIndex1   LeftFingerBase left_hand
    LThumb           LeftHand       left_wrist
    RightShoulder    Spine1         thorax
    RightArm         RightShoulder  right_shoulder
    RightForeArm     RightArm       right_elbow
    RightHand        RightForeArm   right_forearm
    RightFingerBase  RightHand      right_wrist
    RightHandIndex1  RightFingerBase right_hand
    RThumb           RightHand      right_wrist
    """,
    limbs="""
    Hips:LeftUpLeg LeftUpLeg:LeftLeg LeftLeg:LeftFoot LeftFoot:LeftToeBase
    Hips:RightUpLeg RightUpLeg:RightLeg RightLeg:RightFoot RightFoot:RightToeBase
    Hips:Spine Spine:Spine1 Spine1:Neck1 Neck1:Head
    Spine1:LeftArm LeftArm:LeftForeArm LeftForeArm:LeftHand LeftHand:LeftHandIndex1
    Spine1:RightArm RightArm:RightForeArm RightForeArm:RightHand RightHand:RightHandIndex1
    """,
)

# The 17 limbs that paper 1 (adversarially refined VQ-GAN) renders, and PoseConv3D before it.
_KEYPOINT_LIMBS = """
    nose:left_shoulder nose:right_shoulder
    left_shoulder:left_elbow left_elbow:left_wrist right_shoulder:right_elbow right_elbow:right_wrist
    left_shoulder:left_hip left_hip:left_knee left_knee:left_ankle
    right_shoulder:right_hip right_hip:right_knee right_knee:right_ankle
    nose:left_eye nose:right_eye left_eye:left_ear right_eye:right_ear left_hip:right_hip
    """

# The order of the COCO key point annotation.
COCO_17 = _layout(
    "coco_17",
    """
    nose -
    left_eye -
    right_eye -
    left_ear -
    right_ear -
    left_shoulder -
    right_shoulder -
    left_elbow -
    right_elbow -
    left_wrist -
    right_wrist -
    left_hip -
    right_hip -
    left_knee -
    right_knee -
    left_ankle -
    right_ankle -
    """,
    limbs=_KEYPOINT_LIMBS,
    is_tree=False,
)

# CMU Panoptic Studio, there called coco19.
PANOPTIC_19 = _layout(
    "panoptic_19",
    """
    neck         -
    nose         neck
    body_center  neck            pelvis
    left_shoulder  neck
    left_elbow   left_shoulder
    left_wrist   left_elbow
    left_hip     body_center
    left_knee    left_hip
    left_ankle   left_knee
    right_shoulder neck
    right_elbow  right_shoulder
    right_wrist  right_elbow
    right_hip    body_center
    right_knee   right_hip
    right_ankle  right_knee
    left_eye     nose
    left_ear     left_eye
    right_eye    nose
    right_ear    right_eye
    """,
    limbs=_KEYPOINT_LIMBS,
)

# Human3.6M as 2D-to-3D lifting uses it; its "neck" lies at the nose and its "head" at the crown.
H36M_17 = _layout(
    "h36m_17",
    """
    hip             -               pelvis
    right_hip       hip
    right_knee      right_hip
    right_foot      right_knee      right_ankle
    left_hip        hip
    left_knee       left_hip
    left_foot       left_knee       left_ankle
    spine           hip             spine_mid
    thorax          spine           neck
    neck            thorax          nose
    head            neck            crown
    left_shoulder   thorax
    left_elbow      left_shoulder
    left_wrist      left_elbow
    right_shoulder  thorax
    right_elbow     right_shoulder
    right_wrist     right_elbow
    """,
)

# Human3.6M with all its joints. Spine lies on Hips, both Shoulders on Neck, HandThumb on Hand and Wrist_Site on
# Wrist_End: limbs skip these joints, so that none has length zero. Head is the joint that H36M_17 has as the nose.
H36M_32 = _layout(
    "h36m_32",
    """
    Hips            -               pelvis
    RightUpLeg      Hips            right_hip
    RightLeg        RightUpLeg      right_knee
    RightFoot       RightLeg        right_ankle
    RightToeBase    RightFoot       right_toe
    RightToeSite    RightToeBase    right_toe_tip
    LeftUpLeg       Hips            left_hip
    LeftLeg         LeftUpLeg       left_knee
    LeftFoot        LeftLeg         left_ankle
    LeftToeBase     LeftFoot        left_toe
    LeftToeSite     LeftToeBase     left_toe_tip
    Spine           Hips            pelvis
    Spine1          Spine           spine_mid
    Neck            Spine1          neck
    Head            Neck            nose
    HeadSite        Head            crown
    LeftShoulder    Spine1          neck
    LeftArm         LeftShoulder    left_shoulder
    LeftForeArm     LeftArm         left_elbow
    LeftHand        LeftForeArm     left_wrist
    LeftHandThumb   LeftHand        left_wrist
    LeftThumbSite   LeftHandThumb   left_thumb_tip
    L_Wrist_End     LeftHand        left_hand
    L_Wrist_Site    L_Wrist_End     left_hand
    RightShoulder   Spine1          neck
    RightArm        RightShoulder   right_shoulder
    RightForeArm    RightArm        right_elbow
    RightHand       RightForeArm    right_wrist
    RightHandThumb  RightHand       right_wrist
    RightThumbSite  RightHandThumb  right_thumb_tip
    R_Wrist_End     RightHand       right_hand
    R_Wrist_Site    R_Wrist_End     right_hand
    """,
    limbs="""
    Hips:RightUpLeg RightUpLeg:RightLeg RightLeg:RightFoot RightFoot:RightToeBase RightToeBase:RightToeSite
    Hips:LeftUpLeg LeftUpLeg:LeftLeg LeftLeg:LeftFoot LeftFoot:LeftToeBase LeftToeBase:LeftToeSite
    Hips:Spine1 Spine1:Neck Neck:Head Head:HeadSite
    Neck:LeftArm LeftArm:LeftForeArm LeftForeArm:LeftHand LeftHand:LeftThumbSite LeftHand:L_Wrist_End
    Neck:RightArm RightArm:RightForeArm RightForeArm:RightHand RightHand:RightThumbSite RightHand:R_Wrist_End
    """,
)

_SMPL_TABLE = """
    pelvis          -
    left_hip        pelvis
    right_hip       pelvis
    spine1          pelvis          spine_low
    left_knee       left_hip
    right_knee      right_hip
    spine2          spine1          spine_mid
    left_ankle      left_knee
    right_ankle     right_knee
    spine3          spine2          spine_high
    left_foot       left_ankle      left_toe
    right_foot      right_ankle     right_toe
    neck            spine3
    left_collar     spine3
    right_collar    spine3
    head            neck
    left_shoulder   left_collar
    right_shoulder  right_collar
    left_elbow      left_shoulder
    right_elbow     right_shoulder
    left_wrist      left_elbow
    right_wrist     right_elbow
    """
_FINGERS = ("index", "middle", "pinky", "ring", "thumb")
# SMPL's hand joint has no twin in SMPL-H; the first joint of the middle finger lies nearest.
_HAND_TABLE = "\n".join(
    f"{side}_{finger}{bone} {f'{side}_{finger}{bone - 1}' if bone > 1 else f'{side}_wrist'}"
    + (f" {side}_hand" if (finger, bone) == ("middle", 1) else "")
    for side in ("left", "right")
    for finger in _FINGERS
    for bone in (1, 2, 3)
)
HUMANML3D_22 = _layout("humanml3d_22", _SMPL_TABLE)
SMPL_24 = _layout("smpl_24", _SMPL_TABLE.rstrip() + "\nleft_hand left_wrist\nright_hand right_wrist")  # and HumanAct12
SMPLH_52 = _layout("smplh_52", _SMPL_TABLE.rstrip() + "\n" + _HAND_TABLE)  # AMASS

# HG-VAE's AMASS joints: SMPL-H's 4..21. Pelvis and hips are not among them: the tree has three roots, and for the eye
# a limb from the spine to each knee stands for what lies between.
AMASS_18 = _layout(
    "amass_18",
    """
    left_knee       -
    right_knee      -
    spine2          -               spine_mid
    left_ankle      left_knee
    right_ankle     right_knee
    spine3          spine2          spine_high
    left_foot       left_ankle      left_toe
    right_foot      right_ankle     right_toe
    neck            spine3
    left_collar     spine3
    right_collar    spine3
    head            neck
    left_shoulder   left_collar
    right_shoulder  right_collar
    left_elbow      left_shoulder
    right_elbow     right_shoulder
    left_wrist      left_elbow
    right_wrist     right_elbow
    """,
    limbs="""
    spine2:left_knee spine2:right_knee left_knee:left_ankle right_knee:right_ankle
    left_ankle:left_foot right_ankle:right_foot spine2:spine3 spine3:neck neck:head
    spine3:left_collar left_collar:left_shoulder left_shoulder:left_elbow left_elbow:left_wrist
    spine3:right_collar right_collar:right_shoulder right_shoulder:right_elbow right_elbow:right_wrist
    """,
)

# OpenPose BODY_25. Its nose precedes its neck, so it is no tree in this order.
BODY_25 = _layout(
    "body_25",
    """
    nose -
    neck -
    right_shoulder -
    right_elbow -
    right_wrist -
    left_shoulder -
    left_elbow -
    left_wrist -
    mid_hip - pelvis
    right_hip -
    right_knee -
    right_ankle -
    left_hip -
    left_knee -
    left_ankle -
    right_eye -
    left_eye -
    right_ear -
    left_ear -
    left_big_toe -
    left_small_toe -
    left_heel -
    right_big_toe -
    right_small_toe -
    right_heel -
    """,
    limbs="""
    neck:mid_hip neck:nose nose:right_eye nose:left_eye right_eye:right_ear left_eye:left_ear
    neck:right_shoulder right_shoulder:right_elbow right_elbow:right_wrist
    neck:left_shoulder left_shoulder:left_elbow left_elbow:left_wrist
    mid_hip:right_hip right_hip:right_knee right_knee:right_ankle
    mid_hip:left_hip left_hip:left_knee left_knee:left_ankle
    left_ankle:left_big_toe left_big_toe:left_small_toe left_ankle:left_heel
    right_ankle:right_big_toe right_big_toe:right_small_toe right_ankle:right_heel
    """,
    is_tree=False,
)

BANDAI_NAMCO_21 = _layout(
    "bandai_namco_21",
    """
    Hips        -           pelvis
    Spine       Hips        spine_low
    Chest       Spine       spine_high
    Neck        Chest       neck
    Head        Neck        head
    Shoulder_L  Chest       left_collar
    UpperArm_L  Shoulder_L  left_shoulder
    LowerArm_L  UpperArm_L  left_elbow
    Hand_L      LowerArm_L  left_wrist
    Shoulder_R  Chest       right_collar
    UpperArm_R  Shoulder_R  right_shoulder
    LowerArm_R  UpperArm_R  right_elbow
    Hand_R      LowerArm_R  right_wrist
    UpperLeg_L  Hips        left_hip
    LowerLeg_L  UpperLeg_L  left_knee
    Foot_L      LowerLeg_L  left_ankle
    Toes_L      Foot_L      left_toe
    UpperLeg_R  Hips        right_hip
    LowerLeg_R  UpperLeg_R  right_knee
    Foot_R      LowerLeg_R  right_ankle
    Toes_R      Foot_R      right_toe
    """,
)

SKELETONS: dict[str, Skeleton] = {
    skeleton.name: skeleton
    for skeleton in (
        CMU_31,
        COCO_17,
        PANOPTIC_19,
        H36M_17,
        H36M_32,
        SMPL_24,
        HUMANML3D_22,
        AMASS_18,
        BODY_25,
        BANDAI_NAMCO_21,
        SMPLH_52,
    )
}


# --- conversion -------------------------------------------------------------------------------------------------------
# Joints that another layout defines as a midpoint: computed, and as good as observed.
_MIDPOINTS = {
    "pelvis": ("left_hip", "right_hip"),
    "neck": ("left_shoulder", "right_shoulder"),
    "spine_mid": ("pelvis", "neck"),
    "head": ("left_ear", "right_ear"),
    "left_toe": ("left_big_toe", "left_small_toe"),
    "right_toe": ("right_big_toe", "right_small_toe"),
}
# Where a joint without counterpart is put: the mean of the first group of these that can be placed.
_STAND_INS: dict[str, tuple[tuple[str, ...], ...]] = {
    "pelvis": (("spine_low",), ("spine_mid",)),
    "spine_low": (("pelvis", "spine_mid"),),
    "spine_mid": (("spine_low", "spine_high"), ("spine_low",), ("spine_high",)),
    "spine_high": (("spine_mid", "neck"),),
    "thorax": (("spine_mid", "neck"),),
    "neck": (("thorax",), ("spine_high",), ("head",)),
    "head": (("nose",), ("neck",)),
    "nose": (("head",),),
    "crown": (("head",),),
}
for _side in ("left", "right"):
    for _joint, _group in {
        "eye": ("nose",),
        "ear": ("head",),
        "collar": ("neck", f"{_side}_shoulder"),
        "shoulder": ("neck",),
        "elbow": (f"{_side}_shoulder",),
        "forearm": (f"{_side}_wrist",),
        "wrist": (f"{_side}_elbow",),
        "hand": (f"{_side}_wrist",),
        "thumb_tip": (f"{_side}_hand",),
        "hip": ("pelvis",),
        "knee": (f"{_side}_hip",),
        "ankle": (f"{_side}_knee",),
        "toe": (f"{_side}_ankle",),
        "heel": (f"{_side}_ankle",),
        "toe_tip": (f"{_side}_toe",),
        "big_toe": (f"{_side}_toe",),
        "small_toe": (f"{_side}_toe",),
    }.items():
        _STAND_INS[f"{_side}_{_joint}"] = (_group,)
    for _finger in _FINGERS:
        for _bone in (1, 2, 3):
            _STAND_INS[f"{_side}_{_finger}{_bone}"] = ((f"{_side}_hand",),)

_Place = tuple[np.ndarray, bool]  # weights over the source joints, and whether the joint counts as observed


def _place(name: str, direct: dict[str, np.ndarray], asked: frozenset[str]) -> _Place | None:
    """How to compute an anatomical joint from the source's; ``None`` where nothing near it can be placed."""
    if name in direct:
        return direct[name], True
    if name in asked:  # stand-ins refer to each other
        return None
    asked = asked | {name}
    if name in _MIDPOINTS:
        ends = [_place(end, direct, asked) for end in _MIDPOINTS[name]]
        if all(end is not None and end[1] for end in ends):
            return np.mean([end[0] for end in ends], axis=0), True
    for group in _STAND_INS.get(name, ()):
        members = [_place(member, direct, asked) for member in group]
        if all(member is not None for member in members):
            return np.mean([member[0] for member in members], axis=0), False
    return None


@lru_cache(maxsize=256)
def _conversion(source: Skeleton, target: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Weights (target joints, source joints), each row summing to 1, and observed (target joints,)."""
    if source.joints == target.joints:
        return np.eye(source.num_joints), np.ones(source.num_joints, dtype=bool)
    direct: dict[str, np.ndarray] = {}
    for name, row in zip(_vocabulary(source), np.eye(source.num_joints), strict=True):
        direct.setdefault(name, row)  # several joints on one spot: the first stands for all
    centroid = np.full(source.num_joints, 1 / source.num_joints), False
    places = [_place(name, direct, frozenset()) or centroid for name in _vocabulary(target)]
    return np.stack([weights for weights, _ in places]), np.array([observed for _, observed in places])


def _vocabulary(skeleton: Skeleton) -> tuple[str, ...]:
    return tuple(a or j for a, j in zip(skeleton.anatomy or skeleton.joints, skeleton.joints, strict=True))


def convert_joints(
    positions: Float[np.ndarray, "*batch joints coordinates"], source: Skeleton, target: Skeleton
) -> tuple[Float[np.ndarray, "*batch target_joints coordinates"], Bool[np.ndarray, " target_joints"]]:
    """Re-express joint positions in another layout.

    Corresponding joints are copied; a joint that is by definition a midpoint (pelvis of the hips, neck of the
    shoulders, middle of the spine, head of the ears) is computed; both count as observed. Any other joint is put where
    the body would have it nearest (a hand on its wrist, eyes on the nose), never NaN, and is not observed.

    positions: any unit, any number of coordinates; the result has their dtype.
    Returns the new positions and, for each target joint, whether it is observed.
    Raises ``ValueError`` when the joint axis does not match ``source``.

    >>> hips = np.zeros((1, 17, 2)); hips[0, H36M_17.index("left_hip")] = 4.0
    >>> coco, observed = convert_joints(hips, H36M_17, COCO_17)
    >>> coco[0, COCO_17.index("left_hip")], bool(observed[COCO_17.index("left_eye")])
    (array([4., 4.]), False)
    """
    if positions.shape[-2] != source.num_joints:
        raise ValueError(
            f"positions have {positions.shape[-2]} joints, skeleton {source.name!r} has {source.num_joints}"
        )
    weights, observed = _conversion(source, target)
    return (weights.astype(positions.dtype) @ positions), observed.copy()


def convert_confidence(
    confidence: Float[np.ndarray, "*batch joints"], source: Skeleton, target: Skeleton
) -> Float[np.ndarray, "*batch target_joints"]:
    """Confidence in another layout: the least of the joints that a joint is computed from, 0 where not observed."""
    weights, observed = _conversion(source, target)
    return np.where(weights > 0, confidence[..., None, :], np.inf).min(axis=-1) * observed.astype(confidence.dtype)
