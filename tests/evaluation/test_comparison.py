"""Rows, resuming, the summary and the page, on the tiny generator: the whole evaluation in seconds."""

import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import AnySize, TinyGenerator, TinyPerceptual

from guide_lib.__main__ import main
from guide_lib.closed_form import identity_coordinates
from guide_lib.errors import GuideError
from guide_lib.evaluation import comparison
from guide_lib.evaluation.comparison import evaluate_people, unlearn_by
from guide_lib.evaluation.measuring import Measures
from guide_lib.evaluation.report import curve, write_report
from guide_lib.evaluation.results import contrast, pooled, read_rows, summarise, table_of
from guide_lib.evaluation.scenarios import GROUPS, METHODS, chosen_methods, people_of
from guide_lib.experiment import Networks, Person
from guide_lib.metrics.columns import METRICS
from guide_lib.perception import photos as pictures
from guide_lib.perception.albums import Album
from guide_lib.session import Session, photographed
from guide_lib.session.attacking import CANDIDATES
from guide_lib.targets import average_target, ufo_target
from guide_lib.unlearning import UnlearningSettings

NETWORKS = Networks(TinyGenerator(), TinyPerceptual(), AnySize(), AnySize(seed=8))
SETTINGS = UnlearningSettings(steps=4, learning_rate=3e-3)
DIRECTIONS = {name: 0.05 * torch.eye(6)[i] for i, name in enumerate(("yaw", "pitch", "smile"))}
QUALITY = ("weave", "weave_own", "clean", "strangeness")
FULL = Measures(DIRECTIONS, lambda images: images.flatten(1)[:, ::64], 24, torch.randn(30, 12), attacks=True)


def run(folder, people=2, methods=("GUIDE", "baseline"), measures=FULL, settings=SETTINGS, scenario="random"):
    return evaluate_people(NETWORKS, scenario, list(methods), settings, folder, people, measures)


def test_the_eraser_of_the_fibre_leaves_less_of_it_and_the_next_method_its_own_metric(tmp_path):
    coordinates = identity_coordinates(NETWORKS.generator, NETWORKS.embedder, torch.eye(6).double(), 2, probes=40)
    methods = ("closed form of the fibre", "closed form")
    together = run(tmp_path / "both", methods=methods, measures=Measures(coordinates=coordinates))
    alone = run(tmp_path / "one", methods=methods[1:], measures=Measures(coordinates=coordinates))
    assert [row["id_fibre"] for row in together if row["method"] == methods[1]] == [row["id_fibre"] for row in alone]
    assert together[0]["id_fibre"] != together[1]["id_fibre"]
    assert together[0]["id_fibre_control"] == together[1]["id_fibre_control"]
    assert together[0]["accepted_fibre"] in [k / 16 for k in range(17)]


def test_a_row_has_every_measure_and_its_cost(tmp_path):
    rows = run(tmp_path, people=1)
    assert [(row["scenario"], row["method"], row["person"]) for row in rows] == [
        ("random", "GUIDE", "0"),
        ("random", "baseline", "0"),
    ]
    for row in rows:
        asked_for = {key for key in METRICS if key.endswith("_second") or "_fibre" in key}
        assert METRICS.keys() - row.keys() == {"judge", "lpips", "retention_lowest", "score", "collapse"} | asked_for
        assert all(row[key] is None or METRICS[key].holds(row[key]) for key in METRICS.keys() & row)
        assert [key for key in METRICS.keys() & row if row[key] is None] in ([], ["relearn_lead"])  # no equal start
        assert row["reinverted_w_steps"] == 320 and row["relearn_seconds_control"] >= 0 and row["seconds"] > 0
        assert len(row["neighbours_mapped"]) == len(row["neighbours_random"]) == 6
        assert 0 <= row["fingerprint_rank"] < CANDIDATES
    assert not list(tmp_path.glob("random*")) and len(list((tmp_path / "pictures").glob("*.jpg"))) == 2
    assert json.loads((tmp_path / "summary.json").read_text())["summary"].keys() == {
        "random: GUIDE",
        "random: baseline",
    }


