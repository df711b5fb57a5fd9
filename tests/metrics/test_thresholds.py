"""The thresholds in the code are the measured ones, and picked by judge and size."""

import json

import pytest
from project import RESULTS

from guide_lib.errors import GuideError
from guide_lib.metrics.thresholds import (
    ACCEPTANCE,
    HEADS,
    STRICT,
    THRESHOLDS,
    Thresholds,
    acceptance_of,
    thresholds_of,
)
from guide_lib.perception.identity import JUDGES

MEASURED = json.loads((RESULTS / "judge_threshold.json").read_text(encoding="utf-8"))
ON_HEADS = json.loads((RESULTS / "heads-threshold.json").read_text(encoding="utf-8"))


def test_the_thresholds_in_the_code_are_the_measured_ones():
    stored = {
        judge: {
            int(size): Thresholds(*(round(found[name]["threshold"], 3) for name in ("accepted", "strict")))
            for size, found in by_size.items()
        }
        for judge, by_size in MEASURED["judges"].items()
    }
    assert stored == THRESHOLDS
    assert (MEASURED["false_accepts"], MEASURED["false_rejects"], MEASURED["people"]) == (1e-3, 1 / 25, 512)


def test_the_thresholds_of_heads_are_the_measured_ones():
    for judge, found in ON_HEADS["judges"].items():
        stored = Thresholds(*(round(found[name]["threshold"], 3) for name in ("accepted", "strict")))
        assert stored == HEADS[judge] == thresholds_of(judge, 128, "heads") and stored.strict <= stored.accepted
        assert found["accepted"]["false_accepts"]["interval_people"][0] <= ON_HEADS["false_accepts"]
        assert found["strict"]["rendered_false_rejects"]["share"] <= ON_HEADS["false_rejects"]
    assert acceptance_of("heads") == HEADS["dlib"].accepted and acceptance_of("ffhq") == ACCEPTANCE


def test_acceptance_is_dlibs_at_256_px_and_lies_within_the_interval_at_128():
    assert Thresholds(ACCEPTANCE, STRICT) == THRESHOLDS["dlib"][256] and ACCEPTANCE == 0.716
    low, high = MEASURED["judges"]["dlib"]["128"]["accepted"]["interval"]
    assert low < ACCEPTANCE < high


@pytest.mark.parametrize(("size", "measured"), [(16, 128), (128, 128), (129, 256), (256, 256), (1024, 256)])
def test_the_size_of_the_pictures_picks_the_next_larger_one_measured(size, measured):
    for judge in THRESHOLDS:
        assert thresholds_of(judge, size) is THRESHOLDS[judge][measured]


def test_judges_without_a_measurement_are_refused():
    assert set(THRESHOLDS) < set(JUDGES)
    with pytest.raises(GuideError, match="measured for the judge 'facenet'; choose one of: dlib, edgeface.$"):
        thresholds_of("facenet", 128)


def test_strict_rejects_few_and_is_never_above_accepted():
    for by_size in MEASURED["judges"].values():
        for found in by_size.values():
            assert found["strict"]["threshold"] <= found["accepted"]["threshold"]
            assert found["strict"]["orl_false_rejects"]["share"] <= MEASURED["false_rejects"]
            for name in ("accepted", "strict"):
                for kind in ("false_accepts", "orl_false_accepts", "orl_false_rejects"):
                    counted = found[name][kind]
                    assert counted["share"] == counted["wrong"] / counted["pairs"]
                    for low, high in (counted["interval_pairs"], counted["interval_people"]):
                        assert low <= counted["share"] <= high
