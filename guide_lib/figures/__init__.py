"""Everything that draws: grids of pictures, the before/after figure, curves (PIL and matplotlib, no widgets)."""

from guide_lib.figures.charts import LEVELS, curves, histogram, intervals
from guide_lib.figures.plots import (
    LossPoint,
    Picture,
    align_preview,
    before_after,
    fade,
    image_grid,
    jpeg_bytes,
    loss_curves,
    png_bytes,
    to_pil,
    wipe,
)

__all__ = [
    "LEVELS",
    "LossPoint",
    "Picture",
    "align_preview",
    "before_after",
    "curves",
    "fade",
    "histogram",
    "image_grid",
    "intervals",
    "jpeg_bytes",
    "loss_curves",
    "png_bytes",
    "to_pil",
    "wipe",
]
