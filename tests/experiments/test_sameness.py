import json
from pathlib import Path

import numpy as np
import pytest

from chajong.experiments.sameness import sameness
from chajong.run import Run
from tests.experiments.made_up import NAMES, answers, labels_of, make_run
from tests.runs import edit

LABELS = labels_of(30)


def twins(folder: Path) -> tuple[Run, Run]:
    a, b = (make_run(folder / name, LABELS, answers(LABELS, 1.0)) for name in ("a", "b"))
    return a, b


def test_runs_that_are_the_same_to_the_bit(tmp_path: Path) -> None:
    found = sameness(*twins(tmp_path))
    assert found.bit_equal
    assert found.lines()[0] == "bit-equal: 2 file(s) of weights of 2 model(s)"
    assert found.lines()[1] == "predictions  fold 0: the same to the bit, 15 photo(s)"
    assert found.lines()[-1] == (
        "on record    the same recipe, data, weights, teacher, code and environment"
    )
    assert found.scores is not None
    assert found.scores[0] == found.scores[1]
    assert json.loads(json.dumps(found.as_dict()))["bit_equal"] is True


def test_one_bit_of_a_weight(tmp_path: Path) -> None:
    a, b = twins(tmp_path)
    path = b.folder / "fold-1" / "weights.raw.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    found = sameness(a, b)
    assert (found.bit_equal, found.weights) == (False, ("fold-1/weights.raw.safetensors",))
    assert "weights file fold-1/weights.raw.safetensors differs" in found.lines()
    assert "so this machine does not compute the same twice" in found.lines()[-1]


def test_predictions_that_moved(tmp_path: Path) -> None:
    a, _ = twins(tmp_path)
    said = answers(LABELS, 1.0)
    moved = said.copy()
    moved[4] = np.roll(said[4], 1)  # the likeliest class is another one
    b = make_run(tmp_path / "c", LABELS, moved)
    found = sameness(a, b)
    assert not found.bit_equal
    drifts = dict(found.drifts)
    changed = [drift for drift in drifts.values() if not drift.equal]
    assert len(changed) == 1
    assert changed[0].num_top == 1
    assert changed[0].num_photos == 15
    probs = np.exp(np.float64(said[4]))
    assert changed[0].most == pytest.approx(np.abs(probs - np.roll(probs, 1)).max(), rel=1e-5)
    line = next(line for line in found.lines() if "probabilities differ" in line)
    assert "another likeliest class on 1 of 15 photos" in line
    assert any(line.startswith("log loss ") for line in found.lines())


def test_the_least_bit_of_a_prediction_counts(tmp_path: Path) -> None:
    a, _ = twins(tmp_path)
    said = answers(LABELS, 1.0)
    said[4, 0] = np.nextafter(said[4, 0], np.float32(0))
    found = sameness(a, make_run(tmp_path / "c", LABELS, said))
    assert sorted(drift.equal for _, drift in found.drifts) == [False, True]
    assert not found.bit_equal


def test_what_differs_on_record_is_said_even_where_bits_are_the_same(tmp_path: Path) -> None:
    a, b = twins(tmp_path)
    edit(b.folder / "run.json", lambda record: record["environment"].update(device="cuda"))
    found = sameness(a, Run.load(b.folder))
    assert found.bit_equal
    assert found.lines()[-1] == "environment  device: cpu -> cuda"


def test_weights_that_only_one_has(tmp_path: Path) -> None:
    a, b = twins(tmp_path)
    (b.folder / "fold-0" / "weights.ema.safetensors").write_bytes(b"x")
    assert sameness(a, b).weights == ("fold-0/weights.ema.safetensors",)


def test_a_model_that_only_one_trained(tmp_path: Path) -> None:
    a, _ = twins(tmp_path)
    b = make_run(tmp_path / "c", LABELS, answers(LABELS, 1.0), done=("1",))
    found = sameness(a, b)
    assert found.models == ("1",)
    assert found.bit_equal
    assert found.changes.models == ("trained: 0, 1 -> 1",)
    nothing = sameness(a, make_run(tmp_path / "d", LABELS, answers(LABELS, 1.0), done=()))
    assert not nothing.bit_equal


def test_other_photos_are_not_the_same(tmp_path: Path) -> None:
    a, _ = twins(tmp_path)
    labels = [*LABELS, NAMES[0]]
    b = make_run(tmp_path / "c", labels, answers(labels, 1.0))
    found = sameness(a, b)
    assert not found.bit_equal
    assert any(drift.num_unshared for _, drift in found.drifts)