def test_what_is_there_is_not_computed_again_and_half_a_line_is_dropped(tmp_path, monkeypatch):
    first = run(tmp_path, people=1, measures=Measures())
    path = tmp_path / "people.jsonl"
    path.write_text(path.read_text() + '{"scenario": "random", "method": "GU')
    assert read_rows(tmp_path / "people.jsonl") == first
    made = []
    real = comparison.unlearn_by
    monkeypatch.setattr(comparison, "unlearn_by", lambda *args: made.append(args) or real(*args))
    rows = run(tmp_path, people=2, measures=Measures())
    assert [(method, person.name) for method, _, person, *_ in made] == [("GUIDE", "1"), ("baseline", "1")]
    assert rows[:2] == first and rows == read_rows(tmp_path / "people.jsonl") and len(rows) == 4
    wanted = []
    monkeypatch.setattr(comparison, "people_of", lambda *args: wanted.append(args[5]) or iter(()))
    for methods in (["GUIDE"], ["GUIDE", "GUIDE without local"]):
        run(tmp_path, people=3, measures=Measures(), methods=methods)
    assert wanted == [{"0", "1"}, set()]  # whoever lacks a method is needed again


def test_a_folder_from_before_there_was_some_setting_goes_on(tmp_path):
    first = run(tmp_path, people=1, methods=["GUIDE"], measures=Measures())
    facts = json.loads((tmp_path / "run.json").read_text())
    del facts["settings"]["grid"]
    (tmp_path / "run.json").write_text(json.dumps(facts))
    assert run(tmp_path, people=2, methods=["GUIDE"], measures=Measures())[:1] == first
    del facts["settings"]["steps"]  # its default is another number of steps
    (tmp_path / "run.json").write_text(json.dumps(facts))
    with pytest.raises(GuideError, match="other settings"):
        run(tmp_path, people=2, methods=["GUIDE"], measures=Measures())


def test_rows_of_other_settings_are_not_mixed(tmp_path):
    run(tmp_path, people=1, methods=["GUIDE"], measures=Measures())
    with pytest.raises(GuideError, match="holds rows made with other settings; choose another folder"):
        run(tmp_path, people=1, measures=Measures(), settings=replace(SETTINGS, seed=1))
    with pytest.raises(GuideError, match="other settings"):  # with views: those rows have none
        run(tmp_path, people=2, measures=Measures(DIRECTIONS))
    with pytest.raises(GuideError, match="other settings"):
        another = replace(NETWORKS, generator=TinyGenerator(seed=1))
        evaluate_people(another, "random", ["GUIDE"], SETTINGS, tmp_path, 2)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "people.jsonl").write_text("{}\n")
    with pytest.raises(GuideError, match="other settings"):
        run(tmp_path / "old", people=1)


def test_the_summary_is_the_mean_over_people_and_one_person_has_no_interval(tmp_path):
    rows = run(tmp_path, people=3, methods=["GUIDE"], measures=Measures())
    entry = summarise(rows)["random: GUIDE"]
    assert entry["people"] == 3 and entry["id"]["mean"] == pytest.approx(np.mean([row["id"] for row in rows]))
    assert entry["id"]["low"] <= entry["id"]["mean"] <= entry["id"]["high"] and "fid_pre" not in entry
    faces = np.array([row["became"] for row in rows])
    assert entry["collapse"] == pytest.approx(np.mean([faces[i] @ faces[j] for i, j in ((0, 1), (0, 2), (1, 2))]))
    assert entry["retention_lowest"] == min(row["retention_min"] for row in rows)
    assert entry["retention_min"]["mean"] == pytest.approx(np.mean([row["retention_min"] for row in rows]))
    assert "score" not in entry  # nobody was attacked
    attacked = [row | {"reinverted_w_accepted": hit} for row, hit in zip(rows, (1.0, 0.0, 0.0), strict=True)]
    kept = np.mean([row["retention"] for row in rows])
    assert summarise(attacked)["random: GUIDE"]["score"] == pytest.approx(2 / (1 / kept + 3 / 2))
    single = summarise(rows[:1])
    assert f"{rows[0]['id']:.3f} |" in table_of(single) and "FID" not in table_of(single)
    assert single["random: GUIDE"]["id"]["low"] is None and "collapse" not in single["random: GUIDE"]
    assert f"| {entry['collapse']:.3f} |" in table_of(summarise(rows))


