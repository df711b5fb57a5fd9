"""What all views share: a picture, a sentence that says what it shows, and how a notebook displays them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from base64 import b64encode
from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets as ipw
from PIL import Image

from guide_lib.figures.plots import Picture, jpeg_bytes, png_bytes, to_pil

WIDE = {"description_width": "90px"}  # room for the longest description


@dataclass(frozen=True)
class Shown:
    """A picture as the output of a cell, and below it a sentence on what it shows.

    JupyterLab gives pictures no alternative text of their own, so the sentence is an output by itself; where pictures
    have one (nbconvert, Colab), it is that, too.

    picture: JPEG, which keeps a notebook with outputs small. alt: the sentence. width: in pixels on screen, None for
        its own.
    """

    picture: bytes
    alt: str
    width: int | None = None

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        facts = {"alt": self.alt} | ({} if self.width is None else {"width": self.width})
        return {"image/jpeg": b64encode(self.picture).decode(), "text/plain": self.alt}, {"image/jpeg": facts}

    def _ipython_display_(self) -> None:
        from IPython.display import publish_display_data

        data, metadata = self._repr_mimebundle_()
        publish_display_data(data, metadata)
        publish_display_data({"text/plain": self.alt, "text/html": f"<small>{escape(self.alt)}</small>"})


def show(picture: Picture, alt: str, width: int | None = None) -> Shown:
    """`picture` as a notebook output, with the sentence `alt` as caption and alternative text.

    Every picture of the notebooks passes here. `width` in pixels on screen.

    >>> show(photo, "A face before unlearning").alt
    'A face before unlearning'
    """
    return Shown(jpeg_bytes(to_pil(picture)), alt, width)


class View(ABC):
    """Widgets around one picture. Subclasses say what the picture is and put the widgets into `self.box`."""

    box: ipw.VBox

    def __init__(self) -> None:
        # Without this the page stretches a picture to its own width; small ones are doubled to be seen.
        layout = ipw.Layout(align_self="flex-start", min_width="256px", max_width="100%")
        self.text, self.image = ipw.HTML(), ipw.Image(format="jpeg", layout=layout)

    @abstractmethod
    def picture(self) -> Image.Image:
        """What is shown now."""

    @abstractmethod
    def state(self) -> str:
        """What is shown now, in one sentence."""

    def png(self) -> bytes:
        """What is shown now, as a PNG file: `View.png` needs no browser."""
        return png_bytes(self.picture())

    def redraw(self) -> None:
        """Bring picture and sentence up to date; `role="status"` makes screen readers announce the latter."""
        self.image.value = jpeg_bytes(self.picture())
        self.text.value = f'<p role="status">{escape(self.state())}</p>'

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """The widgets where there is a browser; the sentence elsewhere (stored notebooks, print)."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
        return {"text/plain": self.state(), "application/vnd.jupyter.widget-view+json": view}
