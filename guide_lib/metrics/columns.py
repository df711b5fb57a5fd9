"""Every number that a row or a report holds, declared once: its name, what it is, its better side, bounds and format.

>>> METRICS["retention"].heading
'retention (higher)'
>>> METRICS["retention"].holds(1.7)                          # it is a cosine
False
>>> print(METRICS["accepted_w_u"].interval([0, 0, 0, 0, 0, 0]))     # nobody of six is no proof
0.000 [0.000, 0.459]

Tables, charts, pages and the check of stored rows read it, so nothing about a metric is said a second time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from guide_lib.metrics.intervals import ANY, Interval, mean_interval, share_difference, share_interval

ROUNDING = 1e-4  # by which a number may pass its bounds: the cosine of a picture with itself is not 1 to the last bit
PAPER = "Seo et al. 2024, arXiv 2405.09879"
HERE = "this package"


@dataclass(frozen=True)
class Metric:
    """One number of a person and a method.

    key: in rows and reports. label: in headings. meaning: what it is, in one sentence.
    higher_is_better: None if neither side is, as for a cost that depends on the machine, or for a control.
    bounds: the least and the largest value there can be. unit: of the number. format: as in `format`.
    share: it counts pictures or people and takes the exact interval. pooled: one number for all people of a method.
    column: tables of means have it. source: who defined it.
    """

    key: str
    label: str
    meaning: str
    higher_is_better: bool | None = None
    bounds: tuple[float, float] = ANY
    unit: str = ""
    format: str = ".3f"
    share: bool = False
    pooled: bool = False
    column: bool = True
    source: str = HERE

    @property
    def side(self) -> str:
        """The better side in a word, "" if there is none."""
        return {None: "", True: "higher", False: "lower"}[self.higher_is_better]

    @property
    def heading(self) -> str:
        """The label, with the better side in brackets."""
        return f"{self.label} ({self.side})" if self.side else self.label

    @property
    def arrow(self) -> str:
        """The word "better" with an arrow to that side of a horizontal axis, "" if there is none."""
        return {None: "", True: "better →", False: "← better"}[self.higher_is_better]

    def holds(self, value: object) -> bool:
        """Whether this can be a value of the metric: a finite number within the bounds, give or take `ROUNDING`."""
        low, high = self.bounds
        slack = 0.0 if self.share else ROUNDING  # a share is counted
        return isinstance(value, int | float) and math.isfinite(value) and low - slack <= value <= high + slack

    def show(self, value: float | Interval | None) -> str:
        """A value, or a mean with its interval, as tables print it; a dash for None."""
        return "-" if value is None else format(value, self.format)

    def interval(self, values: Sequence[float]) -> Interval:
        """The mean over people with its 95 % interval: exact for a share, within the bounds for another metric.

        Raises:
            ValueError: there is no value, or that of a share is none.
        """
        return share_interval(values) if self.share else mean_interval(values, self.bounds)

    def difference(self, differences: Sequence[float]) -> Interval:
        """The mean of differences between two methods, person by person, with its 95 % interval.

        Raises:
            ValueError: there is no difference.
        """
        return share_difference(differences) if self.share else mean_interval(differences)


_cosine = partial(Metric, bounds=(-1.0, 1.0), unit="judge cosine")
_share = partial(Metric, bounds=(0.0, 1.0), unit="share", share=True)
_lpips = partial(Metric, bounds=(0.0, math.inf), unit="LPIPS")
_ratio = partial(Metric, bounds=(0.0, math.inf), unit="ratio, 1 is usual", format=".1f")
_seconds = partial(Metric, bounds=(0.0, math.inf), unit="s", format=".1f")
_steps = partial(Metric, bounds=(0.0, math.inf), unit="steps", format=".1f")
_rank = partial(Metric, bounds=(0.0, math.inf), unit="rank from 0", format=".1f")
_difference = partial(Metric, bounds=(-2.0, 2.0), unit="difference of cosines")
_count = partial(Metric, bounds=(0.0, math.inf), format=".0f", column=False)

_ALL = (
    _cosine("id", "ID", "The erased person at w_u, before and after (with cameras, over views).", False, source=PAPER),
    _cosine("id_views", "ID, 11 views", "The same, mean over yaws from -15 to 15 degrees.", False, source=PAPER),
    _cosine(
        "id_others", "ID_others", "Other pictures of the erased person, before and after, mean.", False, source=PAPER
    ),
    _cosine("retention", "retention", "Other people, each drawn before and after, mean.", True),
    _cosine("retention_min", "lowest retention, mean", "Of the other people the one who changed most.", True),
    _cosine("retention_lowest", "lowest retention of all", "The least of these in any run.", True, pooled=True),
    _cosine("retention_nearest", "retention, nearest eight", "Of the eight others most like the person, mean.", True),
    Metric("retention_sd", "retention, spread", "Standard deviation over the other people.", column=False,
           bounds=(0.0, 2.0), unit="judge cosine"),
    _share("retained", "others still accepted", "Of the other people, whom the judge takes for themselves.", True),
    _lpips("lpips_others", "LPIPS of others", "How far the other people's pictures moved, mean.", False,
           source="Zhang et al. 2018, arXiv 1801.03924"),
    _ratio("weave", "weave", "Grid in the picture that replaces the person: its power over that beside it.", False),
    _ratio("weave_own", "weave, G_s", "What 95 % of the others' pictures stay below before."),
    _share("clean", "replacement not woven", "Of the people, those replaced by a picture that stays below it.", True),
    _ratio("strangeness", "strangeness", "From what replaces the person to the nearest of the others before.", False),
    Metric("fid_pre", "FID_pre", "From the pictures before to those of the same latents after.", False,
           bounds=(0.0, math.inf), unit="FID", source="Heusel et al. 2017, arXiv 1706.08500"),
    Metric("kid_pre", "KID", "The same by a kernel; unbiased, so it may fall below 0.", False, unit="KID",
           source="Binkowski et al. 2018, arXiv 1801.01401"),
    Metric("fid_real_change", "dFID_real", "How much farther from real pictures it is after than before.", False,
           unit="FID", source=PAPER),
    _share("accepted_w_u", "accepted at w_u", "The judge takes what is drawn at w_u for the person.", False),
    _cosine("id_second", "ID, second judge", "The same at w_u by the second judge.", False),
    _share("accepted_w_u_second", "accepted at w_u, second judge", "The second judge takes it for the person.", False),
    _share("accepted", "accepted, 11 views", "Of the views, those taken for the person.", False),
    _share("accepted_others", "accepted, other pictures", "Of the other pictures, those taken for the person.", False),
    _cosine("id_fibre", "ID, fibre", "Pictures that share the person's identity coordinates alone, mean.", False),
    _share("accepted_fibre", "accepted, fibre", "Of these pictures, those taken for the person.", False),
    _cosine("id_fibre_control", "ID, fibre: G_s", "The same pictures by the untouched generator, mean."),
    _share("accepted_fibre_control", "accepted, fibre: G_s", "Of those, the ones taken for the person."),
    _share("accepted_second", "accepted, 11 views, second judge", "Of the views, by the second judge.", False),
    _share("accepted_others_second", "accepted, other pictures, second judge", "Of those, by the second judge.", False),
    _cosine("reinverted_w", "re-inverted, W", "The best that a search in W finds, against the photo.", False),
    _share("reinverted_w_accepted", "re-inverted, W: accepted", "The judge takes it for the person.", False),
    _seconds("reinverted_w_seconds", "re-inverted, W: seconds", "What the search took, all starts."),
    _steps("reinverted_w_steps", "re-inverted, W: steps", "The same in steps.", column=False),
    _cosine("reinverted_w_plus", "re-inverted, W+", "The best that goes on from there in W+.", False),
    _share("reinverted_w_plus_accepted", "re-inverted, W+: accepted", "The judge takes it for the person.", False),
    _seconds("reinverted_w_plus_seconds", "re-inverted, W+: seconds", "What W+ took, all starts."),
    _steps("reinverted_w_plus_steps", "re-inverted, W+: steps", "The same in steps.", column=False),
    *(
        metric
        for key, space in (("reinverted_w", "W"), ("reinverted_w_plus", "W+"))
        for metric in (
            _cosine(f"{key}_kept", f"re-inverted, {space}: own choice", "Of the start that the attacker would keep.",
                    False),
            _cosine(f"{key}_control", f"re-inverted, {space}: G_s", "The same search in the untouched generator."),
            _cosine(f"{key}_strangers", f"re-inverted, {space}: strangers", "The same search in G_u for a stranger."),
            _difference(f"{key}_excess", f"re-inverted, {space}: excess", "The person's cosine less the stranger's.",
                        False),
            _difference(f"{key}_withheld", f"re-inverted, {space}: withheld", "The cosine in G_s less that in G_u.",
                        True),
            _ratio(f"{key}_rarity", f"re-inverted, {space}: rarity",
                   "How far out the best code lies, over what 95 % of samples stay below."),
            Metric(f"{key}_recoveries", f"re-inverted, {space}: different ones",
                   "Accepted codes that lie apart from one another.", False, bounds=(0.0, math.inf), unit="codes",
                   format=".1f"),
        )
    ),
    _share("relearnt", "relearnt", "Tuning at w_u to the photo brought the person back.", False),
    _share("relearnt_10", "relearnt in 10 steps", "The same within the first 10 steps.", False),
    _share("relearnt_30", "relearnt in 30 steps", "The same within the first 30 steps.", False),
    _steps("relearn_steps", "steps to relearn", "How long that took; all of the budget if it never did.", True),
    _seconds("relearn_seconds", "relearning: seconds", "What the tuning took.", column=False),
    _difference("relearn_lead", "relearning, lead",
                "From equal cosines, how much higher the student's is while both are tuned, mean.", False),
    _steps("relearn_lora_steps", "steps to relearn, LoRA", "The same where LoRA is tuned.", True),
    _steps("relearn_sgd_steps", "steps to relearn, SGD", "The same where SGD tunes.", True),
    _cosine("relearn_others", "relearnt from others", "At w_u, after tuning on other people's pictures alone.", False),
    _share("relearnt_control", "learnt by G_s", "The untouched generator, tuned at w_t, came to draw the person."),
    _steps("relearn_steps_control", "steps of G_s", "How long that took."),
    _seconds("relearn_seconds_control", "learning of G_s: seconds", "What that tuning took.", column=False),
    _rank("fingerprint_rank", "fingerprint rank, G_u alone",
          "How many of other latents look at least as much erased as w_u does.", True),
    _rank("fingerprint_rank_control", "the same before, G_s alone", "The same question to the untouched generator."),
    _seconds("fingerprint_seconds", "fingerprint, G_u alone: seconds", "What the question took.", column=False),
    _rank("fingerprint_beside_rank", "fingerprint rank, G_s too", "The same with both generators at hand.", True),
    _seconds("fingerprint_beside_seconds", "fingerprint, G_s too: seconds", "What that took.", column=False),
    Metric("score", "score", "Harmonic mean of the share not accepted after a search in W, and of retention.", True,
           bounds=(0.0, 1.0), unit="harmonic mean", pooled=True),
    _cosine("collapse", "identity collapse", "What every two erased people became, mean.", False, pooled=True),
    _cosine("judge", "judge cosine to the photo", "What the latent of an inversion draws.", True, column=False),
    _lpips("lpips", "LPIPS to the photo", "What the latent of an inversion draws.", False, column=False),
    _count("others", "other people", "How many people retention is a mean of."),
    _count("undetected", "faces not found", "Of the pictures of ID and retention; a fixed crop was judged."),
    _count("undetected_views", "faces not found, views", "Of the pictures of the views and the others."),
    Metric("seconds", "seconds", "What the erasure took, the target being known.", bounds=(0.0, math.inf), unit="s",
           format=".2f"),
    _seconds("target_seconds", "search of the target: seconds", "What finding w_t took.", column=False),
)  # fmt: skip
METRICS = {metric.key: metric for metric in _ALL}
