"""The widgets, driven without a browser: values in, pictures and sentences out."""

import asyncio
import io
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace

import ipywidgets as ipw
import numpy as np
import pytest
import torch
from PIL import Image

from guide_lib import widgets
from guide_lib.figures import plots
from guide_lib.inversion.optimise import InversionStep

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@dataclass
class FakeStep:
    index: int
    losses: dict[str, float] = field(default_factory=lambda: {"local": 0.5, "total": 1.25})


def tile(colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (32, 32), colour)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def holds(png: bytes, colour: tuple[int, int, int]) -> bool:
    return bool((pixels(png) == colour).all(axis=2).any())


def everything_in(box: ipw.Widget) -> list[ipw.Widget]:
    return [box, *(inner for child in getattr(box, "children", ()) for inner in everything_in(child))]


def dashboard(total: int = 20, every: int = 5, drawn: list[int] | None = None) -> widgets.UnlearningDashboard:
    def render(step: FakeStep) -> Image.Image:
        assert not torch.is_grad_enabled()
        if drawn is not None:
            drawn.append(step.index)
        return tile(GREEN)

    return widgets.UnlearningDashboard(total, tile(RED), tile(BLUE), render, every=every)


def explorer(asked: list | None = None) -> widgets.LatentExplorer:
    def render(seed: int, truncation: float) -> torch.Tensor:
        if asked is not None:
            asked.append((seed, truncation))
        return torch.full((3, 16, 16), seed / 50 - 1)

    return widgets.LatentExplorer(render, seeds=100)


def test_dashboard_draws_every_few_steps_and_at_the_end() -> None:
    drawn: list[int] = []
    board = dashboard(total=12, every=5, drawn=drawn)
    for i in range(1, 13):
        board.show(FakeStep(i))
        assert board.progress.value == i
    assert drawn == [5, 10, 12]


def test_dashboard_shows_before_now_and_target() -> None:
    board = dashboard()
    assert holds(board.png(), RED) and holds(board.png(), BLUE) and not holds(board.png(), GREEN)
    empty = board.image.value
    board.show(FakeStep(5))
    assert holds(board.png(), GREEN)
    assert board.image.value != empty, "the widget in the browser changes too"


def test_dashboard_says_what_it_shows() -> None:
    board = dashboard(total=20)
    assert "no step of 20" in board.text.value
    board.show(FakeStep(5, {"local": 0.25, "total": 1.5}))
    assert 'role="status"' in board.text.value
    for words in ("step 5 of 20", "local loss 0.250", "total loss 1.500", "left"):
        assert words in board.text.value
    board.show(FakeStep(20))
    assert "left" not in board.text.value


def test_dashboard_says_what_was_measured_once_it_is() -> None:
    kept = {"retention": 0.9, "retention_min": 0.7, "retention_nearest": 0.8, "retained": 0.75}
    report = SimpleNamespace(id=0.1, **kept)
    board = dashboard(total=5)
    board.show(FakeStep(5))
    assert "retention" not in board.state()
    board.judge(report)
    words = "ID 0.10, retention 0.90, lowest retention 0.70, nearest eight 0.80, others still accepted 75%"
    assert board.state().endswith(f"{words}.") and words in board.text.value
    board.judge(report, found=0.0)
    assert board.state().endswith(f"{words}, score 0.95.")
    assert f"{words}, score 0.95." in board._repr_mimebundle_()["text/plain"]


def test_stop_button_sets_the_flag_that_the_loop_reads() -> None:
    board, taken = dashboard(total=20), 0
    for i in range(1, 21):
        if i == 3:
            board.button.click()
        board.show(FakeStep(i))
        taken = i
        if board.stopped:
            break
    assert taken == 3 and board.button.disabled
    assert "step 3 of 20" in board.text.value


def endless(closed: list[str]) -> Iterator[FakeStep]:
    try:
        for i in range(1, 1000):
            yield FakeStep(i)
    finally:
        closed.append("closed")