@pytest.mark.parametrize("key, value", [("id", 1.7), ("accepted", -0.1), ("fid_pre", float("nan")), ("seconds", "12")])
def test_a_number_that_its_metric_cannot_have_is_damage(tmp_path, key, value):
    row = {"scenario": "random", "method": "A", "person": "0", "retention": 0.9, "became": [1.0]}
    path = tmp_path / "people.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps(row | {key: value}) + "\n")
    with pytest.raises(GuideError, match=f"Line 2 of .* is damaged: {key} cannot be .*; delete that line"):
        read_rows(path)
    path.write_text(json.dumps(row) + "\n" + json.dumps(row | {key: None}) + "\n")
    assert len(read_rows(path)) == 2  # a metric that was not measured, and older rows that lack one


def test_the_quality_of_what_replaces_people_is_a_column_and_older_rows_have_a_dash(tmp_path):
    rows = run(tmp_path, people=2, methods=["GUIDE"], measures=Measures())
    assert [row["clean"] for row in rows] == [float(row["weave"] <= row["weave_own"]) for row in rows]
    old = [{key: x for key, x in row.items() if key not in QUALITY} | {"method": "before"} for row in rows]
    keys = ["id", *QUALITY]
    head, _, new_line, old_line = table_of(summarise([*rows, *old]), keys).splitlines()
    assert all(METRICS[key].heading in head for key in keys)
    assert new_line.count("| -") == 0 and old_line.count("| -") == len(QUALITY)
    assert METRICS["weave"].heading not in table_of(summarise(old))


def test_a_contrast_of_shares_is_exact_and_of_an_unknown_metric_none():
    rows = [
        {"scenario": "random", "method": method, "person": str(i), "accepted_w_u": 0.0}
        for method in "AB"
        for i in range(6)
    ]
    found = contrast(rows, "accepted_w_u", "A", "B")
    assert found.mean == 0 and found.high == -found.low > 0.4
    with pytest.raises(GuideError, match="There is no metric 'truncation'; choose one of: id, "):
        contrast(rows, "truncation", "A", "B")


def test_several_seeds_of_a_person_are_one_person():
    def row(person, seed, method="A", **values):
        return {"scenario": "random", "method": method, "person": person, "seed": seed} | values

    single = [row("0", 0, id=0.2, retention_min=0.8, relearnt=1.0, became=[1.0, 0.0])]
    other = [row("1", 0, id=0.4, retention_min=0.7, relearnt=0.0, became=[0.6, 0.8])]
    seeds = [row("1", 1, id=0.8, retention_min=0.3, relearnt=None, became=[0.0, 1.0])]
    assert pooled([*single, *other]) == [*single, *other]
    entry = summarise([*single, *other, *seeds])["random: A"]
    assert entry["people"] == 2 and entry["id"]["people"] == 2 and entry["id"]["mean"] == pytest.approx(0.4)
    assert entry["relearnt"]["mean"] == 0.5, "a seed that lacks a number does not count for it"
    assert entry["retention_min"]["mean"] == pytest.approx(0.65) and entry["retention_lowest"] == 0.3
    assert entry["collapse"] == pytest.approx((0.6 + 0.0) / 2), "each seed beside other people, never beside its own"
    found = contrast([*other, *seeds, row("1", 0, "B", id=0.5), row("1", 1, "B", id=0.5)], "id", "A", "B")
    assert found.people == 1 and found.mean == pytest.approx(0.1)


def test_another_seed_starts_the_defenders_searches_elsewhere(tmp_path, monkeypatch):
    seen = []

    def rounds(session, settings):
        seen.append((settings.training.seed, settings.attacker.seed))
        yield from ()

    monkeypatch.setattr(Session, "erase_for_good", rounds)
    person = Person("7", NETWORKS.generator.sample(1, torch.Generator().manual_seed(7)))
    for seed in (0, 5):
        unlearn_by("for good", Session(NETWORKS), person, replace(SETTINGS, seed=seed), tmp_path / "7.safetensors")
    assert seen == [(0, 0), (5, 5)]


