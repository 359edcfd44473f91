"""From a graph of floats to one of 8-bit numbers, its ranges measured on photos."""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from chajong.serving.runtimes import import_onnxruntime
from chajong.training.first_layer import fold_normalising, take_photos
from chajong.training.graph import quiet_logging

_NUM_AT_ONCE = 8


def quantise(graph: Path, photos: NDArray[np.uint8], out: Path) -> None:
    """Write a graph whose convolutions and linear layers compute with 8-bit numbers.

    Weights have a scale for each channel; ranges of activations are those seen on the photos.
    With one bit less, as old processors would need, answers lose far more (docs/results.md). On a
    processor without VNNI sums can overflow: golden photos then get other answers, and another way
    to compute is taken there.

    Args:
        graph: The ONNX file.
        photos: uint8 (n, s, s, 3) photos like those that will be asked about.
        out: The file to make.
    """
    import_onnxruntime()
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches: Iterator[NDArray[np.uint8]] = iter(_batches(photos))

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"photos": batch}

    options: dict[str, Any] = {}
    # Quiet, as it advises to do what is done here.
    with TemporaryDirectory() as folder, warnings.catch_warnings(), quiet_logging():
        warnings.simplefilter("ignore")
        fused = Path(folder) / "fused.onnx"
        quant_pre_process(graph, fused, skip_symbolic_shape=True)
        model = onnx.load(fused)
        if (folded := fold_normalising(model)) is not None:
            name, level = folded
            exactly = {"rmin": np.float32(-level), "rmax": np.float32(255 - level)}
            options["TensorQuantOverrides"] = {name: [exactly]}
            onnx.save(model, fused)
        quantize_static(
            fused,
            out,
            Reader(),
            op_types_to_quantize=["Conv", "Gemm", "Add", "Clip", "Relu"],
            per_channel=True,
            reduce_range=False,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options=options,
        )
        if folded is not None:
            model = onnx.load(out)
            take_photos(model, name)
            onnx.save(model, out)


def _batches(photos: NDArray[np.uint8]) -> Sequence[NDArray[np.uint8]]:
    return [photos[start : start + _NUM_AT_ONCE] for start in range(0, len(photos), _NUM_AT_ONCE)]
