"""What a convolution makes of photos as they come is what it makes of normalised ones."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from chajong.serving.runtimes import import_onnxruntime
from chajong.training.first_layer import fold_normalising
from chajong.training.quantise import quantise

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RNG = np.random.default_rng(0)
PHOTOS = RNG.integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)


def graph(
    mean: tuple[float, ...], deviation: tuple[float, ...], flipped: bool = False
) -> ModelProto:
    """Two convolutions on normalised photos, one of them without a bias."""
    values = {
        "whole": np.float32(255),
        "mean": np.reshape(mean, (1, -1, 1, 1)).astype(np.float32),
        "deviation": np.reshape(deviation, (1, -1, 1, 1)).astype(np.float32),
        "w": RNG.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32),
        "b": RNG.normal(0, 0.2, 8).astype(np.float32),
        "v": RNG.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32),
        "axis": np.array([3]),
        "last": np.array([-1]),
        "first": np.array([-(2**31)]),
    }
    seen = "normal"
    nodes = [
        helper.make_node("Transpose", ["photos"], ["upright"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["upright"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "whole"], ["share"]),
        helper.make_node("Sub", ["share", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "deviation"], ["normal"]),
    ]
    if flipped:
        seen, ends = "flipped", ["last", "first", "axis", "last"]
        nodes.append(helper.make_node("Slice", ["normal", *ends], [seen]))
    nodes += [
        helper.make_node("Conv", [seen, "w", "b"], ["one"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", [seen, "v"], ["two"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["one", "two"], ["log_probs"]),
    ]
    made = helper.make_graph(
        nodes,
        "seen",
        [helper.make_tensor_value_info("photos", TensorProto.UINT8, ["n", 16, 16, 3])],
        [helper.make_tensor_value_info("log_probs", TensorProto.FLOAT, ["n", 8, 16, 16])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def asked(model: ModelProto) -> NDArray[np.float32]:
    session = import_onnxruntime().InferenceSession(model.SerializeToString())
    made: NDArray[np.float32] = session.run(None, {"photos": PHOTOS})[0]
    return made


@pytest.mark.parametrize(
    ("mean", "deviation", "level"), [(MEAN, DEVIATION, 114), ((0.5,), (0.5,), 128)]
)
def test_weights_may_do_the_normalising(
    mean: tuple[float, ...], deviation: tuple[float, ...], level: int
) -> None:
    model = graph(mean, deviation)
    before = asked(model)
    assert fold_normalising(model) == ("share", level)
    onnx.checker.check_model(model)
    gap = np.abs(asked(model) - before)
    assert gap[:, :, 1:-1, 1:-1].max() < 1e-4
    assert gap.max() < 0.5  # where a padded nothing is another grey
    assert {node.op_type for node in model.graph.node} == {
        "Transpose",
        "Cast",
        "Sub",
        "Conv",
        "Add",
    }


def test_what_is_done_to_normalised_photos_first_stays_as_it_is() -> None:
    model = graph(MEAN, DEVIATION, flipped=True)
    before = model.SerializeToString()
    assert fold_normalising(model) is None
    assert model.SerializeToString() == before


@pytest.mark.parametrize("flipped", [False, True])
def test_an_8_bit_graph_takes_photos_as_they_come(flipped: bool, tmp_path: Path) -> None:
    model = graph(MEAN, DEVIATION, flipped)
    onnx.save(model, tmp_path / "floats.onnx")
    quantise(tmp_path / "floats.onnx", PHOTOS, tmp_path / "bytes.onnx")
    made = onnx.load(tmp_path / "bytes.onnx")
    assert ("Cast" in {node.op_type for node in made.graph.node}) == flipped
    inner = np.s_[:, :, 1:-1, 1:-1]
    gap = np.abs(asked(made) - asked(model))[inner]
    assert gap.mean() < 0.02 * np.abs(asked(model)[inner]).mean()