def test_methods_prepare_what_their_names_say():
    session = Session(NETWORKS)
    w_u, w_avg = session.choose(seed=1).w_u, NETWORKS.generator.w_avg

    def prepared(name):
        settings = METHODS[name].prepare(session, SETTINGS)
        return session.w_t, settings

    assert torch.equal(prepared("GUIDE")[0], ufo_target(w_u, w_avg)) and prepared("GUIDE")[1] == SETTINGS
    assert torch.equal(prepared("baseline")[0], average_target(w_u, w_avg))
    assert torch.equal(prepared("closed form to the mean")[0], average_target(w_u, w_avg))
    assert torch.equal(prepared("closed form")[0], session.target("natural"))
    assert prepared("closed form then GUIDE")[1].position(1) == 1.0
    assert prepared("baseline")[1] == SETTINGS.local_only()
    assert torch.equal(prepared("d = 5")[0], ufo_target(w_u, w_avg, 5.0))
    assert prepared("alpha = 0")[1] == replace(SETTINGS, alpha_max=0.0)
    assert prepared("N_g = 4")[1].n_global == 4 and prepared("N_a = 1")[1].n_adjacent == 1
    for loss in ("local", "adjacency", "global"):
        assert prepared(f"GUIDE without {loss}")[1] == replace(SETTINGS, **{f"weight_{loss}": 0.0})
    assert [prepared(name)[1].trained for name in GROUPS["frugal"]] == ["styles", "lora", "adapters"]
    assert {*GROUPS["d"], *GROUPS["alpha"]} == {
        "d = 0",
        "d = 5",
        "d = 15",
        "d = 50",
        "alpha = 0",
        "alpha = 5",
        "alpha = 30",
    }
    assert not any("," in name for name in (*METHODS, *GROUPS)), "--methods takes names with commas between them"
    assert chosen_methods(["GUIDE", "main"])[:2] == ["GUIDE", "baseline"]
    with pytest.raises(GuideError, match="There is no method 'guide'; choose from: main"):
        chosen_methods(["guide"])


def test_closed_form_is_measured_like_the_others_and_leaves_nothing_behind(tmp_path):
    methods = ["closed form", "GUIDE", "closed form then GUIDE"]
    rows = run(tmp_path, 2, methods, Measures())
    assert [row["method"] for row in rows] == methods * 2
    again = run(tmp_path / "alone", 2, ["GUIDE"], Measures())
    guide = [row for row in rows if row["method"] == "GUIDE"]
    assert [row["id"] for row in guide] == [row["id"] for row in again]  # nobody was erased before
    for row in rows:
        assert row["seconds"] > 0 and row["target_seconds"] > 0 and row["id"] < 0.95
    assert not list(tmp_path.glob("*closed*.safetensors"))


def test_identity_ascent_moves_the_person_away(tmp_path):
    settings = replace(SETTINGS, steps=60)
    (row,) = run(tmp_path, 1, ["identity ascent"], Measures(), settings)
    assert row["id"] < 0.9
    session = Session(NETWORKS)
    session.choose(seed=1)
    METHODS["identity ascent"].prepare(session, settings)
    assert torch.equal(session.w_t, session.person.w_u)


def test_scenarios_give_latents_inversions_and_photos(tmp_path, monkeypatch):
    random = list(people_of("random", NETWORKS, 3, tmp_path))
    assert [person.name for person in random] == ["0", "1", "2"] and all(person.photo is None for person in random)
    (ind,) = people_of("ind", NETWORKS, 1, tmp_path)
    assert ind.photo.shape == (1, 3, 16, 16) and ind.w_u.shape == (1, 3, 6)
    assert len({random[0].name, ind.name}) == 2
    photos = tmp_path / "photos"
    (photos / "ada").mkdir(parents=True)
    (photos / "bob.png").write_bytes(b"")

    def album(path, alignment):
        assert alignment is NETWORKS.generator.alignment
        return Album(["a", "b", "c"], torch.rand(3 if path.is_dir() else 1, 3, 32, 32), {})

    monkeypatch.setattr(photographed, "photos_of", album)
    ada, bob = people_of("ood", NETWORKS, 5, tmp_path, photos)
    assert (ada.name, len(ada.w_u), len(ada.others)) == ("ada", 1, 2) and (bob.name, bob.others) == ("bob", None)
    inverted = []
    monkeypatch.setattr(
        photographed, "inverted", lambda networks, photos, folder, inversion: inverted.append(1) or torch.rand(1, 3, 6)
    )
    (only,) = people_of("ood", NETWORKS, 5, tmp_path, photos, skip={"ada"})
    assert only.name == "bob" and len(inverted) == 1
    assert [person.name for person in people_of("random", NETWORKS, 3, tmp_path, skip={"0", "2"})] == ["1"]
    assert [person.name for person in people_of("ind", NETWORKS, 2, tmp_path, skip={"10000"})] == ["10001"]
    with pytest.raises(GuideError, match="There is no scenario 'rnd'; choose one of: random, ind, ood."):
        next(people_of("rnd", NETWORKS, 1, tmp_path))


