"""StyleGAN2 as the repository stylegan2-pytorch names its tensors (pSp, e4e and many others do, too) -> NVIDIA's names.

Both compute the same: equal scales, equal order of noise, bias and activation; only shapes and names differ.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from guide_lib.readers.common import Arrays

MARKER = "input.input"  # the constant from which the synthesis starts: tells this make from others
_FILTER = (np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64).astype("<f4")
_SAMPLES, _LEARNING_RATE = 4096, 0.01  # for the mean latent; of the mapping network, whose layers it scales


def nvidia_names(state: Mapping[str, np.ndarray], latent_avg: np.ndarray | None) -> Arrays:
    """The generator's tensors under NVIDIA's names. latent_avg: [..., w_dim]; if it is None, the mean is estimated.

    Raises:
        LookupError, ValueError: a tensor is missing, has another shape, or the network was built with another filter.
    """
    arrays = {"synthesis.b4.const": state[MARKER][0], "synthesis.b4.resample_filter": _FILTER}
    arrays |= _layer(state, "conv1", "synthesis.b4.conv1", 0) | _head(state, "to_rgb1", "synthesis.b4.torgb")
    for k in range(sum(f"to_rgbs.{k}.bias" in state for k in range(16))):
        block = f"synthesis.b{8 << k}"
        arrays |= {f"{block}.resample_filter": _FILTER} | _head(state, f"to_rgbs.{k}", f"{block}.torgb")
        for part in (0, 1):
            number = 2 * k + part
            arrays |= _layer(state, f"convs.{number}", f"{block}.conv{part}", number + 1)
    return arrays | _mapping(state, latent_avg)


def _layer(state: Mapping[str, np.ndarray], name: str, into: str, noise: int) -> Arrays:
    """A styled convolution; `noise` counts the maps."""
    kernel = state.get(f"{name}.conv.blur.kernel", 4 * _FILTER)
    if kernel.shape != _FILTER.shape or not np.allclose(kernel, 4 * _FILTER):
        raise ValueError(f"{name} has another filter")
    return {
        f"{into}.weight": state[f"{name}.conv.weight"][0],
        f"{into}.noise_strength": state[f"{name}.noise.weight"].reshape(()),
        f"{into}.bias": state[f"{name}.activate.bias"],
        f"{into}.resample_filter": _FILTER,
        f"{into}.noise_const": state[f"noises.noise_{noise}"][0, 0],
    } | _styles(state, name, into)


def _head(state: Mapping[str, np.ndarray], name: str, into: str) -> Arrays:
    """A 1x1 convolution to RGB."""
    return {
        f"{into}.weight": state[f"{name}.conv.weight"][0],
        f"{into}.bias": state[f"{name}.bias"].reshape(-1),
    } | _styles(state, name, into)


def _styles(state: Mapping[str, np.ndarray], name: str, into: str) -> Arrays:
    return {f"{into}.affine.{part}": state[f"{name}.conv.modulation.{part}"] for part in ("weight", "bias")}


def _mapping(state: Mapping[str, np.ndarray], latent_avg: np.ndarray | None) -> Arrays:
    layers = sum(f"style.{i}.weight" in state for i in range(1, 17))
    parts = [(i, part) for i in range(layers) for part in ("weight", "bias")]
    arrays = {f"mapping.fc{i}.{part}": state[f"style.{i + 1}.{part}"] for i, part in parts}
    width = arrays["mapping.fc0.weight"].shape[0]
    mean = _mean_latent(arrays, layers) if latent_avg is None else latent_avg.reshape(-1, width)[0]
    return arrays | {"mapping.w_avg": mean}


def _mean_latent(arrays: Arrays, layers: int) -> np.ndarray:
    """The mean of the mapping over z ~ N(0, I), for files whose makers take it anew each time."""
    x = np.random.default_rng(0).standard_normal((_SAMPLES, arrays["mapping.fc0.weight"].shape[1])).astype("<f4")
    x /= np.sqrt(np.square(x).mean(1, keepdims=True) + 1e-8)
    for i in range(layers):
        weight, bias = (arrays[f"mapping.fc{i}.{part}"].astype("<f4") for part in ("weight", "bias"))
        x = x @ weight.T * (_LEARNING_RATE / np.sqrt(weight.shape[1])) + _LEARNING_RATE * bias
        x = np.where(x > 0, x, 0.2 * x) * np.float32(np.sqrt(2))
    return x.mean(0).astype("<f4")
