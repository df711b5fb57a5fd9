"""ONNX graphs: a network as a list of operations with the constants they use; read as data, never run."""

from __future__ import annotations

from typing import Any

from guide_lib.readers.common import Arrays, expect, refuse

# what a graph makes of a name, a shape or a setting that is not there or not of its kind
GRAPH_ERRORS = (KeyError, ValueError, TypeError, IndexError, AttributeError)


def load_graph(content: bytes, format_name: str) -> Any:
    """The graph of an ONNX file that holds its own weights; refused under `format_name` if it is none."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load_model_from_string(content).graph
    except DecodeError as error:
        refuse(format_name, f"it is damaged: {error}")
    external = any(tensor.external_data or tensor.data_location for tensor in graph.initializer)
    expect(not external, format_name, "its weights lie in another file")
    return graph


def attributes(node: Any) -> dict[str, Any]:
    """The settings of an operation by name."""
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def stored_constants(graph: Any) -> Arrays:
    """The constants that lie in the file, by name."""
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
