import pytest
import torch
import torch.nn.functional as F
from tiny import TinyEmbedder, TinyGenerator, TinyPerceptual

from guide_lib.generators import View
from guide_lib.metrics.identity import evaluate, identity_similarity, reconstruction, render
from guide_lib.metrics.quality import strangeness
from guide_lib.perception.grid import weave

JUDGE, PERCEPTUAL = TinyEmbedder(seed=8), TinyPerceptual()


@pytest.fixture
def people():
    generator = TinyGenerator()
    ws = generator.sample(7, torch.Generator().manual_seed(2))
    return generator, ws[:1], ws[1:]


def test_an_unchanged_generator_forgets_nobody(people):
    generator, w_u, others = people
    report = evaluate(generator.student(), generator, w_u, others, JUDGE, PERCEPTUAL)
    assert report.id == pytest.approx(1.0, abs=1e-5)
    assert report.retention == pytest.approx(1.0, abs=1e-5)
    assert report.lpips_others == 0.0
    assert (report.others, report.undetected) == (6, 0)


def test_every_number_equals_a_loop_over_people(people):
    generator, w_u, others = people
    student = TinyGenerator(seed=1)
    report = evaluate(student, generator, w_u, others, JUDGE, PERCEPTUAL)

    def cosine(w: torch.Tensor) -> float:
        a, b = (JUDGE.embed(g.synthesis(w).image)[0] for g in (generator, student))
        return (a @ b / (a.norm() * b.norm())).item()

    kept = [cosine(w) for w in others.split(1)]
    assert report.id == pytest.approx(cosine(w_u), abs=1e-5)
    assert report.retention == pytest.approx(sum(kept) / 6, abs=1e-5)
    assert report.retention_min == pytest.approx(min(kept), abs=1e-5)
    for threshold in (min(kept) + 1e-3, sorted(kept)[3] - 1e-3):
        found = evaluate(student, generator, w_u, others, JUDGE, PERCEPTUAL, threshold=threshold)
        still = sum(likeness >= threshold for likeness in kept)
        assert found.retained == pytest.approx(still / 6) and still < 6
    mean = sum(kept) / 6
    assert report.retention_sd == pytest.approx((sum((k - mean) ** 2 for k in kept) / 5) ** 0.5, abs=1e-5)
    lpips = [PERCEPTUAL(generator.synthesis(w).image, student.synthesis(w).image).item() for w in others.split(1)]
    assert report.lpips_others == pytest.approx(sum(lpips) / 6, rel=1e-5)


def test_the_nearest_are_those_whom_the_judge_takes_most_for_the_person():
    generator, student = TinyGenerator(), TinyGenerator(seed=1)
    w_u, others = generator.sample(20, torch.Generator().manual_seed(3)).split((1, 19))
    views = View(), View(yaw=40.0)
    report = evaluate(student, generator, w_u, others, JUDGE, PERCEPTUAL, views)
    before, after = (JUDGE.embed(g.synthesis(others).image) for g in (generator, student))
    person = [JUDGE.embed(generator.picture(w_u, view))[0] for view in views]
    alike = [sum(float(F.cosine_similarity(face, one, dim=0)) for one in person) / 2 for face in before]
    nearest = sorted(range(19), key=lambda k: alike[k])[-8:]
    expected = sum(float(F.cosine_similarity(before[k], after[k], dim=0)) for k in nearest) / 8
    assert report.retention_nearest == pytest.approx(expected, abs=1e-5) != report.retention


def test_the_quality_of_what_replaces_a_person_is_measured_against_the_others_before(people):
    generator, w_u, others = people
    student, views = TinyGenerator(seed=1), (View(), View(yaw=40.0))
    report = evaluate(student, generator, w_u, others, JUDGE, PERCEPTUAL, views)
    replacements = [student.picture(w_u, view) for view in views]
    own = [generator.picture(w) for w in others.split(1)]
    woven = sorted(weave(picture).item() for picture in own)
    assert report.weave == pytest.approx(sum(weave(picture).item() for picture in replacements) / 2, rel=1e-4)
    assert report.weave_own == pytest.approx(0.75 * woven[5] + 0.25 * woven[4], rel=1e-4)  # 95 % of five steps
    strange = [strangeness(picture, torch.cat(own), PERCEPTUAL, w_u.device).item() for picture in replacements]
    assert report.strangeness == pytest.approx(sum(strange) / 2, rel=1e-4) and report.strangeness > 0
    unchanged = evaluate(generator, generator, w_u, w_u.expand(6, -1, -1), JUDGE, PERCEPTUAL)
    assert unchanged.weave == pytest.approx(unchanged.weave_own, rel=1e-4)


def test_missing_faces_are_counted_not_hidden(people):
    generator, w_u, _ = people
    face, blank = generator.synthesis(w_u).image, torch.zeros(1, 3, 16, 16)
    assert identity_similarity(JUDGE, torch.cat([face, face]), torch.cat([face, blank]))[1] == 1


def test_pictures_are_rendered_in_order_whatever_the_batch(people):
    generator, _, others = people
    ws = torch.cat([others, others + 0.1])
    one_by_one = torch.cat([generator.synthesis(w).image for w in ws.split(1)])
    torch.testing.assert_close(render(generator, ws), one_by_one)


def test_a_reconstruction_is_compared_photo_by_photo(people):
    generator, _, others = people
    photos = TinyGenerator(seed=1).synthesis(others).image
    found = reconstruction(generator, others, photos, JUDGE, PERCEPTUAL)
    for i, (w, photo) in enumerate(zip(others.split(1), photos.split(1), strict=True)):
        image = generator.synthesis(w).image
        assert torch.allclose(found.pictures[i], image[0], atol=1e-6)
        assert found.judge[i].item() == pytest.approx((JUDGE.embed(image) * JUDGE.embed(photo)).sum().item(), abs=1e-5)
        assert found.lpips[i].item() == pytest.approx(PERCEPTUAL(image, photo).item(), rel=1e-5)
    assert found.undetected == 0
