"""Views with controls: compare two pictures, look around in a generator, walk along lines of latents, edit faces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets as ipw
import torch
from PIL import Image

from guide_lib.experiment import sample_person
from guide_lib.figures.plots import Picture, fade, to_pil, wipe
from guide_lib.generators import View as Camera
from guide_lib.metrics.identity import identity_similarity
from guide_lib.widgets.base import WIDE, View

if TYPE_CHECKING:
    from guide_lib.session import Session

Rendered = Picture | tuple[Picture, str]
SETTLE = 0.05  # seconds without a newer event before a control's change is drawn


class Explorer(View):
    """A view with controls: it redraws when one of them moves, or once after `set(...)`.

    Sliders can send events faster than a generator draws. In a running notebook each event starts a short
    wait that the next one cancels, so only the newest is drawn. Without an event loop it is drawn at once.

    controls: the widgets by name.
    """

    def __init__(self, **controls: ipw.Widget) -> None:
        super().__init__()
        self.controls, self._waiting, self._setting = controls, None, False
        for control in controls.values():
            control.observe(self._on_event, names="value")
        self.box = ipw.VBox([*controls.values(), self.image, self.text])
        self.redraw()

    def set(self, **values: Any) -> None:
        """Do what the controls do: `explorer.set(seed=3)`. Unknown names raise KeyError."""
        self._setting = True
        try:
            for name, value in values.items():
                self.controls[name].value = value
        finally:
            self._setting = False
        self.redraw()

    def _on_event(self, _: object) -> None:
        if self._setting:
            return
        if self._waiting is not None:
            self._waiting.cancel()
        try:
            self._waiting = asyncio.get_running_loop().call_later(SETTLE, self.redraw)
        except RuntimeError:
            self.redraw()


class BeforeAfter(Explorer):
    """Compare two pictures of one size. Controls: `mode` ("wipe" or "fade") and `position` in [0, 1].

    Args:
        before, after: the two pictures.
        labels: what to call them.

    >>> view = BeforeAfter(photo, student.picture(w_u))
    >>> view.set(mode="fade", position=0.25)
    >>> view.state()
    'A mix: 75% before, 25% after.'
    """

    modes = {"wipe": wipe, "fade": fade}

    @classmethod
    def of(cls, session: Session) -> BeforeAfter:
        """The chosen person as the untouched generator and as the student draws them."""
        return cls(session.draw(before=True)[0], session.draw()[0], ("before unlearning", "after unlearning"))

    def __init__(self, before: Picture, after: Picture, labels: tuple[str, str] = ("before", "after")) -> None:
        self.before, self.after, self.labels = to_pil(before), to_pil(after), labels
        super().__init__(
            mode=ipw.ToggleButtons(options=list(self.modes), description="Compare by", style=WIDE),
            position=slider(ipw.FloatSlider, "Position", value=0.5, min=0.0, max=1.0, step=0.05),
        )

    def picture(self) -> Image.Image:
        mix = self.modes[self.controls["mode"].value]
        return mix(self.before, self.after, self.controls["position"].value)

    def state(self) -> str:
        share, (first, second) = self.controls["position"].value, self.labels
        if self.controls["mode"].value == "wipe":
            return f"Left {share:.0%} of the width: {first}. The rest: {second}."
        return f"A mix: {1 - share:.0%} {first}, {share:.0%} {second}."


class DrawnExplorer(Explorer):
    """Controls around a picture that takes time to draw.

    Args:
        render: called with the controls' values by name, without gradients; returns the picture or, with what was
            measured in it as a sentence, both.
        sentence: what is shown, with the values as format fields: `"Seed {seed}."`

    >>> seeds = slider(ipw.IntSlider, "Seed", value=2, min=0, max=9)
    >>> DrawnExplorer(lambda seed: (photo, f"Cosine {seed / 10}."), "Seed {seed}.", seed=seeds).state()
    'Seed 2. Cosine 0.2.'
    """

    def __init__(self, render: Callable[..., Rendered], sentence: str, **controls: ipw.Widget) -> None:
        self._render, self._sentence = render, sentence
        self._drawn: tuple[dict[str, Any], Image.Image, str] | None = None  # only the newest picture is kept
        super().__init__(**controls)

    def values(self) -> dict[str, Any]:
        """Every control's value by name."""
        return {name: control.value for name, control in self.controls.items()}

    def picture(self) -> Image.Image:
        return self._newest()[0]

    def state(self) -> str:
        return " ".join(filter(None, [self.settings(), self._newest()[1]]))

    def settings(self) -> str:
        """What the controls say, in one sentence."""
        return self._sentence.format(**self.values())

    def _newest(self) -> tuple[Image.Image, str]:
        """The picture of the values that the controls have now, and what was measured in it."""
        wanted = self.values()
        if self._drawn is None or self._drawn[0] != wanted:
            with torch.no_grad():
                drawn = self._render(**wanted)
            picture, measured = drawn if isinstance(drawn, tuple) else (drawn, "")
            self._drawn = wanted, to_pil(picture), measured
        return self._drawn[1:]


