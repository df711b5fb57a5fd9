"""dlib's serialised face-recognition ResNet (`dlib_face_recognition_resnet_model_v1.dat`)."""

import math

import numpy as np

from guide_lib.readers.common import Arrays, expect

_FORMAT = "dlib network"
# (channels, number of plain blocks after the down-sampling one); the first group has no down-sampling block
_GROUPS = ((32, 3, False), (64, 3, True), (128, 2, True), (256, 2, True), (256, 0, True))


class _Stream:
    """dlib's portable encoding: integers as a length byte (sign in its top bit) and little-endian digits."""

    def __init__(self, content: bytes) -> None:
        self.content, self.position = content, 0

    def take(self, count: int) -> bytes:
        start, self.position = self.position, self.position + count
        expect(count >= 0 and self.position <= len(self.content), _FORMAT, "it ends too early")
        return self.content[start : self.position]

    def integer(self) -> int:
        head = self.take(1)[0]
        count = head & 0x0F
        expect(1 <= count <= 8 and head & 0x70 == 0, _FORMAT, f"no integer at byte {self.position - 1}")
        value = int.from_bytes(self.take(count), "little")
        return -value if head & 0x80 else value

    def real(self) -> float:
        """mantissa * 2^exponent"""
        mantissa, exponent = self.integer(), self.integer()
        expect(-1000 < exponent < 60, _FORMAT, "a number is not finite")  # the mantissa adds up to 64
        return math.ldexp(mantissa, exponent)

    def integers(self, *expected: int) -> None:
        for value in expected:
            start, found = self.position, self.integer()
            expect(found == value, _FORMAT, f"{found} instead of {value} at byte {start}")

    def reals(self, *expected: float) -> None:
        for value in expected:
            expect(self.real() == value, _FORMAT, f"not {value} before byte {self.position}")

    def text(self, expected: str) -> None:
        length = self.integer()
        expect(length == len(expected), _FORMAT, f"{expected!r} is missing at byte {self.position}")
        expect(self.take(length) == expected.encode(), _FORMAT, f"{expected!r} is missing before {self.position}")

    def tensor(self, *shape: int) -> np.ndarray:
        """A tensor (version 2) of exactly this shape [n, k, nr, nc], flattened."""
        self.integers(2, *shape)
        return np.frombuffer(self.take(4 * math.prod(shape)), "<f4")

    def layer_state(self) -> None:
        """What follows every layer: three flags and three tensors that are empty in a cleaned network."""
        expect(set(self.take(3)) <= set(b"01"), _FORMAT, f"no flags before byte {self.position}")
        for _ in range(3):
            self.tensor(0, 0, 0, 0)


def _convolution(stream: _Stream, c_in: int, c_out: int, kernel: int, stride: int) -> Arrays:
    """weight [c_out, c_in, kernel, kernel] and bias [c_out]; padding is kernel // 2 at stride 1, else 0."""
    padding = kernel // 2 if stride == 1 else 0
    n_weights = c_out * c_in * kernel * kernel
    stream.text("con_4")
    parameters = stream.tensor(n_weights + c_out, 1, 1, 1)
    stream.integers(c_out, kernel, kernel, stride, stride, padding, padding)
    stream.integers(1, c_out, c_in, kernel, kernel)  # the view of the weights
    stream.integers(1, 1, c_out, 1, 1)  # the view of the biases
    stream.reals(1.0, 1.0, 1.0, 0.0)  # learning-rate and weight-decay multipliers
    stream.layer_state()
    weight = parameters[:n_weights].reshape(c_out, c_in, kernel, kernel)
    return {"weight": weight.copy(), "bias": parameters[n_weights:].copy()}


def _affine(stream: _Stream, channels: int) -> Arrays:
    """weight and bias [channels]: batch normalisation, folded when training had ended."""
    stream.text("affine_")
    parameters = stream.tensor(2 * channels, 1, 1, 1)
    for _ in range(2):
        stream.integers(1, 1, channels, 1, 1)  # the views of the weight and of the bias
    stream.integers(0)  # per channel, not per unit
    stream.layer_state()
    return {"weight": parameters[:channels].copy(), "bias": parameters[channels:].copy()}


def _pool(stream: _Stream, name: str, size: int, stride: int) -> None:
    stream.text(name)
    stream.integers(size, size, stride, stride, 0, 0)
    stream.layer_state()


def _plain(stream: _Stream, name: str) -> None:
    """A layer without parameters."""
    stream.text(name)
    stream.layer_state()


def _named(prefix: str, tensors: Arrays) -> Arrays:
    return {f"{prefix}.{name}": array for name, array in tensors.items()}