@pytest.fixture
def crowd(tmp_path, monkeypatch):
    """A folder of people, and a stand-in that sees a face in every picture that is not grey."""
    photos = tmp_path / "crowd"
    for name, colour in {"ada": "red", "bob": "grey", "cyd": "blue", "dan/1": "grey", "eve/1": "lime"}.items():
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), colour).save(photos / f"{name}.png")
    (photos / "eve" / "2.txt").write_text("a caption")
    (photos / "dataset.json").write_text("{}")

    def align(photo, *_):
        if photo.getpixel((0, 0)) == (128, 128, 128):
            raise GuideError(f"No face found in {photo.info['name']}; use another.")
        return torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float() / 127.5 - 1

    monkeypatch.setattr(pictures, "align", align)
    return photos


def names(crowd, folder, **options):
    options = {"count": 9, "skip": ()} | options
    return [p.name for p in people_of("ood", NETWORKS, options["count"], folder, crowd, options["skip"])]


def test_whoever_has_no_face_is_left_out_and_the_others_are_evaluated(crowd, tmp_path, capsys):
    assert names(crowd, tmp_path) == ["ada", "cyd", "eve"]
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped")]
    reasons = (
        "No face found in bob.png",
        "There is no usable photo in",
        "dataset.json is not a picture",
        "2.txt is not",
    )
    assert len(said) == 4 and all(sum(reason in line for line in said) == 1 for reason in reasons)


def test_whoever_is_left_out_takes_nobodys_place(crowd, tmp_path):
    assert names(crowd, tmp_path, count=2) == ["ada", "cyd"]
    assert names(crowd, tmp_path, count=2, skip={"ada"}) == ["cyd"]
    assert names(crowd, tmp_path, count=2, skip={"ada", "cyd"}) == []


def test_nobody_who_can_be_used_is_one_sentence(crowd, tmp_path):
    for name in ("ada.png", "cyd.png", "eve/1.png"):
        (crowd / name).unlink()
    with pytest.raises(GuideError, match="Nobody in .* can be used; add a sharp photo for each person, or a folder"):
        names(crowd, tmp_path)
    with pytest.raises(GuideError, match="No face found in bob.png"):
        names(crowd / "bob.png", tmp_path)
    with pytest.raises(GuideError, match="There is no photo at"):
        names(crowd / "nowhere", tmp_path)


def test_the_second_of_two_people_of_one_name_is_left_out_and_said(crowd, tmp_path, capsys):
    Image.new("RGB", (64, 64), "green").save(crowd / "ada.webp")
    (crowd / "cyd.txt").write_text("a caption of the same name is nobody")
    assert names(crowd, tmp_path) == ["ada", "cyd", "eve"]
    assert "are called 'ada'; rename ada.webp." in capsys.readouterr().err
    assert names(crowd, tmp_path, skip={"ada"}) == ["cyd", "eve"]


def test_a_person_whose_name_is_in_another_encoding_has_rows_and_a_page(crowd, tmp_path):
    (crowd / "ada.png").rename(crowd / os.fsdecode(b"Jos\xe9.png"))
    for name in ("cyd.png", "eve/1.png"):
        (crowd / name).unlink()
    rows = evaluate_people(NETWORKS, "ood", ["GUIDE"], SETTINGS, tmp_path / "run", 5, Measures(), crowd)
    assert (
        [row["person"] for row in rows]
        == [r"Jos\xe9"]
        == [row["person"] for row in read_rows(tmp_path / "run/people.jsonl")]
    )
    assert r"Jos\xe9" in write_report(tmp_path / "run").read_text(encoding="utf-8")