def test_run_returns_the_last_step_and_draws_it() -> None:
    drawn: list[int] = []
    board = dashboard(total=7, every=5, drawn=drawn)
    last = asyncio.run(board.run(FakeStep(i) for i in range(1, 8)))
    assert last.index == 7 and drawn == [5, 7] and not board.stopped
    with pytest.raises(ValueError, match="before its first step"):
        asyncio.run(dashboard().run(iter([])))


def test_a_click_while_the_run_goes_on_stops_it_and_closes_the_iterator() -> None:
    closed: list[str] = []
    board = dashboard(total=999, every=500)

    async def click_meanwhile() -> FakeStep:
        asyncio.get_running_loop().call_later(0.05, board.button.click)
        return await board.run(endless(closed))

    last = asyncio.run(click_meanwhile())
    assert 0 < last.index < 900 and closed == ["closed"]
    assert f"step {last.index} of 999" in board.text.value, "the last step is drawn although it is not the 500th"


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, asyncio.CancelledError])
def test_an_interrupt_keeps_the_result_so_far(interrupt: type[BaseException]) -> None:
    def interrupted() -> Iterator[FakeStep]:
        yield FakeStep(1)
        yield FakeStep(2)
        raise interrupt

    board = dashboard()
    assert asyncio.run(board.run(interrupted())).index == 2
    assert board.stopped and "step 2 of 20" in board.text.value


@pytest.mark.parametrize("mode", ["wipe", "fade"])
@pytest.mark.parametrize("position", [0.0, 0.25, 1.0])
def test_before_after_matches_the_static_function(mode: str, position: float) -> None:
    viewer = widgets.BeforeAfter(tile(RED), tile(BLUE))
    viewer.set(mode=mode, position=position)
    expected = getattr(plots, mode)(tile(RED), tile(BLUE), position)
    assert np.array_equal(pixels(viewer.png()), np.asarray(expected))


def test_before_after_follows_its_controls() -> None:
    viewer = widgets.BeforeAfter(tile(RED), tile(BLUE), labels=("Ada", "nobody"))
    viewer.controls["position"].value = 1.0
    assert holds(viewer.png(), RED) and not holds(viewer.png(), BLUE)
    assert "100%" in viewer.text.value and "Ada" in viewer.text.value
    viewer.controls["mode"].value = "fade"
    assert holds(viewer.png(), BLUE) and not holds(viewer.png(), RED)
    assert "nobody" in viewer.text.value


def test_latent_explorer_asks_for_each_picture_once() -> None:
    asked: list[tuple[int, float]] = []
    view = explorer(asked)
    view.set(seed=25, truncation=0.5)
    assert asked == [(0, 0.7), (25, 0.5)]
    view.png()
    assert asked == [(0, 0.7), (25, 0.5)], "drawn already"
    assert pixels(view.png()).mean() == pytest.approx((25 / 50 - 1 + 1) * 127.5, abs=1)
    assert "seed 25 at truncation 0.5" in view.text.value


def test_camera_orbit_draws_the_view() -> None:
    seen: list[tuple[float, float]] = []
    orbit = widgets.CameraOrbit(lambda yaw, pitch: seen.append((yaw, pitch)) or tile(GREEN))
    orbit.set(yaw=-30.0, pitch=10.0)
    assert seen == [(15.0, 0.0), (-30.0, 10.0)]
    assert orbit.state() == "Seen from yaw -30, pitch +10 degrees."
    assert holds(orbit.png(), GREEN)


def test_latent_walk_draws_the_position() -> None:
    walk = widgets.LatentWalk(lambda position: torch.full((3, 8, 8), position), start=-1, stop=1)
    assert pixels(walk.png()).mean() == 255
    walk.set(position=-1.0)
    assert pixels(walk.png()).mean() == 0 and "-1.00" in walk.text.value


def steps_of_an_inversion() -> list[InversionStep]:
    """Three steps in W, two in W+, of two photos; the code says which step it follows."""
    spaces = ["W"] * 3 + ["W+"] * 2
    return [
        InversionStep(i, 5, space, torch.tensor([1 / i, 9.0]), torch.full((2, 4, 6), float(i)), 0.1)
        for i, space in enumerate(spaces, start=1)
    ]


