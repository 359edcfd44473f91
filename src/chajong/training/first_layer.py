"""The first convolutions of an 8-bit graph, on photos as they come.

A photo is 8-bit numbers already. Normalising it to floats and rounding these to 8 bits again costs
a thirtieth of a small network's time; the weights of the convolutions can do the normalising.

Shapes: o channels out, k x k places.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

_NORMALISING = ("Cast", "Div", "Sub", "Div")  # as `training/graph.py` writes it


def fold_normalising(model: ModelProto) -> tuple[str, int] | None:
    """Let the convolutions that take normalised photos take those minus one grey level.

    (x / d - m) / s is (x - z) / (d s) plus what does not depend on x, where z is that level. Only
    at the edge of a photo, where a convolution pads, the answers are a little different.

    Args:
        model: A graph of floats, which is changed.

    Returns:
        The name of the photos minus the level, and the level; none where the graph does more with
        normalised photos, and is left as it is.
    """
    graph = model.graph
    values = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    steps = _steps(model)
    convs = [] if steps is None else _users(model, steps[-1].output[0])
    if not steps or not convs or not all(_is_plain(conv, values) for conv in convs):
        return None
    constants = [np.ravel(values.get(step.input[1], [])) for step in steps[1:]]
    if any(len(each) not in (1, 3) for each in constants):
        return None
    divisor, mean, deviation = (np.broadcast_to(each, 3) for each in constants)
    level = int(np.clip(np.round((divisor * mean).mean()), 0, 255))
    minus = steps[1]
    minus.op_type = "Sub"
    minus.input[1] = _add(model, f"{minus.output[0]}_level", np.float32(level))
    for conv in convs:
        name = conv.input[1]
        weights = values[name] / (divisor * deviation)[:, None, None]
        shift = (weights.sum(axis=(2, 3)) * (level - divisor * mean)).sum(axis=1)
        bias = values[conv.input[2]] if len(conv.input) > 2 else np.zeros(len(weights), np.float32)
        conv.input[:] = [
            minus.output[0],
            _add(model, f"{name}_of_photos", weights),
            _add(model, f"{name}_bias_of_photos", bias + shift),
        ]
    _remove(model, steps[2:])
    return minus.output[0], level


def take_photos(model: ModelProto, name: str) -> None:
    """Give photos themselves to what takes them minus a level, rounded to 8 bits.

    Args:
        model: A quantised graph, which is changed; its scale of these numbers is 1.
        name: Of the photos minus the level.
    """
    (minus,) = (node for node in model.graph.node if name in node.output)
    (cast,) = (node for node in model.graph.node if minus.input[0] in node.output)
    (rounded,) = _users(model, name)
    for user in _users(model, rounded.output[0]):
        user.input[0] = cast.input[0]
    _remove(model, (rounded, minus, cast))


def _steps(model: ModelProto) -> list[NodeProto] | None:
    # Those that normalise, one after the other, each for the next alone.
    found = [node for node in model.graph.node if node.op_type == _NORMALISING[0]]
    found = [node for node in found if "photos" in _sources(model, node)]
    if len(found) != 1:
        return None
    steps = [found[0]]
    for kind in _NORMALISING[1:]:
        users = _users(model, steps[-1].output[0])
        if len(users) != 1 or users[0].op_type != kind or users[0].input[0] != steps[-1].output[0]:
            return None
        steps.append(users[0])
    return steps


def _sources(model: ModelProto, node: NodeProto) -> list[str]:
    return [
        name for each in model.graph.node if node.input[0] in each.output for name in each.input
    ]


def _users(model: ModelProto, name: str) -> list[NodeProto]:
    return [node for node in model.graph.node if name in node.input]


def _is_plain(node: NodeProto, values: dict[str, Any]) -> bool:
    known = all(name in values for name in node.input[1:])
    return node.op_type == "Conv" and known and values[node.input[1]].shape[1] == 3


def _remove(model: ModelProto, nodes: Iterable[NodeProto]) -> None:
    graph = model.graph
    for node in nodes:
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for each in [each for each in graph.initializer if each.name not in used]:
        graph.initializer.remove(each)


def _add(model: ModelProto, name: str, value: Any) -> str:
    array = np.asarray(value, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(array, name))
    return name
