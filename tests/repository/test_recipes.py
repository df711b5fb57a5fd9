"""The recipes' own logic on small stand-ins; what they train and measure at full size is in data/."""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from project import recipe
from safetensors.torch import load_file
from scipy.stats import mannwhitneyu
from tiny import GreyEncoder, TinyEmbedder, TinyGenerator, TinyPerceptual

from guide_lib.assets import fetch
from guide_lib.errors import GuideError
from guide_lib.evaluation import Bench, Measures
from guide_lib.evaluation.results import read_rows
from guide_lib.experiment import Networks
from guide_lib.inversion.methods import Method
from guide_lib.inversion.optimise import InversionSettings, invert
from guide_lib.inversion.pivotal import PivotalSettings
from guide_lib.losses import Distance
from guide_lib.perception.albums import load_person
from guide_lib.perception.identity import load_embedder
from guide_lib.session import Session
from guide_lib.targets import ufo_target
from guide_lib.unlearning import UnlearningSettings
from guide_lib.unlearning.objective import Objective

SHORT = {
    "encoder": Method(True, InversionSettings(steps_w=0, steps_w_plus=0)),
    "refine": Method(True, InversionSettings(steps_w=0, steps_w_plus=5)),
    "optimise": Method(False, InversionSettings(steps_w=6, steps_w_plus=4)),
    "pivotal": Method(False, InversionSettings(steps_w=6, steps_w_plus=0), PivotalSettings(steps=3)),
}


@pytest.fixture
def networks() -> Networks:
    return Networks(TinyGenerator(), TinyPerceptual(), TinyEmbedder(), TinyEmbedder(seed=8))


@pytest.fixture
def table(monkeypatch):
    module = recipe("inversion_table")
    monkeypatch.setattr(module, "METHODS", SHORT)
    return module


@pytest.fixture(scope="module")
def curves():
    return recipe("inversion_roc")


@pytest.fixture(scope="module")
def training():
    return recipe("encoder")


def test_the_table_measures_every_method_and_resumes(table, networks, tmp_path, monkeypatch):
    encoder, batches = (
        GreyEncoder(networks.generator.w_avg),
        table.held_out(networks, {"encoder": 5, "refine": 5, "optimise": 4, "pivotal": 2}, batch=2),
    )
    assert [len(photos) for photos, _ in batches.values()] == [2, 2, 1]
    rows = table.all_rows(networks, encoder, batches, tmp_path)
    faces = {method: values["faces"] for method, values in table.summary(rows).items()}
    assert faces == {"encoder": 5, "W": 4, "W+": 4, "encoder, then W+": 5, "pivotal tuning at W": 2}
    monkeypatch.setattr(table, "invert_by", lambda *_: pytest.fail("computed again"))
    assert table.all_rows(networks, encoder, batches, tmp_path) == rows