def scrubber(drawn: list[float] | None = None) -> widgets.InversionScrubber:
    def render(ws: torch.Tensor) -> Image.Image:
        assert ws.shape == (1, 4, 6) and not torch.is_grad_enabled()
        if drawn is not None:
            drawn.append(ws.mean().item())
        return tile(GREEN)

    return widgets.InversionScrubber(tile(RED), steps_of_an_inversion(), render)


def test_scrubber_shows_the_photo_beside_the_code_of_the_step() -> None:
    drawn: list[float] = []
    view = scrubber(drawn)
    assert holds(view.png(), RED) and holds(view.png(), GREEN) and drawn == [5.0]
    assert "step 5 of 5, in W+" in view.text.value and "0.200 before it" in view.text.value
    last = view.png()
    view.set(step=2)
    assert drawn == [5.0, 2.0] and "step 2 of 5, in W;" in view.text.value
    assert view.png() != last
    with pytest.raises(ValueError, match="no step"):
        widgets.InversionScrubber(tile(RED), [], lambda ws: tile(GREEN))


def edits(asked: list | None = None) -> widgets.EditExplorer:
    def render(direction: str, amount: float) -> Image.Image:
        if asked is not None:
            asked.append((direction, amount))
        return tile(RED if direction == "yaw" else BLUE)

    return widgets.EditExplorer(render, {"yaw": 20.0, "smile": 2.0})


def test_edits_are_drawn_in_units_of_their_direction() -> None:
    asked: list[tuple[str, float]] = []
    view = edits(asked)
    view.set(direction="smile", share=-1.0)
    assert asked == [("yaw", 10.0), ("smile", -2.0)]
    assert holds(view.png(), BLUE) and "moved by -2.0 along &#x27;smile&#x27;" in view.text.value


def editor(asked: list | None = None) -> widgets.LatentEditor:
    def render(seed: int, truncation: float, direction: str, amount: float, rows: range) -> Image.Image:
        if asked is not None:
            asked.append((seed, truncation, direction, amount, list(rows)))
        return tile(RED if direction == "yaw" else BLUE)

    return widgets.LatentEditor(render, {"yaw": 20.0, "smile": 2.0}, rows=4)


def test_editor_hands_over_person_direction_and_rows() -> None:
    asked: list = []
    view = editor(asked)
    view.set(seed=7, truncation=1.0, direction="smile", share=-0.5, first=1, last=2)
    assert asked == [(3, 0.7, "yaw", 10.0, [0, 1, 2, 3]), (7, 1.0, "smile", -1.0, [1, 2])]
    assert holds(view.png(), BLUE) and "seed 7 at truncation 1.0, moved by -1.0" in view.text.value
    view.set(first=3)
    assert asked[-1][-1] == [] and "in no row" in view.state()


def mixer_of_people(asked: list | None = None) -> widgets.LatentMixer:
    def render(a: int, b: int, rows: range) -> Image.Image:
        if asked is not None:
            asked.append((a, b, list(rows)))
        return tile(GREEN)

    return widgets.LatentMixer(render, rows=6)


def test_mixer_takes_a_range_of_rows_from_b() -> None:
    asked: list = []
    view = mixer_of_people(asked)
    view.set(a=1, b=2, first=4, last=5)
    assert asked == [(3, 12, [0, 1, 2, 3]), (1, 2, [4, 5])]
    assert "Seed 1 with rows 4 to 5 of seed 2." in view.text.value


def target_slider() -> widgets.TargetSlider:
    return widgets.TargetSlider(lambda d: torch.full((3, 8, 8), d / 40), person=20.0, stop=40.0)


def test_target_slider_starts_at_the_person_and_passes_the_mean() -> None:
    view = target_slider()
    assert view.values() == {"d": -20.0} and "100% of the way" in view.text.value
    view.set(d=0.0)
    assert pixels(view.png()).mean() == pytest.approx(127.5, abs=1)
    view.set(d=30.0)
    assert "d = +30.0: past the mean face" in view.text.value


