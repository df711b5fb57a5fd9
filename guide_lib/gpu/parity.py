"""The same numbers through the same networks, on a device and on the CPU: latents, pictures, metrics, one step.

>>> rows = compared(answers(networks), answers(networks), "single")
>>> [row["what"] for row in rows if row["difference"] > row["allowed"]]
[]
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from guide_lib.experiment import Networks
from guide_lib.losses import Distance
from guide_lib.targets import ufo_target
from guide_lib.unlearning import UnlearningSettings
from guide_lib.unlearning.loop import LOSS_SCALE
from guide_lib.unlearning.objective import Objective, fits_one_pass

# By what is compared and how the device computes: in single precision, with convolutions of ten bits (TF32, PyTorch's
# default on NVIDIA's cards), or in half. First guesses, from the bits that each keeps: no card was measured yet.
ALLOWED = {
    "w": {"single": 1e-5, "TF32": 1e-5},
    "picture": {"single": 1e-3, "TF32": 0.02},
    "LPIPS": {"single": 1e-4, "TF32": 1e-3},
    "embedder, 1 - cosine": {"single": 1e-5, "TF32": 1e-3},
    "judge's cosine": {"single": 0.003, "TF32": 0.01},
    "loss": {"single": 1e-4, "TF32": 1e-3, "mixed": 0.02},
    "gradient, 1 - cosine": {"single": 1e-4, "TF32": 1e-3, "mixed": 0.2},
}
ABSOLUTE = ("embedder, 1 - cosine", "judge's cosine", "gradient, 1 - cosine")  # the others are relative


def one_step(networks: Networks, mixed: bool = False) -> dict[str, Tensor]:
    """The loss [1] of the first step of a run and its gradient [all weights that learn], on the CPU."""
    generator, settings = networks.generator, UnlearningSettings(mixed_precision=mixed)
    w_u = generator.sample(1, torch.Generator().manual_seed(1))
    distance = Distance(networks.perceptual, networks.embedder)
    one_pass = fits_one_pass(generator, settings)
    objective = Objective(generator, w_u, ufo_target(w_u, generator.w_avg), settings, distance, one_pass)
    student = generator.student()
    losses = objective.backward(student, 1, lambda loss: LOSS_SCALE * loss)
    gradients = [parameter.grad.cpu().flatten() for parameter in student.trainable_parameters().values()]
    return {"loss": torch.tensor([losses["total"]]), "gradient, 1 - cosine": torch.cat(gradients) / LOSS_SCALE}


@torch.no_grad()
def looks(networks: Networks) -> dict[str, Tensor]:
    """Two people drawn, and what LPIPS, the loss's recogniser and the judge see in them, on the CPU."""
    ws = networks.generator.sample(2, torch.Generator().manual_seed(2))
    pictures = networks.generator.picture(ws)
    vectors = networks.judge.embed(pictures)
    found = {
        "w": ws,
        "picture": pictures,
        "LPIPS": networks.perceptual(pictures[:1], pictures[1:]),
        "embedder, 1 - cosine": networks.embedder.embed(pictures).flatten(),
        "judge's cosine": F.cosine_similarity(vectors[:1], vectors[1:]),
    }
    return {what: tensor.cpu() for what, tensor in found.items()}


def answers(networks: Networks) -> dict[str, Tensor]:
    """Everything that is compared, by what it is, in single precision."""
    return looks(networks) | one_step(networks)


def compared(there: dict[str, Tensor], here: dict[str, Tensor], how: str) -> list[dict[str, object]]:
    """A row for each answer of the device: how far it is from the CPU's, what is allowed, and whether it passes.

    how: "single", "TF32" or "mixed".
    """
    rows = []
    for what, answer in there.items():
        difference, allowed = apart(what, answer.double(), here[what].double()), ALLOWED[what][how]
        row = {"what": what, "precision": how, "difference": difference, "allowed": allowed}
        rows.append(row | {"passed": difference <= allowed})
    return rows


def apart(what: str, a: Tensor, b: Tensor) -> float:
    """The difference of two answers: of directions 1 - cosine, of a cosine itself, else relative to the second."""
    if what.endswith("1 - cosine"):
        return 1 - F.cosine_similarity(a, b, dim=0).item()
    scale = 1.0 if what in ABSOLUTE else b.norm().item()
    return (a - b).norm().item() / scale
