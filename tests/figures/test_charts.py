"""Charts say what they are given: lines, marks, sizes."""

import numpy as np

from guide_lib.figures.charts import curves, histogram, intervals
from guide_lib.metrics.intervals import Interval


def dark(picture):
    return (np.asarray(picture).mean(2) < 200).sum()


def test_curves_have_the_size_asked_for_and_a_mark():
    plain = curves([0, 1, 2], {"a": [0, 1, 2], "b": [2, 1, 0]}, "x", "y", size=(400, 200))
    marked = curves([0, 1, 2], {"a": [0, 1, 2], "b": [2, 1, 0]}, "x", "y", mark=1.5, size=(400, 200))
    assert plain.size == marked.size == (400, 200)
    assert dark(marked) > dark(plain) + 50


def test_histograms_do_not_depend_on_the_order_within_a_group():
    values = np.linspace(-1, 1, 50)
    first, second = (histogram({"a": v, "b": values + 3}, "x", mark=0.0) for v in (values, values[::-1]))
    assert np.array_equal(np.asarray(first), np.asarray(second))
    assert not np.array_equal(np.asarray(first), np.asarray(histogram({"a": values, "b": values}, "x", mark=0.0)))


def test_levels_are_lines_across_at_their_values():
    """A line of curves lies as high, one of a histogram as far right, as its value says."""
    flat, groups = {"a": [0.0, 1.0]}, {"a": [0.0, 1.0]}
    for axis, chart in (
        (1, lambda **by: curves([0, 1], flat, "x", "y", **by)),
        (0, lambda **by: histogram(groups, "x", **by)),
    ):
        plain = np.asarray(chart(), dtype=int)
        places = []
        for value in (0.25, 0.75):
            changed = np.abs(np.asarray(chart(levels={"w": value}), dtype=int) - plain).max(2) > 60
            places.append(changed.sum(axis).argmax())
        assert (places[0] > places[1]) == (axis == 1) and abs(places[0] - places[1]) > 50


def test_intervals_show_their_width_and_one_person_has_none():
    def ink(low, high):
        picture = np.asarray(intervals({"A": Interval(0.5, low, high, 4), "B": Interval(0.0, -1, 1, 4)}, "cosine"))
        return (picture < 200).any(2).sum()

    assert ink(0.0, 1.0) > ink(0.4, 0.6) > ink(None, None)


def test_the_name_of_a_line_stands_beside_it():
    """The line of the axis, the first dark column, makes room for it."""

    def axis(name):
        picture = np.asarray(intervals({name: Interval(0.5, 0.4, 0.6, 4)}, "x"))
        return ((picture < 150).any(2).mean(0) > 0.6).argmax()

    assert axis("retention, against the baseline") > axis(".") + 100


def test_the_better_side_is_written_where_it_is():
    """What the words change lies left of the middle for ID, right for retention, nowhere for a cost."""
    groups = {"A": Interval(0.5, 0.4, 0.6, 4)}
    plain = np.asarray(intervals(groups, "x"), dtype=int)

    def changed(key):
        found = np.abs(np.asarray(intervals(groups, "x", keys=[key]), dtype=int) - plain).max(2) > 60
        return np.nonzero(found)[1]

    middle = plain.shape[1] / 2
    assert len(changed("id")) > 20 and changed("id").max() < middle < changed("retention").min()
    assert len(changed("seconds")) == 0
