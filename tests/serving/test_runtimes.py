"""Both runtimes give the same answers, and none reports to its maker that it is used."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chajong.bundle import Bundle
from chajong.choices import Runtime
from chajong.errors import BundleError
from chajong.serving.engine import Engine
from chajong.serving.runtimes import has, open_session


@pytest.mark.skipif(not has("openvino", "fp32"), reason="openvino is not installed")
def test_openvino_answers_as_onnxruntime(exported: Bundle) -> None:
    photos = [path.read_bytes() for path in sorted(exported.folder.glob("golden/*.jpg"))]
    said = []
    for runtime in ("onnxruntime", "openvino"):
        engine = Engine.open(exported, runtime, "fp32")
        said.append(np.exp(engine.answer([engine.prepare(data) for data in photos])))
    assert len(photos) == 8
    np.testing.assert_allclose(said[0], said[1], atol=1e-4)
    assert sys.modules["openvino_telemetry"] is None


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_what_is_asked_for_later_is_of_the_same_bundle(bundle: Bundle, runtime: Runtime) -> None:
    if not has(runtime, "fp32"):
        pytest.skip(f"{runtime} is not installed")
    engine = Engine.open(bundle, runtime, "fp32")
    photo = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    before = engine.sessions[0].compute(photo, ("log_probs",))[0]
    graph = bundle.graph_file(bundle.facts.graphs[0], "fp32")
    graph.unlink()
    graph.write_bytes(b"another one")
    log_probs, heat = engine.sessions[0].compute(photo, ("log_probs", "heat"))
    np.testing.assert_allclose(log_probs, before, atol=1e-5)
    assert heat.ndim == 5


REPORTING = """
import sys
from pathlib import Path
import numpy as np
from chajong.bundle import Bundle
from chajong.serving.engine import Engine
from chajong.training.quantise import quantise

bundle, out = Bundle.load(Path(sys.argv[1])), Path(sys.argv[2])
graph = bundle.facts.graphs[0]
photos = np.zeros((2, 32, 32, 3), np.uint8)
quantise(bundle.graph_file(graph, "fp32"), photos, out / "int8.onnx")
for runtime in sys.argv[3:]:
    engine = Engine.open(bundle, runtime, "fp32")
    engine.sessions[0].compute(photos, ("log_probs",))
"""


def test_nothing_is_reported_and_nothing_kept_of_it(exported: Bundle, tmp_path: Path) -> None:
    runtimes = [name for name in ("onnxruntime", "openvino") if has(name, "fp32")]
    # Where tests are run for others, ONNX Runtime is silent by itself.
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    for name in ("home", "tmp", "out"):
        (tmp_path / name).mkdir()
    environment |= {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-c", REPORTING, str(exported.folder), str(tmp_path / "out")]
    subprocess.run([*command, *runtimes], env=environment, check=True)
    files = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert files == ["int8.onnx"]


@pytest.mark.skipif(not has("openvino", "fp32"), reason="openvino is not installed")
def test_ctrl_c_is_heard_when_engines_are_gone(exported: Bundle) -> None:
    # The first goes before the second, as when a service takes a new bundle.
    code = f"""
import gc, signal
from pathlib import Path
from chajong.bundle import Bundle
from chajong.serving.engine import Engine
bundle = Bundle.load(Path({str(exported.folder)!r}))
first = Engine.open(bundle, "openvino", "fp32")
second = Engine.open(bundle, "openvino", "fp32")
for name in ("first", "second"):
    del globals()[name]
    gc.collect()
signal.signal(signal.SIGINT, lambda *_: print("heard"))
signal.raise_signal(signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_the_fastest_way_that_was_proven_is_taken(exported: Bundle) -> None:
    proofs = exported.facts.proofs
    paces = [proof.photos_per_s or 0 for proof in proofs]
    assert paces == sorted(paces, reverse=True)
    assert min(paces) > 0
    assert Engine.open(exported).proof == proofs[0]
    slowest = proofs[-1]
    assert Engine.open(exported, slowest.runtime, slowest.precision).proof == slowest
    exact = next(proof for proof in proofs if proof.precision == "fp32")
    assert Engine.open(exported, precision="fp32").proof == exact


def test_there_is_no_bf16_in_onnxruntime(exported: Bundle) -> None:
    assert not has("onnxruntime", "bf16")
    with pytest.raises(BundleError, match="onnxruntime has no bf16 on a CPU"):
        open_session(exported.folder / "members" / "0.onnx", "onnxruntime", "bf16", 1)
