"""From which cosine on a judge takes two pictures for one person.

>>> thresholds("dlib", resolution=256).accepted == ACCEPTANCE
True

Two answers, since a threshold errs to one side or the other: what is under `strict` is forgotten, what reaches
`accepted` is recognised, between them nobody should be sure. Measured by data/recipes/judge_threshold.py; with how often
they are wrong in data/results/judge_threshold.json.
"""

from __future__ import annotations

from dataclasses import dataclass

from guide_lib.errors import GuideError


@dataclass(frozen=True)
class Thresholds:
    """Two cosines of one judge, strict < accepted.

    accepted: one in a thousand pairs of different generated people reaches it; it leans toward "forgotten". strict: at
    most one in 25 pairs of the same person (ORL photographs) stays below it; it leans toward "still recognised".
    """

    accepted: float
    strict: float


# Of each judge by the size of the pictures in px. Strict thresholds come from photographs, which have one size.
THRESHOLDS: dict[str, dict[int, Thresholds]] = {
    "dlib": {128: Thresholds(0.716, 0.637), 256: Thresholds(0.716, 0.637)},
    "edgeface": {128: Thresholds(0.716, 0.637), 256: Thresholds(0.716, 0.637)},
}
ACCEPTANCE, STRICT = THRESHOLDS["dlib"][256].accepted, THRESHOLDS["dlib"][256].strict


def thresholds(judge: str, resolution: int) -> Thresholds:
    """Of a judge, for pictures of `resolution` px; those of 256 px for larger ones.

    Raises:
        GuideError: nobody measured any for this judge.

    >>> thresholds("edgeface", 128).strict < thresholds("edgeface", 128).accepted
    True
    >>> thresholds("facenet", 512)
    Traceback (most recent call last):
    guide_lib.errors.GuideError: No threshold was measured for the judge 'facenet'; choose one of: dlib, edgeface.
    """
    if judge not in THRESHOLDS:
        known = ", ".join(THRESHOLDS)
        raise GuideError(f"No threshold was measured for the judge '{judge}'; choose one of: {known}.")
    measured = THRESHOLDS[judge]
    return measured[min((size for size in measured if size >= resolution), default=max(measured))]