class LatentExplorer(DrawnExplorer):
    """Look around in a generator: `render(seed, truncation)`, seeds from 0 to `seeds` - 1."""

    @classmethod
    def of(cls, session: Session, seeds: int = 100) -> LatentExplorer:
        """Everybody whom the student of a session draws."""

        def render(seed: int, truncation: float) -> Picture:
            return session.draw(sample_person(session.generator, seed, truncation))[0]

        return cls(render, seeds)

    def __init__(self, render: Callable[[int, float], Rendered], seeds: int = 100) -> None:
        super().__init__(
            render,
            "The face of seed {seed} at truncation {truncation:.1f}.",
            seed=slider(ipw.IntSlider, "Seed", value=0, min=0, max=seeds - 1),
            truncation=slider(ipw.FloatSlider, "Truncation", value=0.7, min=0.0, max=1.0, step=0.1),
        )


def likened(session: Session, latent_at: Callable[[float], torch.Tensor]) -> Callable[[float], tuple[Picture, str]]:
    """A `render` for one control: what the untouched generator draws there, and how like the chosen person it is."""
    person = session.draw(session.person.w_u, before=True)[:1]

    def rendered(**place: float) -> tuple[Picture, str]:
        drawn = session.draw(latent_at(*place.values()), before=True)[:1]
        cosine = identity_similarity(session.networks.judge, person, drawn)[0].item()
        return drawn[0], f"Judge cosine to the person {cosine:.2f}."

    return rendered


class LatentWalk(DrawnExplorer):
    """Walk along a line of latents: `render(position)`, position in [`start`, `stop`], at first at `stop`."""

    @classmethod
    def of(cls, session: Session, start: float = -1.0, stop: float = 1.0) -> LatentWalk:
        """From the chosen person (1) over the mean face (0) to the other side, as the untouched generator draws it.

        The sentence has the judge's cosine to the person.
        """
        w_u, w_avg = session.person.w_u, session.generator.w_avg
        return cls(likened(session, lambda position: torch.lerp(w_avg, w_u, position)), start, stop)

    def __init__(self, render: Callable[[float], Rendered], start: float = -1.0, stop: float = 1.0) -> None:
        limits = {"value": stop, "min": start, "max": stop, "step": (stop - start) / 40}
        super().__init__(
            render,
            "The face at position {position:+.2f} of the walk.",
            position=slider(ipw.FloatSlider, "Position", **limits),
        )


class CameraOrbit(DrawnExplorer):
    """Walk a camera around a head: `render(yaw, pitch)` in degrees, (0, 0) is frontal."""

    @classmethod
    def of(cls, session: Session, yaw: float = 45.0, pitch: float = 30.0) -> CameraOrbit:
        """Around the chosen person as the student draws them, in three dimensions."""
        return cls(lambda yaw, pitch: session.draw(view=Camera(yaw, pitch))[0], yaw, pitch)

    def __init__(self, render: Callable[[float, float], Picture], yaw: float = 45.0, pitch: float = 30.0) -> None:
        super().__init__(
            render,
            "Seen from yaw {yaw:+.0f}, pitch {pitch:+.0f} degrees.",
            yaw=slider(ipw.FloatSlider, "Yaw", value=15.0, min=-yaw, max=yaw, step=5.0),
            pitch=slider(ipw.FloatSlider, "Pitch", value=0.0, min=-pitch, max=pitch, step=5.0),
        )


class EditExplorer(DrawnExplorer):
    """Move latents along a named direction: `render(direction, amount)`. Controls: `direction` and `share` in [-1, 1].

    Args:
        render: called without gradients; returns the picture, for example of several inversions side by side.
        reach: for each direction the amount at share 1, in the direction's unit.

    >>> EditExplorer(lambda direction, amount: photo, reach={"yaw": 20.0}).state()     # at first half of it
    "Every face moved by +10.0 along 'yaw'."
    """

    def __init__(self, render: Callable[[str, float], Rendered], reach: dict[str, float]) -> None:
        self.reach = reach
        super().__init__(
            lambda direction, share: render(direction, share * reach[direction]),
            "",
            direction=ipw.Dropdown(options=list(reach), description="Direction", style=WIDE),
            share=slider(ipw.FloatSlider, "Share", value=0.5, min=-1.0, max=1.0, step=0.1),
        )

    def settings(self) -> str:
        direction, share = self.values().values()
        return f"Every face moved by {share * self.reach[direction]:+.1f} along '{direction}'."


def slider(kind: type, description: str, **limits: float) -> Any:
    """A slider that reports once it is let go, since each report costs a picture."""
    return kind(description=description, continuous_update=False, style=WIDE, **limits)
