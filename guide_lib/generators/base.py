"""The one interface that every generator, flat or three-dimensional, offers to the method."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from guide_lib.generators.alignment import FFHQ, Alignment
from guide_lib.runtime import full_precision


@dataclass(frozen=True)
class View:
    """A camera shared by a whole batch.

    yaw, pitch: degrees; (0, 0) is frontal, positive yaw moves the camera toward +x, positive pitch upward.
    jitter: seed of the random places at which rays are sampled, so that all who render a view sample alike; None
        takes the middles and leaves nothing to chance.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    jitter: int | None = None


@dataclass(frozen=True)
class Rendering:
    """What one pass of a generator gives.

    image: [N, 3, S, S], RGB, about [-1, 1], in single precision.
    features: [N, C, h, w], what the first term of the distance D compares (tri-planes in three dimensions, the feature
        map under the image head in two); bfloat16 where they were computed so.

    >>> rendering = generator.synthesis(generator.sample(4, rng))
    >>> list(rendering.image.shape), list(rendering.features.shape), list(rendering[:2].image.shape)
    ([4, 3, 16, 16], [4, 5, 4, 4], [2, 3, 16, 16])
    """

    image: Tensor
    features: Tensor

    def __getitem__(self, index: slice) -> Rendering:
        return Rendering(self.image[index], self.features[index])

    def detach(self) -> Rendering:
        """The same numbers without a graph behind them."""
        return Rendering(self.image.detach(), self.features.detach())


@dataclass(frozen=True)
class StyleLayer:
    """A linear map from one row of W+ to styles: gain * weight @ w[row] + bias.

    weight: [C, w_dim]. bias: [C]. row: of W+. gain: what the weight is multiplied by when it is used.
    """

    weight: Tensor
    bias: Tensor
    row: int
    gain: float = 1.0


class Generator(nn.Module, ABC):
    """A pretrained face generator: z -> w -> image.

    Attributes:
        z_dim, w_dim: sizes of the two latent spaces.
        rows: how many w vectors a W+ code holds, one for each layer that takes a style.
        resolution: side S of the images, in pixels.
        w_avg: [1, rows, w_dim], the mean of mapping(z) over z ~ N(0, I); all rows are equal.
        drawn_at_once: how many latents are drawn in one pass with gradients; bounds the memory, not the result.
        offset_dtype: the precision in which latents near a person are computed.
        alignment: how a photo is to be cut out for it.
        perceptual: the LPIPS network that compares its pictures, "alex" or "vgg".
        faces: what its faces are, "ffhq" (people) or "heads" (rendered); judges are centred on such, with thresholds
            of their own.
    """

    z_dim: int
    w_dim: int
    rows: int
    resolution: int
    w_avg: Tensor
    drawn_at_once: int = 64
    offset_dtype: torch.dtype = torch.float32
    alignment: Alignment = FFHQ
    perceptual: str = "alex"
    faces: str = "ffhq"
    _compiled_by: dict[str, object] | None = None  # the options of `compile`, once it was called

    @abstractmethod
    def mapping(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        """z [N, z_dim] -> ws [N, rows, w_dim]; truncation in [0, 1] pulls ws toward w_avg.

        >>> ws = generator.mapping(torch.zeros(2, generator.z_dim), truncation=0.0)
        >>> list(ws.shape), torch.equal(ws[:1], generator.w_avg)
        ([2, 3, 6], True)
        """

    @abstractmethod
    def synthesis(self, ws: Tensor, view: View | None = None) -> Rendering:
        """ws [N, rows, w_dim] -> image and features from one and the same pass; flat generators ignore `view`."""

    @abstractmethod
    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that unlearning may change, by name: the synthesis backbone, not the image head."""

    @abstractmethod
    def is_style(self, name: str) -> bool:
        """Whether the trainable parameter of that name belongs to a style layer, a linear map from w to styles."""

    @abstractmethod
    def style_layers(self) -> dict[str, StyleLayer]:
        """Every style layer that draws, by name, those of the image head, too: w reaches the picture in no other way.

        Weight and bias are the network's own tensors: what is written into them changes the pictures.
        """

    def sample_views(self, n: int, rng: torch.Generator) -> list[View]:
        """Draw n cameras; a flat generator gives n frontal ones."""
        return [View()] * n

    @abstractmethod
    def drawing_parts(self) -> list[nn.Module]:
        """The modules that do nearly all of the work of `synthesis`, for `compile`."""

    def small(self) -> Generator:
        """What draws the same at 128 px, for those who need not look closer; itself if it has no smaller picture.

        >>> generator.small() is generator
        True
        """
        return self

    def drawn_rows(self) -> list[int]:
        """The rows of W+ on which the picture depends."""
        return list(range(self.rows))

    def judging_views(self) -> list[View]:
        """The cameras from which a person's identity is judged; a flat generator has one."""
        return [View()]

    def view_of(self, landmarks: np.ndarray) -> View:
        """The camera that sees a head as a photo does, by five points [5,2] px; a flat generator has one for all.

        >>> generator.view_of(np.zeros((5, 2)))
        View(yaw=0.0, pitch=0.0, jitter=None)
        """
        return View()

    def picture(self, ws: Tensor, view: View | None = None) -> Tensor:
        """The image of `synthesis` alone, for those who do not look at the features."""
        return self.synthesis(ws, view).image

    def pictures(self, ws: Tensor, views: Sequence[View] | None = None) -> Tensor:
        """The images of ws [N, rows, w_dim], each from its own camera; what shares one is drawn in one pass.

        >>> list(generator.pictures(generator.w_avg.expand(2, -1, -1), [View(), View(yaw=10)]).shape)
        [2, 3, 16, 16]
        """
        if views is None or len(set(views)) == 1:
            return self.picture(ws, views[0] if views else None)
        return torch.cat([self.picture(w, view) for w, view in zip(ws.split(1), views, strict=True)])

    def batches(self, count: int) -> list[slice]:
        """`count` latents in pieces of at most `drawn_at_once`.

        >>> generator.batches(100)
        [slice(0, 64, None), slice(64, 128, None)]
        """
        return [slice(first, first + self.drawn_at_once) for first in range(0, count, self.drawn_at_once)]

    def sample(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        """Draw n latents, ws [n, rows, w_dim]; `rng` is a CPU generator, so every device draws the same.

        >>> list(generator.sample(5, torch.Generator().manual_seed(7)).shape)
        [5, 3, 6]
        """
        z = torch.randn(n, self.z_dim, generator=rng).to(self.w_avg.device)
        with full_precision(z.device):
            return self.mapping(z, truncation)

    def student(self) -> Generator:
        """A copy in which exactly the trainable parameters require a gradient: G_u, to be unlearned.

        >>> [name for name, p in generator.student().named_parameters() if p.requires_grad]       # not the head
        ['backbone.weight', 'backbone.bias']
        """
        student = copy.deepcopy(self).requires_grad_(False)
        for parameter in student.trainable_parameters().values():
            parameter.requires_grad_(True)
        if self._compiled_by is not None:
            student.compile(**self._compiled_by)  # a copy leaves compiled code behind
        return student

    def compile(self, **options: object) -> None:
        """Let torch.compile (which takes the options) translate what draws, in this network and in its students.

        The first pictures take a minute or more, later ones the less, the more a GPU waits between small operations. On
        a CPU it needs a C++ compiler and gains little.
        """
        for part in self.drawing_parts():
            part.compile(**options)
        self._compiled_by = options
