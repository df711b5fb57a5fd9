"""Checks of notebook 12: a search for the person, and what its controls make of it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from guide_lib.attacks import Line
from guide_lib.checks.base import RIGHT, Answer, compare, compare_pairs, first_fault

# The second ends best, the third begins best, the fourth ends worst.
STARTS = torch.tensor([[0.3, -1.4], [-0.3, -0.4], [0.95, 0.9], [1.3, 0.2], [-1.2, 1.3]])
# steps, rate, starts; in the second case another start becomes the best one in the last step
CASES = ((12, 0.1, STARTS), (8, 0.05, STARTS[[3, 2, 4, 1, 0]]))


def wells(codes: Tensor) -> Tensor:
    """A loss of codes [K, 2], [K], with four wells, so that it matters where a search begins."""
    return (codes.square() - 1).square().sum(1) + 0.3 * codes.sum(1)


def check_search(answer: Answer) -> str:
    """`answer(loss_of, starts [K, D], steps, rate)` is the code [D] that ends with the least loss, by Adam.

    >>> check_search(lambda loss_of, starts, steps, rate: starts[loss_of(starts).argmin()])
    'Not yet: nothing moves; after backward() comes optimizer.step().'
    """

    def ends(
        starts: Tensor, steps: int, rate: float, clear: bool = True, keep: bool = True, sign: float = 1.0
    ) -> Tensor:
        """Where all starts end. clear: the gradients of earlier steps. keep: Adam's memory. sign: -1 climbs."""
        codes = starts.clone().requires_grad_()
        optimizer = torch.optim.Adam([codes], lr=rate)
        for _ in range(steps):
            optimizer = optimizer if keep else torch.optim.Adam([codes], lr=rate)
            if clear:
                optimizer.zero_grad()
            (sign * wells(codes).sum()).backward()
            optimizer.step()
        return codes.detach()

    def verdicts() -> Iterator[str]:
        for steps, rate, starts in CASES:
            found, given = ends(starts, steps, rate), starts.clone()
            losses = wells(found)
            uncleared, anew = (ends(starts, steps, rate, **how) for how in ({"clear": False}, {"keep": False}))
            climbed, middle = ends(starts, steps, rate, sign=-1), ends(starts.mean(0, keepdim=True), steps, rate)
            passed = [ends(starts, n, rate) for n in range(steps)]  # before each step
            met = min(range(steps), key=lambda n: wells(passed[n]).min().item())
            mistakes = {
                "nothing moves; after backward() comes optimizer.step()": starts[wells(starts).argmin()],
                "the gradients of earlier steps are still there; clear them first": uncleared[
                    wells(uncleared).argmin()
                ],
                "Adam is made anew in every step and forgets; make it once, before the loop": anew[
                    wells(anew).argmin()
                ],
                "it climbs; the loss has to fall": climbed[wells(climbed).argmin()],
                "this start ends worst; keep the one with the least loss": found[losses.argmax()],
                "this start began best; keep the one that ends best": found[wells(starts).argmin()],
                "this is the first start; keep the one that ends best": found[0],
                "this is the last start; keep the one that ends best": found[-1],
                "the losses are those before the last step; ask for them once more": found[wells(passed[-1]).argmin()],
                "this code was met on the way; keep one that the last step leaves": passed[met][
                    wells(passed[met]).argmin()
                ],
                "this code was met on the way, and is not the one whose loss was least": [*passed, found][met + 1][
                    wells(passed[met]).argmin()
                ],
                "the starts were averaged; each is searched from by itself": middle[0],
                "the codes that were found are averaged, and draw nobody; keep one": found.mean(0),
                "that is one step too few": ends(starts, steps - 1, rate)[losses.argmin()],
                "that is one step too many": ends(starts, steps + 1, rate)[losses.argmin()],
            }
            got = answer(wells, given, steps, rate)
            verdict = compare(got, found[losses.argmin()], mistakes, {"starts": (given, starts)})
            if verdict == RIGHT and got.requires_grad:
                verdict = "Not yet: what comes back still holds its graph in memory; detach it."
            yield verdict

    return first_fault(verdicts())


def check_gaps(answer: Answer) -> str:
    """`answer(person [starts], untouched [starts], strangers [people, starts])`: what is withheld, and the excess.

    >>> check_gaps(lambda person, untouched, strangers: (untouched.max() - person.max(), person.max()))
    "Not yet: it differs from the library's answer by up to 0.85."
    """
    cases = [
        ([0.4, 0.6, 0.5], [0.7, 0.95, 0.9], [[0.9, 0.3, 0.8], [0.5, 0.1, 0.6]]),
        ([0.8, 0.3], [0.85, 0.2], [[0.2, 0.5], [0.7, 0.1], [0.3, 0.6]]),
        ([0.3, 0.7], [0.6, 0.5], [[0.9, 0.2], [0.4, 0.8]]),  # both gaps are negative
    ]
    tensors = [[torch.tensor(part) for part in case] for case in cases]

    def gaps(how: str = "") -> list[float]:
        """Both numbers of every case. how: the mistake that is made."""
        numbers = []
        for person, untouched, strangers in tensors:
            best, before = (part.mean() if how == "means" else part.max() for part in (person, untouched))
            each = strangers.mean(1) if how in ("means", "strangers") else strangers.amax(1)
            anybody = each.max() if how == "pooled" else each.mean()
            line = Line("W", best.item(), best.item(), before.item(), anybody.item())
            pair = {"turned": (-line.withheld, -line.excess), "swapped": (line.excess, line.withheld)}
            pair |= {"less": (line.withheld, -line.excess), "before": (line.withheld, line.untouched - line.strangers)}
            pair |= {"gained": (-line.withheld, line.excess)}
            pair |= {"clamped": (max(line.withheld, 0.0), max(line.excess, 0.0))}
            pair |= {"one clamped": (max(line.withheld, 0.0), line.excess)}
            pair |= {"by start": ((untouched - person).max().item(), line.excess)}
            numbers += pair.get(how, (line.withheld, line.excess))
        return numbers

    mistakes = {
        "the attacker keeps the best start; these are means over the starts": gaps("means"),
        "of each stranger the best start counts, too": gaps("strangers"),
        "this is the luckiest stranger; take the mean over them": gaps("pooled"),
        "the two are exchanged": gaps("swapped"),
        "both signs are turned": gaps("turned"),
        "the excess is the person less the strangers": gaps("less"),
        "what is withheld is the untouched generator's best less the student's": gaps("gained"),
        "a gap may be negative; leave it so": gaps("clamped"),
        "what is withheld may be negative; leave it so": gaps("one clamped"),
        "each side keeps its own best start; choose first, then subtract": gaps("by start"),
        "the strangers were sought in the student, so is the person in the excess": gaps("before"),
    }
    got = [answer(*(part.clone() for part in case)) for case in tensors]
    return compare_pairs(got, "what is withheld and the excess", gaps(), mistakes)