class Links(HTMLParser):
    """Collects tags, and everything that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched, self.tags = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.fetched += [value for name, value in attributes if name in ("src", "href", "data", "action")]


def test_the_page_holds_tables_curves_and_pictures_and_asks_for_nothing(tmp_path):
    run(tmp_path, people=2)
    page = write_report(tmp_path).read_text(encoding="utf-8")
    links = Links()
    links.feed(page)
    assert links.tags.count("img") == 4 and links.tags.count("polyline") >= 6 and links.tags.count("table") == 3
    assert all(target.startswith("data:image/jpeg;base64,") for target in links.fetched)
    assert not re.search(r"https?://", page) and "<script" not in page
    summary = summarise(read_rows(tmp_path / "people.jsonl"))
    assert f"{summary['random: GUIDE']['retention']['mean']:.3f}" in page
    for key in summary["random: GUIDE"].keys() & METRICS:
        assert f'<th scope="col">{METRICS[key].heading}</th>' in page
        assert METRICS[key].meaning in page.replace("&#x27;", "'")


def test_the_page_of_one_run_shows_figures_inside_of_figures(tmp_path):
    figures = {"id": 0.25, "W": {"judge": 0.5, "lpips": {"mean": 0.125}}, "names": ["a"], "settings": {"steps": 7}}
    (tmp_path / "metrics.json").write_text(json.dumps(figures))
    page = write_report(tmp_path).read_text(encoding="utf-8")
    shown = {
        METRICS["id"].heading: "0.250",
        f"W: {METRICS['judge'].heading}": "0.500",
        "W: lpips: mean": "0.125",
        "steps": "7",
    }
    for name, value in shown.items():
        assert f"<td>{name}</td><td>{value}</td>" in page
    assert "names" not in page


def test_lines_of_many_methods_and_scenarios_can_be_told_apart(tmp_path):
    lines = {f"method {i}": [(0, i), (1, i)] for i in range(12)}
    looks = re.findall(r'stroke="(#\w+)" stroke-dasharray="([\d ]*)"', curve(lines, "x", "y"))
    assert len(set(looks)) == 12


def test_whatever_stands_in_the_files_is_escaped(tmp_path):
    evil = "<script>alert(1)</script>"
    row = {"scenario": evil, "method": '"><b>', "person": evil, "id": 0.5, "retention": 1.0, "became": [1.0]}
    (tmp_path / "people.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "metrics.json").write_text(json.dumps({evil: evil, "settings": {evil: evil}}))
    page = write_report(tmp_path).read_text(encoding="utf-8")
    links = Links()
    links.feed(page)
    assert "script" not in links.tags and "b" not in links.tags and page.count("&lt;script&gt;") >= 6
    assert "<b>" not in curve({"<b>": [(0, 0), (1, 1)]}, "<b>", "<b>")


def test_a_folder_without_results_is_one_sentence(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "holds no results; name the folder of a run." in capsys.readouterr().err
    assert main(["report", str(tmp_path / "none")]) == 2
    assert "There is no folder at" in capsys.readouterr().err
    assert main(["evaluate", "--methods", "magic", "--out", str(tmp_path)]) == 2
    assert "There is no method 'magic'" in capsys.readouterr().err
    assert main(["evaluate", "--real", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "say how many with --pairs." in capsys.readouterr().err


def test_a_table_stands_upright_or_sideways():
    rows = [
        {"scenario": "random", "method": method, "person": "0", "id": value, "became": [1.0]}
        for method, value in (("A", 0.5), ("B", 0.25))
    ]
    rows[0]["retention"] = 1.0
    summary = summarise(rows)
    upright = table_of(summary, ("id", "retention")).splitlines()
    assert upright[:2] == ["| | people | ID (lower) | retention (higher) |", "|---|---|---|---|"]
    assert upright[3] == "| random: B | 1 | 0.250 | - |"
    sideways = table_of(summary, ("id", "retention"), sideways=True).splitlines()
    assert sideways[:3] == ["| | random: A | random: B |", "|---|---|---|", "| people | 1 | 1 |"]
    assert sideways[4] == "| retention (higher) | 1.000 | - |"


def test_a_contrast_compares_each_person_with_herself():
    def row(method, person, value, scenario="random"):
        return {"scenario": scenario, "method": method, "person": person, "id": value}

    rows = [row("A", "0", 0.5), row("B", "0", 0.4), row("A", "1", -0.3), row("B", "1", -0.4)]
    rows += [row("A", "2", 9.0), row("A", "0", 0.2, "ood"), row("B", "0", 0.1, "ood"), row("C", "0", 7.0)]
    found = contrast(rows, "id", "A", "B")
    assert found.people == 3 and found.mean == pytest.approx(0.1)
    assert found.high - found.low < 1e-9  # everybody changed by the same, however different they are
    assert contrast(rows, "id", "B", "A").mean == pytest.approx(-0.1)
    with pytest.raises(GuideError, match="No person has 'id' with both 'A' and 'D'"):
        contrast(rows, "id", "A", "D")
