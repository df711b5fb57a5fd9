"""From which cosine on a judge takes two pictures for one person.

>>> thresholds_of("dlib", resolution=256).accepted == ACCEPTANCE
True

Two answers, since every threshold errs to one side: who is under `strict` is forgotten, who reaches `accepted` is
recognised, and between the two nobody should be sure. Measured by data/recipes/judge_threshold.py; how often each is
wrong stands in data/results/judge_threshold.json.
"""

from __future__ import annotations

from dataclasses import dataclass

from guide_lib.errors import GuideError


@dataclass(frozen=True)
class Thresholds:
    """Two cosines of one judge, strict <= accepted.

    accepted: one in a thousand pairs of different generated people reaches it; it may lean toward "forgotten". strict:
    the highest, up to accepted, below which at most one in 25 pairs of the same person (ORL photographs) stays; it
    leans toward "still recognised". They are the same for a judge that rejects so few at accepted already.
    """

    accepted: float
    strict: float


# Of each judge by the size of the pictures in px; strict ones come from photographs, which have one size.
THRESHOLDS: dict[str, dict[int, Thresholds]] = {
    "dlib": {128: Thresholds(0.708, 0.651), 256: Thresholds(0.716, 0.651)},
    "edgeface": {128: Thresholds(0.456, 0.456), 256: Thresholds(0.466, 0.466)},
}
# Of rendered heads, 128 px (data/recipes/heads_threshold.py, data/results/heads-threshold.json).
HEADS = {"dlib": Thresholds(0.750, 0.698), "edgeface": Thresholds(0.856, 0.787)}
ACCEPTANCE, STRICT = THRESHOLDS["dlib"][256].accepted, THRESHOLDS["dlib"][256].strict


def acceptance_of(faces: str) -> float:
    """The one threshold of dlib's that reports use for a generator's faces, whatever their size.

    >>> acceptance_of("ffhq") == ACCEPTANCE, acceptance_of("heads") == thresholds_of("dlib", 128, "heads").accepted
    (True, True)
    """
    return thresholds_of("dlib", 256, faces).accepted


def thresholds_of(judge: str, resolution: int, faces: str = "ffhq") -> Thresholds:
    """Of a judge, for pictures of `resolution` px; those of 256 px for larger ones. faces: a generator's.

    Raises:
        GuideError: nobody measured any for this judge.

    >>> thresholds_of("dlib", 128).strict < thresholds_of("dlib", 128).accepted
    True
    >>> thresholds_of("facenet", 512)
    Traceback (most recent call last):
    guide_lib.errors.GuideError: No threshold was measured for the judge 'facenet'; choose one of: dlib, edgeface.
    """
    if judge not in THRESHOLDS:
        known = ", ".join(THRESHOLDS)
        raise GuideError(f"No threshold was measured for the judge '{judge}'; choose one of: {known}.")
    if faces == "heads":
        return HEADS[judge]
    measured = THRESHOLDS[judge]
    return measured[min((size for size in measured if size >= resolution), default=max(measured))]
