"""A graph without outputs that are not asked for, so that they cost nothing.

ONNX Runtime computes all of a graph, asked for or not. An ONNX file is a protocol buffer: fields
one after another, each with a number, a type and, here, a length. Only nodes and outputs of the
graph are looked at, and those that stay are copied as they are.
"""

from collections.abc import Collection, Iterator

# Numbers of fields: of the file; of its graph; of a node; of an output.
_GRAPH = 7
_NODE, _OUTPUT = 1, 12
_TAKES, _GIVES = 1, 2
_NAME = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def pruned(model: bytes, kept: Collection[str]) -> bytes:
    """Leave out all other outputs and what only they need.

    Args:
        model: An ONNX file, its nodes in order and none of them with graphs within.
        kept: Names of outputs.

    Returns:
        An ONNX file.

    Raises:
        ValueError: If it is none.
    """  # noqa: DOC502 raised by `_fields`
    parts = []
    for number, content, whole in _fields(model):
        if number == _GRAPH:
            graph = _pruned_graph(content, kept)
            parts += [_varint(_GRAPH << 3 | _BYTES), _varint(len(graph)), graph]
        else:
            parts.append(whole)
    return b"".join(parts)


def _pruned_graph(graph: bytes, kept: Collection[str]) -> bytes:
    needed = set(kept)
    parts = []
    for number, content, whole in reversed(list(_fields(graph))):
        if number == _OUTPUT and not _texts(content, _NAME) & needed:
            continue
        if number == _NODE:
            if not _texts(content, _GIVES) & needed:
                continue
            needed |= _texts(content, _TAKES)
        parts.append(whole)
    return b"".join(reversed(parts))


def _texts(message: bytes, wanted: int) -> set[str]:
    return {content.decode() for number, content, _ in _fields(message) if number == wanted}


def _fields(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    # The number of each field, its content, and all its bytes.
    place = 0
    while place < len(data):
        start = place
        key, place = _read_varint(data, place)
        kind = key & 7
        if kind == _VARINT:
            _, end = _read_varint(data, place)
        elif kind == _BYTES:
            size, place = _read_varint(data, place)
            end = place + size
        elif kind in (_FIXED64, _FIXED32):
            end = place + (8 if kind == _FIXED64 else 4)
        else:
            raise ValueError(f"no protocol buffer: a field of type {kind}")
        if end > len(data):
            raise ValueError("no protocol buffer: a field goes past its end")
        yield key >> 3, data[place:end], data[start:end]
        place = end


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data):
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
    raise ValueError("no protocol buffer: it ends within a number")


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)