def threshold_slider() -> widgets.ThresholdSlider:
    return widgets.ThresholdSlider(torch.tensor([0.4, 0.6, 0.8, 0.9]), torch.linspace(-0.5, 0.45, 20), threshold=0.5)


def test_threshold_slider_counts_what_is_accepted() -> None:
    view = threshold_slider()
    assert "75.0% of the same and 0.0% of the different" in view.text.value
    before = view.png()
    view.set(threshold=-1.0)
    assert "100.0% of the same and 100.0% of the different" in view.text.value and view.png() != before


def loss_mixer() -> widgets.LossMixer:
    losses = {"local": [4.0, 2.0, 1.0], "global": [0.0, 1.0, 3.0]}
    return widgets.LossMixer([0.0, 0.5, 1.0], losses, [[tile(c)] for c in (RED, GREEN, BLUE)], ["face"])


def test_loss_mixer_shows_the_student_of_the_least_sum() -> None:
    view = loss_mixer()
    assert view.total() == [4.0, 3.0, 4.0] and view.best() == 1 and holds(view.png(), GREEN)
    view.set(**{"global": 0.0})
    assert view.best() == 2 and holds(view.png(), BLUE) and "position 1.00" in view.text.value
    view.set(**{"global": 8.0})
    assert view.best() == 0 and holds(view.png(), RED)
    with pytest.raises(ValueError, match="one entry for each position"):
        widgets.LossMixer([0.0], {"local": [1.0, 2.0]}, [[tile(RED)]], ["face"])


def people_grid() -> widgets.PeopleGrid:
    after = [tile(GREEN), tile(BLUE), tile(GREEN)]
    return widgets.PeopleGrid([tile(RED)] * 3, after, [0.9, 0.2, 0.8], per_page=2)


def test_people_grid_pages_and_sorts() -> None:
    view = people_grid()
    assert view.shown() == [0, 1] and holds(view.png(), BLUE)
    view.set(page=2)
    assert view.shown() == [2] and not holds(view.png(), BLUE)
    view.set(order="most changed", page=1)
    assert view.shown() == [1, 2] and "cosines 0.20, 0.80; lowest of all 0.20" in view.text.value
    with pytest.raises(ValueError, match="as many"):
        widgets.PeopleGrid([], [], [])


def many_forgotten(asked: list | None = None) -> widgets.ManyForgotten:
    """Of four people two are shown, beside three others: those who are erased turn black, the others a little dark."""
    names = torch.arange(1, 6) / 5

    def draw(people: int) -> torch.Tensor:
        assert not torch.is_grad_enabled()
        if asked is not None:
            asked.append(people)
        gone = torch.tensor([people > 0, people > 1, False, False, False])
        return torch.where(gone, 0 * names, names - people / 50)[:, None, None, None].expand(5, 3, 16, 16)

    return widgets.ManyForgotten(draw, lambda after: after[:, 0, 0, 0] / names, shown=2, most=4)


def test_many_forgotten_tells_the_erased_from_those_who_are_not_yet() -> None:
    asked: list[int] = []
    view = many_forgotten(asked)
    assert asked == [0, 1] and view.cosines() == ([0.0], pytest.approx([0.58 / 0.6, 0.78 / 0.8, 0.98]))
    assert view.state() == "1 person erased: cosine 0.00. 3 others: 0.97 on average, lowest 0.97."
    before = view.png()
    view.set(people=4)
    assert view.cosines()[0] == [0.0, 0.0] and view.png() != before
    assert "4 people erased: cosine 0.00 on average of 2 of them." in view.text.value
    assert asked == [0, 1, 4], "each number is drawn once, and everybody before once"


def test_explorer_refuses_unknown_controls_and_still_works() -> None:
    view = explorer()
    with pytest.raises(KeyError):
        view.set(sead=3)
    view.set(seed=3)
    assert "seed 3" in view.text.value