def _block(stream: _Stream, prefix: str, c_in: int, c_out: int, down: bool) -> Arrays:
    """A residual block: conv1, affine1, relu, conv2, affine2, plus the (average-pooled) input, relu."""
    tensors = _named(f"{prefix}.conv1", _convolution(stream, c_in, c_out, 3, 2 if down else 1))
    tensors |= _named(f"{prefix}.affine1", _affine(stream, c_out))
    _plain(stream, "relu_")
    tensors |= _named(f"{prefix}.conv2", _convolution(stream, c_out, c_out, 3, 1))
    tensors |= _named(f"{prefix}.affine2", _affine(stream, c_out))
    if down:
        _pool(stream, "avg_pool_2", 2, 2)
    _plain(stream, "add_prev_")
    _plain(stream, "relu_")
    return tensors


def _versions() -> list[int]:
    """Version tags of the nested layers, outermost first: 2 a layer, 1 a tag or a skip, 3 the innermost."""
    tags = [2, 2, 2, 3]  # max pool, relu, affine, convolution over the input
    for _, plain, down in _GROUPS:
        blocks = ([[2, 2, 2, 1, 1, 2, 2, 2, 2, 2, 1]] if down else []) + [[2, 2, 2, 2, 2, 2, 2, 1]] * plain
        for block in blocks:
            tags = block + tags
    return [2, 2, *tags]  # fully connected layer, average over the picture


def _fully_connected(stream: _Stream, n_in: int, n_out: int) -> np.ndarray:
    """The weight [n_out, n_in] of the last layer, which has no bias."""
    stream.text("fc_2")
    stream.integers(n_out, n_in)
    weight = stream.tensor(n_in, n_out, 1, 1).reshape(n_in, n_out)
    stream.integers(1, n_in, n_out, 1, 1)  # the view of the weights
    stream.integers(1, 0, 0, 0, 0)  # no biases
    stream.integers(1)
    stream.reals(1.0, 1.0, 1.0, 0.0)
    stream.layer_state()
    return np.ascontiguousarray(weight.T)


def dlib_resnet(content: bytes) -> Arrays:
    """The face-recognition ResNet: RGB [N, 3, 150, 150] in 0..255 -> [N, 128].

    - `input.mean` [3]: subtracted from R, G, B; the difference is then divided by 256
    - `stem.conv.{weight [32, 3, 7, 7], bias}` (stride 2, no padding), `stem.affine.{weight, bias}`, relu,
      max pool 3x3 of stride 2 without padding
    - `blocks.{0..13}`: `.{conv1, conv2}.{weight [O,I,3,3], bias [O]}`, `.{affine1, affine2}.{weight, bias}`
      [O]: relu(affine2(conv2(relu(affine1(conv1(x))))) + x), padding 1. In blocks 3, 7, 10 and 13 conv1 has
      stride 2 and no padding, and x goes through a 2x2 average pool of stride 2; where the two summands
      differ in channels or size, the smaller is filled up with zeros (at the end, right and bottom). Outputs:
      32 channels in blocks 0-2, 64 in 3-6, 128 in 7-9, 256 in 10-13
    - mean over all pixels, then `fc.weight` [128, 256], no bias. The output is not normalised.

    An affine layer is x * weight + bias per channel. The file is checked tag by tag to its last byte.
    """
    stream = _Stream(content)
    stream.integers(1)
    stream.text("loss_metric_2")
    stream.reals(float(np.float32(0.04)), float(np.float32(0.6)))  # margin and distance threshold of training
    stream.integers(*_versions())
    stream.text("input_rgb_image_sized")
    tensors = {"input.mean": np.array([stream.real() for _ in range(3)], np.float32)}
    stream.integers(150, 150)
    tensors |= _named("stem.conv", _convolution(stream, 3, 32, 7, 2))
    stream.integers(1)  # pictures per sample
    tensors |= _named("stem.affine", _affine(stream, 32))
    _plain(stream, "relu_")
    _pool(stream, "max_pool_2", 3, 2)
    index, c_in = 0, 32
    for channels, plain, down in _GROUPS:
        for is_down in [True] * down + [False] * plain:
            tensors |= _block(stream, f"blocks.{index}", c_in, channels, is_down)
            index, c_in = index + 1, channels
    stream.text("avg_pool_2")
    stream.integers(0, 0, 1, 1, 0, 0)  # size 0: the whole picture
    stream.layer_state()
    tensors["fc.weight"] = _fully_connected(stream, 256, 128)
    expect(stream.position == len(content), _FORMAT, "something follows its end")
    return tensors
