"""Computing an ONNX graph: ONNX Runtime, or OpenVINO where it is installed.

Shapes: n photos, s side, k networks, v views, c classes.
"""

import importlib
import os
import sys
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chajong.choices import Precision, Runtime
from chajong.environment import num_cores
from chajong.errors import BundleError
from chajong.graph import Output
from chajong.serving.prune import pruned
from chajong.wording import installing

Floats = NDArray[np.float32]
Compute = Callable[[NDArray[np.uint8]], list[Floats]]
Opener = Callable[[tuple[Output, ...]], Compute]


class Session:
    """A graph that is ready to compute; several threads may ask it at once.

    Args:
        open_for: Gets some of the graph's outputs ready.
        outputs: What the graph gives.
    """

    def __init__(self, open_for: Opener, outputs: Sequence[Output]) -> None:
        self._open_for, self._opening = open_for, threading.Lock()
        # The others cost next to nothing where there are answers.
        self._usual: tuple[Output, ...] = tuple(each for each in outputs if each != "heat")
        self._opened: dict[tuple[Output, ...], Compute] = {self._usual: open_for(self._usual)}

    def __call__(self, photos: NDArray[np.uint8]) -> Floats:
        """Answer.

        Args:
            photos: uint8 (n, s, s, 3).

        Returns:
            (n, k, v, c) log-probabilities.
        """
        return self.compute(photos, ("log_probs",))[0]

    def compute(self, photos: NDArray[np.uint8], outputs: Sequence[Output]) -> list[Floats]:
        """Compute some of what the graph gives; what is not asked for is not computed.

        Args:
            photos: uint8 (n, s, s, 3).
            outputs: Which.

        Returns:
            In their order.
        """
        found: dict[Output, Floats] = {}
        for group in (self._usual, ("heat",)):
            if set(group) & set(outputs):
                found.update(zip(group, self._ready(group)(photos), strict=True))
        return [found[output] for output in outputs]

    def _ready(self, outputs: tuple[Output, ...]) -> Compute:
        if (opened := self._opened.get(outputs)) is not None:
            return opened  # without waiting for another that is being opened
        with self._opening:
            if outputs not in self._opened:
                self._opened[outputs] = self._open_for(outputs)
            return self._opened[outputs]


_INPUT = "photos"
_BLOCKED = threading.Lock()


def open_session(
    graph: Path,
    runtime: Runtime,
    precision: Precision,
    num_callers: int,
    outputs: Sequence[Output] = ("log_probs",),
) -> Session:
    """Get a graph ready to compute.

    Args:
        graph: The ONNX file.
        runtime: What computes.
        precision: In which number format: that of the file, or bf16 made from fp32.
        num_callers: How many threads will call at once; the cores are shared out among them.
        outputs: What the graph gives; others that it may have are left out.

    Returns:
        The session.

    Raises:
        BundleError: If the runtime is not installed, cannot compute the format, or refuses the
            graph.
    """
    opener = _onnxruntime if runtime == "onnxruntime" else _openvino
    try:
        return Session(opener(graph, precision, num_callers), outputs)
    except ImportError as error:
        extra = "serve" if runtime == "onnxruntime" else "openvino"
        raise BundleError(
            f"{runtime} is not installed ({error}). Run: {installing(extra)}"
        ) from error
    except BundleError:
        raise
    except Exception as error:  # the runtimes have a tree of errors each, some of them private
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        said = f"{runtime} cannot compute {graph} in {precision}: {reason[0]}"
        raise BundleError(said) from error


def has(runtime: Runtime, precision: Precision) -> bool:
    """Tell whether this machine computes a number format by itself.

    Args:
        runtime: What computes.
        precision: In which number format.

    Returns:
        Whether it is installed and does. bf16 is emulated, slowly, where the processor lacks it.
    """
    try:
        if runtime == "onnxruntime":
            import_onnxruntime()
            return precision != "bf16"  # its CPU kernels have no bf16
        core = _core()
    except ImportError:
        return False
    needed = {"fp32": "FP32", "bf16": "BF16", "int8": "INT8"}[precision]
    return needed in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _onnxruntime(graph: Path, precision: Precision, num_callers: int) -> Opener:
    ort = import_onnxruntime()
    if precision == "bf16":
        raise BundleError("onnxruntime has no bf16 on a CPU. Choose openvino, or fp32.")
    options = ort.SessionOptions()
    options.intra_op_num_threads = max(1, num_cores() // num_callers)
    options.inter_op_num_threads = 1
    # Idle threads that spin would take the cores from decoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    # Read once: when other outputs are asked for, another bundle may lie in its place.
    data = graph.read_bytes()

    def open_for(outputs: tuple[Output, ...]) -> Compute:
        model = pruned(data, outputs)
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

        def compute(photos: NDArray[np.uint8]) -> list[Floats]:
            said: list[Floats] = session.run(list(outputs), {_INPUT: photos})
            return said

        return compute

    return open_for


def _openvino(graph: Path, precision: Precision, num_callers: int) -> Opener:
    ov = _import_openvino()
    core = _core()
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "NUM_STREAMS": num_callers,
        "INFERENCE_NUM_THREADS": num_cores(),
    }
    # Read once: when other outputs are asked for, another bundle may lie in its place.
    model = core.read_model(graph)

    def open_for(outputs: tuple[Output, ...]) -> Compute:
        # It computes whatever a model has, so there is a model for each choice of outputs.
        kept = [model.output(name).node.input_value(0) for name in outputs]
        compiled = core.compile_model(ov.Model(kept, model.get_parameters()), "CPU", settings)
        requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(num_callers):
            requests.put(compiled.create_infer_request())

        def compute(photos: NDArray[np.uint8]) -> list[Floats]:
            request = requests.get()
            try:
                request.infer({_INPUT: photos})
                places = range(len(outputs))
                return [request.get_output_tensor(place).data.copy() for place in places]
            finally:
                requests.put(request)

        # OpenVINO's Python code sets itself up when it is first asked; two threads that do so at
        # the same moment wait for each other forever.
        side_px = compiled.input(0).get_partial_shape()[1].get_length()
        compute(np.zeros((1, side_px, side_px, 3), np.uint8))
        return compute

    return open_for


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime, so that it reports nothing to its maker.

    Official builds do, and keep an identifier of the machine in its home, from 1.29 on
    (onnxruntime#27379); whoever wants that says so in the environment.

    Returns:
        The module.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it looks once, when it is imported
    runtime = importlib.import_module("onnxruntime")
    if os.environ["ORT_DISABLE_TELEMETRY"] == "1":  # it may have been imported by somebody else
        runtime.disable_telemetry_events()
    return runtime


@cache
def _core() -> Any:
    # One, for as long as the process lives. On processors with AVX-512 the first one of a thread
    # gives it a stack for signals, and takes its memory along when it goes: Ctrl-C then crashed.
    return _import_openvino().Core()


def _import_openvino() -> ModuleType:
    # Importing it reports the import to its maker, unless the package that does so is missing.
    with _BLOCKED:
        if "openvino" not in sys.modules:
            sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        return importlib.import_module("openvino")