def test_in_a_running_notebook_only_the_newest_event_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widgets.explorers, "SETTLE", 0.01)
    asked: list[tuple[int, float]] = []
    view = explorer(asked)

    async def drag() -> None:
        for seed in (1, 2, 3, 4):
            view.controls["seed"].value = seed
        assert [seed for seed, _ in asked] == [0], "nothing drawn while events keep coming"
        await asyncio.sleep(0.1)

    asyncio.run(drag())
    assert [seed for seed, _ in asked] == [0, 4]
    assert "seed 4" in view.text.value


def two_tiles() -> widgets.View:
    return widgets.BeforeAfter(tile(RED), tile(BLUE))


MEASURED = [threshold_slider, loss_mixer, people_grid, many_forgotten]
LATENTS = [explorer, edits, editor, mixer_of_people, target_slider]


@pytest.fixture(params=[dashboard, two_tiles, scrubber, *LATENTS, *MEASURED], ids=lambda make: make.__name__)
def view(request: pytest.FixtureRequest) -> widgets.View:
    """One view after another."""
    return request.param()


def test_views_are_accessible_and_use_the_common_subset(view: widgets.View) -> None:
    common = {
        "FloatSlider",
        "IntSlider",
        "Dropdown",
        "Button",
        "ToggleButtons",
        "IntProgress",
        "HTML",
        "Image",
    }
    for widget in everything_in(view.box):
        assert type(widget).__name__ in common | {"HBox", "VBox"}
        if not isinstance(widget, ipw.HTML | ipw.Image | ipw.HBox | ipw.VBox):
            assert widget.description.strip(), f"{type(widget).__name__} has no description"
        if hasattr(widget, "continuous_update"):
            assert widget.continuous_update is False
    assert view.state().endswith(".")
    assert Image.open(io.BytesIO(bytes(view.image.value))).format == "JPEG"


def test_views_display_as_widget_and_as_sentence(view: widgets.View) -> None:
    bundle = view._repr_mimebundle_(include=None, exclude=None)
    if not isinstance(view, widgets.UnlearningDashboard):  # whose state is over by the time it is read
        assert bundle["text/plain"] == view.state()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == view.box.model_id


def test_a_picture_comes_with_its_sentence_as_text_caption_and_alternative_text(monkeypatch) -> None:
    """JupyterLab drops the last; the caption is an output by itself, which HTML must not read as its own."""
    published = []
    monkeypatch.setattr("IPython.display.publish_display_data", lambda *output: published.append(output))
    said = "a red square, 1 < 2"
    widgets.show(tile(RED), said, width=200)._ipython_display_()
    (picture, metadata), (caption,) = published
    assert Image.open(io.BytesIO(b64decode(picture["image/jpeg"]))).size == tile(RED).size
    assert metadata["image/jpeg"] == {"alt": said, "width": 200} and picture["text/plain"] == said
    assert caption == {"text/plain": said, "text/html": "<small>a red square, 1 &lt; 2</small>"}


def test_a_drawn_view_says_what_was_measured_in_its_picture() -> None:
    seeds = ipw.IntSlider(description="Seed", value=2, max=9, continuous_update=False)
    view = widgets.DrawnExplorer(lambda seed: (tile(RED), f"Cosine {seed / 10}."), "Seed {seed}.", seed=seeds)
    assert view.state() == "Seed 2. Cosine 0.2."
    view.set(seed=5)
    assert view.state() == "Seed 5. Cosine 0.5." and "Cosine 0.5" in view.text.value


def test_what_a_stored_notebook_keeps_of_a_run_is_true_when_it_is_read() -> None:
    board = dashboard(total=20)
    stays = "Unlearning, 20 steps: progress, losses and the face while they are taken."
    assert board._repr_mimebundle_()["text/plain"] == stays
    board.show(FakeStep(5))
    assert board._repr_mimebundle_()["text/plain"] == stays
    board.stop()
    losses = "local loss 0.500, total loss 1.250."
    assert board._repr_mimebundle_()["text/plain"] == f"Unlearning: step 5 of 20; {losses}"
    board = dashboard(total=20)
    board.show(FakeStep(20))
    assert board._repr_mimebundle_()["text/plain"] == f"Unlearning: step 20 of 20; {losses}"
    assert "s so far" in board.state()