def test_the_rows_of_an_interrupted_table_are_completed(table, networks, tmp_path):
    encoder, batches = (
        GreyEncoder(networks.generator.w_avg),
        table.held_out(networks, {"encoder": 2, "refine": 2, "optimise": 2, "pivotal": 0}, batch=2),
    )
    whole = table.all_rows(networks, encoder, batches, tmp_path)
    lines = (tmp_path / "rows.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "rows.jsonl").write_text("".join(lines[:2]) + lines[2][:50])  # as a kill in the middle leaves it
    again = table.all_rows(networks, encoder, batches, tmp_path)
    assert [(row["method"], row["judge"]) for row in again] == [(row["method"], row["judge"]) for row in whole]


def test_a_row_of_the_table_is_what_the_library_finds(table, networks, tmp_path):
    encoder, batches = (
        GreyEncoder(networks.generator.w_avg),
        table.held_out(networks, {"encoder": 2, "refine": 2, "optimise": 2, "pivotal": 0}, batch=2),
    )
    photos, _ = batches["0-1"]
    rows = {row["method"]: row for row in table.all_rows(networks, encoder, batches, tmp_path)}
    known = dict(perceptual=networks.perceptual, embedder=networks.embedder)
    codes = {
        "encoder": encoder(photos),
        "encoder, then W+": invert(
            networks.generator, photos, SHORT["refine"].optimisation, start=encoder(photos), **known
        ),
        "W+": invert(networks.generator, photos, SHORT["optimise"].optimisation, **known),
    }
    for method, ws in codes.items():
        images = networks.generator.synthesis(ws).image
        assert rows[method]["lpips"] == pytest.approx(networks.perceptual(images, photos).tolist(), rel=1e-4)
        judged = (networks.judge.embed(images) * networks.judge.embed(photos)).sum(1).tolist()
        assert rows[method]["judge"] == pytest.approx(judged, abs=1e-4)
    assert rows["W+"]["seconds"][0] > rows["W"]["seconds"][0] > 0  # W+ goes on from W


def test_the_markdown_table_has_a_line_for_each_method(table):
    values = {"faces": 8, "judge": 0.876, "lpips": 0.123, "seconds": 9.87}
    result = {part: {"encoder": values, "W": values} for part in ("generated", "portrait")}
    assert table.table(result).splitlines()[2:] == [
        "| encoder | 8 | 0.88 | 0.12 | 9.9 | 0.88 | 0.12 |",
        "| W | 8 | 0.88 | 0.12 | 9.9 | 0.88 | 0.12 |",
    ]


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_under_the_curve_is_the_share_of_pairs_in_the_right_order(curves, ties):
    rng = np.random.default_rng(0)
    same, different = rng.normal(1, 1, 40), rng.normal(0, 1, 70)
    if ties:
        same, different = same.round(), different.round()
    false, true, area = curves.roc(same, different)
    assert area == pytest.approx(mannwhitneyu(same, different).statistic / (40 * 70))
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert (np.diff(false) >= 0).all() and (np.diff(true) >= 0).all()


def test_photos_are_compared_with_others_of_the_same_person_and_with_strangers(curves):
    """Four pictures of two people; reconstructions point at the person, turned a little."""
    people = np.array([0, 0, 1, 1])
    photos = torch.eye(2)[people]
    result = curves.compare(photos, photos.flip(1), people)
    assert result["auc"] == 0.0 and result["mean_cosine"] == {"own": 0.0, "same": 0.0, "different": 1.0}
    assert curves.compare(photos, photos, people)["auc"] == 1.0
    assert result["pairs"] == {"same": 4, "different": 8}
    json.dumps(result)


def test_orl_faces_are_enlarged_and_aligned(curves):
    images = load_file(fetch("orl-faces"))["images"][:2, :1].numpy()
    photos, people = curves.aligned_faces(images)
    assert photos.shape == (2, 3, 256, 256) and people.tolist() == [0, 1]
    assert photos.std() > 0.1


def test_photos_of_real_people_can_be_aligned_once_they_are_enlarged(tmp_path):
    folder = recipe("evaluation").orl_folders(tmp_path, people=2)
    assert sorted(path.name for path in folder.iterdir()) == ["orl01", "orl02"]
    person = load_person(folder / "orl02", size=64)
    assert person.names == ["0.png", "1.png", "2.png", "3.png"] and person.photos.std() > 0.1


@pytest.fixture
def attacks(networks, monkeypatch):
    """`run`: the recipe with short searches on tiny networks."""
    module = recipe("attacked")
    monkeypatch.setattr(module, "load_networks", lambda **_: networks)
    monkeypatch.setattr(module, "load_directions", lambda _: None)
    monkeypatch.setattr(module, "load_judge", lambda *_: TinyEmbedder(seed=9))
    monkeypatch.setattr(UnlearningSettings, "table", partial(UnlearningSettings.fast, steps=2))
    short = replace(module.ATTACKERS["own"], settings=InversionSettings(2, 2))
    monkeypatch.setattr(module, "ATTACKERS", {"own": short})

    def run(out: Path, work: list[Path], *more: str) -> list[dict]:
        asked = ("--people", "2", "--methods", "closed form", "--out", f"{out}", "--work", *map(str, work))
        monkeypatch.setattr(sys, "argv", ["attacked.py", *asked, *more])
        module.main()
        return read_rows(out / "attacked-people.jsonl")

    return run


ATTACKED = [
    (person, method, who)
    for person in ("0", "1")
    for method, who in (("untouched", "person"), ("closed form", "person"), ("closed form", "stranger"))
]


def who_was_attacked(path: Path) -> list[tuple]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {found["steps"] for row in rows for space in row["spaces"].values() for found in space} == {4}
    return [(row["person"], row["method"], row["who"]) for row in rows]


def test_attacks_are_stored_once_whoever_made_them_and_say_who_was_attacked(attacks, tmp_path, capsys):
    for number in (1, 2):
        assert not attacks(tmp_path, [tmp_path / "work"], "--shard", f"{number}/2")
    assert len(attacks(tmp_path, [tmp_path / "work"], "--tables")) == 2
    attacks(tmp_path, [tmp_path / "work", tmp_path / "work"])  # nothing is there twice
    assert who_was_attacked(tmp_path / "attacked-attacks.jsonl") == ATTACKED
    assert [row["person"] for row in read_rows(tmp_path / "attacked-people.jsonl")] == ["0", "1"]
    assert list(json.loads((tmp_path / "attacked-attackers.json").read_text())) == ["strong"]
    text = (tmp_path / "attacked.md").read_text()
    assert text.count("| closed form: strong, W (2 people) |") == 2 and "retention" in text
    assert text in capsys.readouterr().out


def test_attacks_that_are_stored_or_of_an_older_folder_are_not_made_again(attacks, tmp_path, monkeypatch):
    old = tmp_path / "old"
    attacks(tmp_path / "unused", [old], "--shard", "1/2")
    for name in ("attacks.jsonl", "people.jsonl", "attackers.json"):  # rows had no seed, and shards no folder
        text = (old / "shard-1-of-2" / name).read_text()
        (old / name).write_text(text.replace('"seed": 0, ', "") if name != "attackers.json" else text)
        (old / "shard-1-of-2" / name).unlink()
    (tmp_path / "out").mkdir()
    attacks(tmp_path / "out", [old, tmp_path / "another"])
    rows = read_rows(tmp_path / "out" / "attacked-people.jsonl")
    assert [(row["person"], row.get("seed")) for row in rows] == [("0", None), ("1", 0)]
    monkeypatch.setattr("guide_lib.evaluation.attacked.unlearn_by", None)
    assert attacks(tmp_path / "out", [tmp_path / "new"]) == rows, "what is stored is enough"
    assert who_was_attacked(tmp_path / "new" / "attacks.jsonl") == ATTACKED


def test_attacks_under_another_seed_are_further_rows_of_the_same_people(attacks, tmp_path):
    for seed in ("0", "1"):
        attacks(tmp_path, [tmp_path / "work"], "--seed", seed)
    assert [row["seed"] for row in read_rows(tmp_path / "attacked-people.jsonl")] == [0, 0, 1, 1]
    assert who_was_attacked(tmp_path / "attacked-attacks.jsonl") == 2 * ATTACKED
    assert (tmp_path / "attacked.md").read_text().count("| closed form: strong, W (2 people) |") == 2


def test_the_evaluation_keeps_its_rows_beside_the_recipe_and_goes_on_from_them(networks, tmp_path, monkeypatch):
    module = recipe("evaluation")

    def bench(folder: Path, **asked: object) -> Bench:
        assert asked == {"resolution": 128, "device": None, "pairs": 256, "attacks": False}
        measures = Measures(None, lambda images: images.flatten(1)[:, ::64], pairs=24)
        return Bench(Session(networks, folder), measures)

    monkeypatch.setattr(module, "open_bench", bench)
    monkeypatch.setattr(UnlearningSettings, "table", partial(UnlearningSettings.fast, steps=2))

    def rows(people: int, *more: str) -> list[str]:
        made = ["main", "--scenarios", "random", "--methods", "GUIDE", "--people", f"{people}", *more]
        work = tmp_path / f"{people}{len(more)}"  # a new one each time, as on another machine
        monkeypatch.setattr(sys, "argv", ["evaluation.py", *made, "--work", f"{work}", "--out", f"{tmp_path}"])
        module.main()
        return (tmp_path / "main-people.jsonl").read_text().splitlines()

    first = rows(1)
    assert len(first) == 1 and rows(2)[0] == first[0] and len(rows(2)) == 2
    assert (tmp_path / "main-table.md").read_text().count("random: GUIDE") == 1
    quoted = (tmp_path / "main.md").read_text()
    assert quoted.startswith("| | people | ID (lower) | retention (higher) | lowest retention, mean (higher) |")
    assert json.loads((tmp_path / "main-run.json").read_text())["settings"]["steps"] == 2

    made = {path: path.read_bytes() for path in tmp_path.glob("main-*")} | {tmp_path / "main.md": quoted.encode()}
    (tmp_path / "main-table.md").write_text("")
    with monkeypatch.context() as without:
        without.setattr(module, "open_bench", lambda *_, **__: pytest.fail("the rows are there"))
        rows(0, "--tables")
    assert {path: path.read_bytes() for path in made} == made

    (tmp_path / "10" / "people.jsonl").write_text("")  # a work folder that knows less than what is stored
    assert rows(1) == (tmp_path / "main-people.jsonl").read_text().splitlines() and len(rows(1)) == 2

    elsewhere = [json.loads(line) | {"person": "another"} for line in first]
    made = (tmp_path / "main-run.json").read_text()
    (tmp_path / "other-people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in elsewhere))
    (tmp_path / "other-run.json").write_text(made)
    added = rows(0, "--add", f"{tmp_path / 'other'}", f"{tmp_path / 'other'}")
    assert len(added) == 3 and json.loads(added[2]) == elsewhere[0]
    assert "| random: GUIDE | 3 |" in (tmp_path / "main.md").read_text()
    (tmp_path / "other-run.json").write_text(made.replace('"steps": 2', '"steps": 3'))
    with pytest.raises(GuideError, match="made with other settings"):
        rows(0, "--add", f"{tmp_path / 'other'}")
    with pytest.raises(GuideError, match="There is no .*nowhere-run.json"):
        rows(0, "--add", f"{tmp_path / 'nowhere'}")


def test_rows_made_elsewhere_are_added_once_and_only_those_of_the_table(tmp_path):
    prefix, folder = tmp_path / "other", tmp_path / "work"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    row = {"scenario": "ood", "method": "GUIDE", "person": "0", "became": [0.1]}
    Path(f"{prefix}-people.jsonl").write_text(json.dumps(row) + "\n")
    Path(f"{prefix}-run.json").write_text("{}")
    add_made = recipe("evaluation").add_made
    add_made(folder, f"{prefix}", ["random"], ["GUIDE"])
    add_made(folder, f"{prefix}", ["ood"], ["baseline"])
    assert read_rows(folder / "people.jsonl") == []
    for _ in range(2):
        add_made(folder, f"{prefix}", ["random", "ood"], ["GUIDE"])
    assert read_rows(folder / "people.jsonl") == [row]
    (folder / "people.jsonl").unlink()
    Path(f"{prefix}-run.json").write_text('{"pairs": 256}')  # more was measured: where that is asked for
    with pytest.raises(GuideError, match="made with other settings"):
        add_made(folder, f"{prefix}", ["ood"], ["GUIDE"])
    add_made(folder, f"{prefix}", ["ood"], ["GUIDE"], measured=True)
    assert read_rows(folder / "people.jsonl") == [row]
    Path(f"{prefix}-run.json").write_text('{"pairs": 256, "resolution": 64}')
    with pytest.raises(GuideError, match="made with other settings"):
        add_made(folder, f"{prefix}", ["ood"], ["GUIDE"], measured=True)
    for damaged in ('{"pairs": 2', "[3]", "7"):
        Path(f"{prefix}-run.json").write_text(damaged)
        with pytest.raises(GuideError, match="other-run.json is damaged"):
            add_made(folder, f"{prefix}", ["ood"], ["GUIDE"])


def test_the_quoted_means_are_of_the_same_people():
    def row(method, person, scenario="random"):
        return {"scenario": scenario, "method": method, "person": person}

    rows = [row("A", "0"), row("B", "0"), row("A", "1"), row("A", "0", "ood")]
    assert recipe("evaluation").complete(rows) == [rows[0], rows[1], rows[3]]


def test_a_photographed_face_keeps_its_shape_and_has_no_black_corners(training):
    face = torch.full((3, 3, 128, 128), 180, dtype=torch.uint8)
    camera = training.photograph()
    for _ in range(20):
        seen = camera(face)
        assert seen.shape == face.shape and seen.dtype == torch.uint8
        assert seen.float().amin() > 60


def test_the_encoder_starts_from_the_embedder_and_near_the_mean_latent(training):
    class Rows(TinyGenerator):
        rows, w_dim = 23, 512

    generator, embedder = Rows(), load_embedder()
    generator.w_avg = torch.randn(1, 23, 512)
    encoder = training.initial_encoder(generator, embedder)
    start = embedder.network.state_dict()
    assert all(torch.equal(value, start[name]) for name, value in encoder.backbone.state_dict().items())
    code = encoder(torch.rand(1, 3, 128, 128) * 2 - 1)
    assert 0 < (code - generator.w_avg).norm(dim=2).max() < 5  # a person is 7 to 12 away


@pytest.fixture
def learner(training):
    """An encoder before its training, and a pool of random pictures whose brightness the latents tell."""
    generator, rng = TinyGenerator(), torch.Generator().manual_seed(0)
    generator.rows, generator.w_dim, generator.w_avg = 23, 512, torch.zeros(1, 23, 512)
    encoder = training.initial_encoder(generator, load_embedder()).requires_grad_(False)
    pairs = training.Pairs(generator, size=64, seed=3)
    light = torch.rand(64, 1, 1, 1, generator=rng)
    pairs.images[:] = (255 * light * torch.rand(64, 3, 128, 128, generator=rng)).byte()
    pairs.latents[:] = 2 * light.view(64, 1, 1) - 1
    return encoder, pairs


def test_the_maps_that_the_heads_learn_from_are_what_the_encoder_sees(training, learner):
    encoder, pairs = learner
    maps = training.frozen_maps(encoder, pairs, torch.nn.Identity(), torch.device("cpu"))
    for i in (0, 63):
        whole = encoder.parts(training.to_input(pairs.images[i : i + 1], torch.device("cpu")))
        read = encoder.read([level[i : i + 1].float() for level in maps])
        for a, b in zip(whole, read, strict=True):
            assert torch.allclose(a, b, atol=0.02 * a.abs().max().item() + 1e-6)


def test_the_heads_learn_and_the_backbone_stays(training, learner):
    encoder, pairs = learner
    maps = training.frozen_maps(encoder, pairs, torch.nn.Identity(), torch.device("cpu"))
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    for parameter in training.head_parameters(encoder):
        parameter.requires_grad_(True)
    training.train_heads(encoder, maps, pairs.latents, epochs=40, rng=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ws = encoder.code(*encoder.read([level.float() for level in maps]))
    assert (ws - pairs.latents).square().mean() < 0.2 * pairs.latents.square().mean()
    for name, value in encoder.state_dict().items():
        assert name.startswith(("backbone.", "w_avg")) == torch.equal(value, before[name]), name


def test_the_first_layers_are_frozen_and_every_other_is_trained(training, learner):
    encoder, _ = learner
    trained = {id(p) for p in training.head_parameters(encoder) + training.backbone_parameters(encoder)}
    frozen = [name for name, p in encoder.named_parameters() if id(p) not in trained]
    assert frozen and all(name.startswith(tuple(f"backbone.conv_{i}_" for i in range(1, 6))) for name in frozen)


def test_pairs_are_latents_and_their_pictures(training, monkeypatch):
    monkeypatch.setattr(training, "SIZE", 16)
    generator = TinyGenerator()
    pairs = training.Pairs(generator, size=8, seed=3)
    for _ in range(3):  # the third draw replaces the first
        pairs.draw(4)
    drawn = generator.synthesis(pairs.latents).image.clamp(-1, 1)
    assert (training.to_input(pairs.images, torch.device("cpu")) - drawn).abs().max() <= 1 / 127
    latents, images = pairs.batch(5)
    assert latents.shape == (5, 3, 6) and images.shape == (5, 3, 16, 16)


def test_the_manifest_takes_new_files_with_all_their_facts_and_old_ones_as_they_are(tmp_path, monkeypatch, capsys):
    manifest = recipe("manifest")
    monkeypatch.setattr(manifest, "DATA", tmp_path)
    (tmp_path / "manifest.json").write_text('{"files": {}}')
    (tmp_path / "new.bin").write_bytes(b"abc")
    with pytest.raises(SystemExit):
        manifest.main(["new.bin", "--recipe", "r"])
    assert "--source, --licence, --description" in capsys.readouterr().err
    facts = {"recipe": "r", "source": "s", "licence": "l", "description": "d"}
    manifest.main(["new.bin", *(part for name, value in facts.items() for part in (f"--{name}", value))])
    (tmp_path / "new.bin").write_bytes(b"")
    manifest.main(["new.bin"])
    entry = json.loads((tmp_path / "manifest.json").read_text())["files"]["new.bin"]
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert entry == facts | {"sha256": empty, "bytes": 0}


def test_the_manifest_in_data_is_as_the_recipe_writes_it(tmp_path, monkeypatch):
    manifest = recipe("manifest")
    before = (manifest.DATA / "manifest.json").read_text(encoding="utf-8")
    (tmp_path / "manifest.json").write_text(before, encoding="utf-8")
    names = list(json.loads(before)["files"])
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((manifest.DATA / name).read_bytes())
    monkeypatch.setattr(manifest, "DATA", tmp_path)
    manifest.main(names)
    assert (tmp_path / "manifest.json").read_text(encoding="utf-8") == before


def test_impressions_are_one_for_each_face_and_told_apart_as_by_counting_pairs():
    module = recipe("attributes")
    labels = module.labels()
    assert [len(label) for label in labels.values()] == [256] * 3
    assert not (labels["child"] * labels["old"]).any() and set(labels["sex"].tolist()) == {-1.0, 0.0, 1.0}
    scores, label = torch.tensor([0.1, 0.9, 0.4, 0.5]), torch.tensor([-1.0, 1.0, 1.0, -1.0])
    pairs = [(a > b).item() for a in scores[[1, 2]] for b in scores[[0, 3]]]
    assert module.told_apart(scores, label) == sum(pairs) / len(pairs) == 0.75


def test_a_reading_is_fitted_without_the_face_that_it_judges():
    """A label that is the noise of its own face cannot be told by the others."""
    module, rng = recipe("attributes"), torch.Generator().manual_seed(0)
    w, noise = torch.randn(256, 6, generator=rng), torch.randn(256, generator=rng).sign().double()
    assert abs(module.told_apart(module.left_out(w, noise), noise) - 0.5) < 0.12
    told = (w[:, 0] > 0).double()
    assert module.told_apart(module.left_out(w, told), told) > 0.95


def test_figures_of_targets_are_means_and_extremes_of_their_people():
    rows = [
        {"name": "ood: ufo", "person": k, "id": i, "id_others": 0.5, "retention": 0.9, "lowest": low}
        for k, (i, low) in enumerate(((0.1, 0.8), (0.3, 0.6)))
    ]
    found = recipe("natural_targets").summary(rows)["ood: ufo"]
    assert (found["people"], found["id"], found["id_max"]) == (2, pytest.approx(0.2), 0.3)
    assert (found["lowest"], found["lowest_of_all"]) == (pytest.approx(0.7), 0.6)


def test_the_pull_is_how_much_the_neighbours_lower_the_local_loss(networks):
    """Against a finite difference: a small step down either gradient, and how far the local loss falls."""
    module, settings = recipe("pull"), UnlearningSettings(steps=3, learning_rate=1e-3)
    generator = networks.generator
    w_u = generator.sample(1, torch.Generator().manual_seed(3))
    objective = Objective(
        generator, w_u, ufo_target(w_u, generator.w_avg), settings, Distance(networks.perceptual, networks.embedder)
    )
    student, fallen = generator.student(), {}
    found = module.gradients(student, objective, 1)
    parameters, draw = student.trainable_parameters(), objective.draw(1)
    for name, gradient in found.items():
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                for k, grad in gradient.items():
                    parameters[k] -= sign * 1e-4 * grad
                values.append(objective.local(student, draw)["local"].item())
                for k, grad in gradient.items():
                    parameters[k] += sign * 1e-4 * grad
        fallen[name] = values[1] - values[0]
    speed = dict.fromkeys(found["local"], 1.0)
    expected = fallen["adjacency"] / (fallen["local"] + fallen["adjacency"])
    assert module.share(**found, speed=speed) == pytest.approx(expected, rel=0.05)


def test_the_pull_is_looked_at_every_few_steps(networks):
    module = recipe("pull")
    rows = module.measure(networks, 3, UnlearningSettings(steps=5, learning_rate=1e-3), every=2)
    assert [row["step"] for row in rows] == [1, 3, 5] and len({row["share"] for row in rows}) == 3


def test_changes_of_apparent_sex_are_counted_and_groups_are_kept_apart():
    module = recipe("groups")
    before = {"sex": 1.0, "child": 0.0, "old": 0.5}
    after = [{"sex": -0.1, "child": 1.0, "old": 0.5}, {"sex": 2.0, "child": -3.0, "old": 0.0}]
    found = module.changes([(before, reading) for reading in after])
    assert found == {"sex_flipped": 0.5, "child_changed": 2.0, "old_changed": 0.25}
    rows = [
        dict.fromkeys(module.COLUMNS, value) | {"person": name} for name, value in (("a", 0.0), ("b", 1.0), ("c", 0.5))
    ]
    groups = module.by_group(rows, {"a": "man", "b": "woman", "c": "woman"})
    assert {name: (group["people"], group["id"][0]) for name, group in groups.items()} == {
        "man": (1, 0.0),
        "woman": (2, 0.75),
    }
