"""OpenVINO IR version 10: a graph in XML, its constants in one binary file beside it."""

import math
import xml.etree.ElementTree as ElementTree
from xml.parsers import expat

import numpy as np

from guide_lib.readers.common import Arrays, expect, refuse

IR = "OpenVINO IR"
_TYPES = {"f32": "<f4", "i64": "<i8", "i32": "<i4"}


def _safe_xml(text: bytes) -> ElementTree.Element:
    """Parse XML, refusing a DTD (and so every entity definition: they can expand without bound)."""

    def refuse_doctype(*_: object) -> None:
        refuse(IR, "it declares a document type")

    checker = expat.ParserCreate()
    checker.StartDoctypeDeclHandler = refuse_doctype
    try:
        checker.Parse(text, True)
        return ElementTree.fromstring(text)
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as error:
        refuse(IR, f"the XML is not well formed: {error}")


def _ir_constant(layer: ElementTree.Element, binary: bytes) -> np.ndarray:
    data = layer.find("data")
    try:
        dtype = np.dtype(_TYPES[data.attrib["element_type"]])
        shape = tuple(int(size) for size in data.attrib["shape"].split(",") if size.strip())
        offset, size = int(data.attrib["offset"]), int(data.attrib["size"])
    except (AttributeError, KeyError, ValueError) as error:
        refuse(IR, f"the constant {layer.get('name')!r} is described wrongly: {error!r}")
    expect(len(shape) <= 8 and min(shape, default=1) > 0, IR, f"{layer.get('name')!r} has an odd shape")
    inside = offset >= 0 and offset + size <= len(binary)
    expect(inside, IR, f"{layer.get('name')!r} lies outside the binary file")
    expect(size == math.prod(shape) * dtype.itemsize, IR, f"{layer.get('name')!r} has a wrong size")
    return np.frombuffer(binary, dtype, count=math.prod(shape), offset=offset).reshape(shape).copy()


def openvino_constants(xml: bytes, binary: bytes) -> Arrays:
    """The constants of an OpenVINO IR v10 model by layer name, in graph order.

    Only `x @ weight.T` products are allowed (MatMul with `transpose_b`), so that a matrix [out, in] read here
    means what the weight of a PyTorch linear layer means.
    """
    root = _safe_xml(xml)
    expect(root.tag == "net" and root.get("version") == "10", IR, "it is not a version 10 network")
    constants: Arrays = {}
    held = 0
    for layer in root.iterfind("layers/layer"):
        name = layer.get("name") or ""
        if layer.get("type") == "MatMul":
            flags = dict(layer.find("data").attrib) if layer.find("data") is not None else {}
            right = flags.get("transpose_a") == "false" and flags.get("transpose_b") == "true"
            expect(right, IR, f"the product {name!r} is not x @ weight.T")
        if layer.get("type") == "Const":
            expect(name not in constants, IR, f"two constants are named {name!r}")
            constants[name] = _ir_constant(layer, binary)
            held += constants[name].nbytes
            expect(held <= 2 * len(binary), IR, "its constants are larger than the binary file")  # a few are shared
    return constants
