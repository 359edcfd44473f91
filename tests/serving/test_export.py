"""What is exported answers as its networks do in torch, or is not written."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from torch import nn

from chajong.blending.blend import Blend, Member
from chajong.blending.subject import Subject
from chajong.bundle import Bundle
from chajong.bundle_facts import Proof
from chajong.catalogue import Car, Catalogue
from chajong.choices import Runtime
from chajong.errors import BundleError, DataError, RunError
from chajong.graph import OUTPUTS, Output
from chajong.labels import Labels
from chajong.photos.layout import PhotoRef
from chajong.pooling import Vector, geometric_mean, mean_of_networks
from chajong.run import Run
from chajong.serving.engine import Engine
from chajong.serving.proof import Truth, failures
from chajong.serving.runtimes import has, open_session
from chajong.training import export as module
from chajong.training.export import export
from chajong.training.graph import write_graph
from chajong.training.infer import Eye
from chajong.training.predict import predict, predict_blend
from chajong.training.samples import choose, samples_of
from chajong.training.views import VIEWS
from tests.test_cli import draw_photo
from tests.training.tiny import CPU

ONNX_RUNTIME = (("onnxruntime", "fp32"), ("onnxruntime", "int8"))
ORT_FP32 = Proof("onnxruntime", "fp32", 1000, 1.0, 1e-6, 1000, True, 0.9, 0.9, 1e-7)


def answers(bundle: Bundle, photos: Path) -> NDArray[np.float32]:
    engine = Engine.open(bundle, "onnxruntime", "fp32")
    paths = sorted(photos.rglob("*.jpg"), key=lambda path: path.relative_to(photos).as_posix())
    return np.exp(engine.answer([engine.prepare(path.read_bytes()) for path in paths]))


def test_a_bundle_answers_as_its_run(run: Run, exported: Bundle, photos: Path) -> None:
    wanted = predict(run, photos, CPU).probabilities()
    found = answers(exported, photos)
    assert wanted.std(axis=0).min() > 0.01  # the photos are not all alike to it
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_bundle_answers_as_its_blend(run: Run, photos: Path, tmp_path: Path) -> None:
    # Equal classes, a geometric mean, a temperature, a vector, a view of another size.
    names = run.labels.names
    member = Member(str(run.folder), run.fingerprint, ("small", "plain"), (0.8, 0.6))
    vector = Vector((1.1, 0.9), (0.2, -0.1))
    blend = Blend(names, ((names[0], names[1]),), (member,), "log", 0.8, vector, ())
    blend.save(tmp_path / "blend")
    cars = Catalogue(
        tuple(Car(name, maker_en="Mine", model=f"M{place}") for place, name in enumerate(names))
    )
    (tmp_path / "cars.csv").write_text(cars.to_csv(), encoding="utf-8")
    named = tmp_path / "cars.csv"
    bundle = export(tmp_path / "blend", tmp_path / "bundle", catalogue=named, int8=False)
    assert {proof.precision for proof in bundle.facts.proofs} <= {"fp32", "bf16"}
    assert [car.maker_en for car in bundle.catalogue.cars] == ["Mine"] * len(names)
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(photos.rglob("*.jpg"))[:40]:
        (few / path.name).write_bytes(path.read_bytes())
    wanted = predict_blend(blend, few, CPU).probabilities()
    np.testing.assert_allclose(answers(bundle, few), wanted, atol=1e-5)
    assert str(run.folder) not in (bundle.folder / "bundle.json").read_text(encoding="utf-8")
    assert bundle.card()["held_out_score"] is None


def test_equal_classes_of_a_run_are_one_to_its_networks(run: Run) -> None:
    labels = Labels(run.labels.names, ((run.labels.names[0], run.labels.names[1]),))
    subject = Subject(run.folder, (replace(run, labels=labels),))
    num = len(labels.names)
    drawn = np.random.default_rng(0).normal(0, 3, (50, 4, len(run.recipe.infer.views), num))
    said = (drawn - np.log(np.exp(drawn).sum(axis=-1, keepdims=True))).astype(np.float32)
    # As `predict` does with a run.
    wanted = geometric_mean(mean_of_networks(said, "log", labels.canonical), axis=1)
    found = subject.joined().answer_of_networks([said])
    np.testing.assert_allclose(np.exp(found), np.exp(wanted), atol=1e-5)


class Mean(nn.Module):
    """A network that is exported in no time: it sees the mean of quarters of a photo."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen: torch.Tensor = self.head(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))
        return seen


def test_every_view_can_be_exported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    eye = Eye(Mean(), CPU, "fp32", (0.5, 0.4, 0.3), (0.1, 0.2, 0.3), 0.7)
    write_graph([eye], tuple(VIEWS), 96, tmp_path / "all.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    wanted = eye.look(torch.from_numpy(pixels), tuple(VIEWS))
    runtimes: tuple[Runtime, ...] = ("onnxruntime", "openvino")
    for runtime in (each for each in runtimes if has(each, "fp32")):
        session = open_session(tmp_path / "all.onnx", runtime, "fp32", 1)
        np.testing.assert_allclose(session(pixels)[:, 0], wanted, atol=1e-4)
        np.testing.assert_allclose(session(pixels[:1])[:, 0], wanted[:1], atol=1e-4)


def test_a_transformer_can_be_exported(tmp_path: Path) -> None:
    shape = {"img_size": 32, "patch_size": 8, "depth": 2}
    network = timm.create_model("test_vit", num_classes=3, **shape)
    eye = Eye(network, CPU, "fp32", (0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
    views = ("plain", "flip")
    outputs, _ = write_graph([eye], views, 32, tmp_path / "one.onnx")
    assert outputs == OUTPUTS[:-1]  # its head reads one token: no place has a share
    session = open_session(tmp_path / "one.onnx", "onnxruntime", "fp32", 1)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    wanted = eye.look(torch.from_numpy(pixels), views)
    assert np.ptp(wanted, axis=0).min() > 1e-3
    np.testing.assert_allclose(session(pixels)[:, 0], wanted, atol=1e-4)


def test_the_proof_is_of_held_out_photos(exported: Bundle, run: Run) -> None:
    proof = exported.proof("onnxruntime", "fp32")
    assert (proof.num_photos, proof.num_labelled, proof.held_out) == (510, 510, True)
    assert proof.log_loss is not None
    score = run.score()
    assert score is not None
    assert proof.log_loss == pytest.approx(score.log_loss.value, abs=1e-3)
    assert proof.max_prob_gap < 1e-4


def test_coarser_numbers_say_what_they_lost(exported: Bundle) -> None:
    card = exported.card()
    ways = {
        (one["runtime"], one["precision"]): one for one in (*card["proofs"], *card["not_proven"])
    }
    int8, fp32 = ways["onnxruntime", "int8"], ways["onnxruntime", "fp32"]
    assert int8["log_loss"] != fp32["log_loss"]
    assert int8["torch_log_loss"] == fp32["torch_log_loss"]
    assert "int8" in (exported.folder / "CARD.md").read_text(encoding="utf-8")


def test_the_card_tells_scores_risk_and_look_alikes(exported: Bundle, run: Run) -> None:
    card, score = exported.card(), run.score()
    assert score is not None
    assert card["held_out_score"]["log_loss"]["value"] == score.log_loss.value
    last = card["risk_coverage"][-1]
    assert (last["share"], last["risk"]) == (1.0, pytest.approx(1 - score.top1.value))
    assert [row["risk"] for row in card["stated_risk"]] == [0.01, 0.02, 0.05]
    assert {row["num_photos"] for row in card["stated_risk"]} == {510}
    assert "How deep answers go" in (exported.folder / "CARD.md").read_text(encoding="utf-8")
    assert card["unknown_cars"]["num_photos"] == 75  # a gallery's held-out half of 50 a class
    assert "AUROC" in (exported.folder / "CARD.md").read_text(encoding="utf-8")
    num_wrong = sum(pair["num"] + pair["num_back"] for pair in card["confused"])
    assert num_wrong == round(last["risk"] * 510)
    assert card["base_weights"][0]["licence"] == run.record.licence


def copied(graph: Path, path: Path) -> tuple[tuple[Output, ...], str]:
    """Put a graph in place of one that would be written."""
    shutil.copy(graph, path)
    return OUTPUTS, "plain"


def test_networks_that_answer_otherwise_are_not_exported(
    run: Run, exported: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The graph is that of the run; the run's first network has become another one since.
    changed = Run.load(shutil.copytree(run.folder, tmp_path / "changed"))
    weights = changed.model_folder("0") / "weights.raw.safetensors"
    shutil.copy(changed.model_folder("1") / weights.name, weights)
    graph = exported.folder / "members" / "0.onnx"
    monkeypatch.setattr(module, "write_graph", lambda *words: copied(graph, words[-1]))
    with pytest.raises(BundleError, match=r"a probability differs by 0\.\d+, at most 0\.001 may"):
        export(changed.folder, tmp_path / "bundle", int8=False)
    assert [path.name for path in tmp_path.iterdir()] == ["changed"]


@pytest.mark.parametrize(
    ("proof", "said"),
    [
        (ORT_FP32, None),
        (replace(ORT_FP32, num_photos=499), "499 photos were compared"),
        (replace(ORT_FP32, top1_agreement=0.998), "99.80% of photos"),
        (replace(ORT_FP32, max_prob_gap=0.0011), "a probability differs by 0.0011"),
        (replace(ORT_FP32, max_prob_gap=float("nan")), "a probability differs by nan"),
        (replace(ORT_FP32, log_loss=0.90011), "log loss differs by +0.00011"),
        (replace(ORT_FP32, log_loss=0.89989), "log loss differs by -0.00011"),
        (replace(ORT_FP32, precision="int8", log_loss=0.908, max_prob_gap=0.3), None),
        (replace(ORT_FP32, precision="int8", log_loss=0.9095), "1.1% worse"),
        (replace(ORT_FP32, precision="bf16", log_loss=None), "needs at least 500 photos of"),
        (replace(ORT_FP32, precision="int8", num_labelled=499), "needs at least 500 photos of"),
    ],
)
def test_the_gate(proof: Proof, said: str | None) -> None:
    found = list(failures(proof))
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_too_few_photos_prove_nothing(
    run: Run,
    exported: Bundle,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(BundleError, match=r"only 170 are there.*demo-photos DEMO, then --photos"):
        export(run.folder, tmp_path / "bundle", photos / "green")
    assert "exporting" not in capsys.readouterr().err  # it is said before the work
    graph = exported.folder / "members" / "0.onnx"
    monkeypatch.setattr(module, "write_graph", lambda *words: copied(graph, words[-1]))
    shutil.copytree(photos / "green", tmp_path / "bad")
    for number in range(500):
        (tmp_path / "bad" / f"bad-{number}.jpg").write_bytes(b"")
    with pytest.raises(BundleError, match="only 170 can be read"):
        export(run.folder, tmp_path / "bundle", tmp_path / "bad")
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


def test_a_run_that_is_not_done_is_refused(run: Run, tmp_path: Path) -> None:
    young = tmp_path / "young"
    shutil.copytree(run.folder, young, ignore=shutil.ignore_patterns("fold-1"))
    with pytest.raises(RunError, match="is not done: 1 of 2 models"):
        export(young, tmp_path / "bundle")


def test_something_else_is_never_replaced(run: Run, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(BundleError, match="is there and is no bundle"):
        export(run.folder, tmp_path)
    assert (tmp_path / "precious.txt").read_text(encoding="utf-8") == "mine"


def test_a_runtime_that_fails_while_it_computes_is_left_out(
    run: Run, exported: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = module._ask_bundle

    def failing(bundle: Bundle, proof: Proof, *words: Any) -> Any:
        if proof.runtime == "openvino" or proof.precision == "int8":
            raise RuntimeError("no such kernel\nat 0x1")
        return ask(bundle, proof, *words)

    graph = exported.folder / "members" / "0.onnx"
    monkeypatch.setattr(module, "write_graph", lambda *words: copied(graph, words[-1]))
    monkeypatch.setattr(module, "_ask_bundle", failing)
    monkeypatch.setattr(module, "quantise", lambda graph, _, out: shutil.copy(graph, out))
    made = export(run.folder, tmp_path / "bundle")
    assert [(proof.runtime, proof.precision) for proof in made.facts.proofs] == [
        ("onnxruntime", "fp32")
    ]
    assert "openvino: no such kernel" in json.dumps(made.card())
    # Nor is a graph in it that nothing may compute.
    assert [each.name for each in (made.folder / "members").iterdir()] == ["0.onnx"]
    assert made.facts.graphs[0].files == {"fp32": "members/0.onnx"}


def test_a_network_without_an_8_bit_form_is_exported_without(
    run: Run, exported: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> None:
        raise ValueError("no such operation\nat 0x1")

    graph = exported.folder / "members" / "0.onnx"
    monkeypatch.setattr(module, "write_graph", lambda *words: copied(graph, words[-1]))
    monkeypatch.setattr(module, "quantise", failing)
    monkeypatch.setattr(module, "has", lambda *way: way in ONNX_RUNTIME)
    made = export(run.folder, tmp_path / "bundle")
    assert {proof.precision for proof in made.facts.proofs} <= {"fp32", "bf16"}
    assert [each.name for each in (made.folder / "members").iterdir()] == ["0.onnx"]
    assert "its 8-bit form: no such operation" in json.dumps(made.card())


def test_coarser_numbers_are_not_tried_where_few_classes_are_known(
    run: Run, exported: Bundle, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ask(bundle: Bundle, proof: Proof, *words: Any) -> Any:
        asked.append(proof.precision)
        return known(bundle, proof, *words)

    known = module._ask_bundle
    graph = exported.folder / "members" / "0.onnx"
    monkeypatch.setattr(module, "write_graph", lambda *words: copied(graph, words[-1]))
    monkeypatch.setattr(module, "quantise", lambda *_: asked.append("int8"))
    monkeypatch.setattr(module, "_ask_bundle", ask)
    rows = [f"{path.stem},{path.parent.name}" for path in sorted(photos.rglob("*.jpg"))[:3]]
    (tmp_path / "labels.csv").write_text("\n".join(["ID,label", *rows]), encoding="utf-8")
    made = export(run.folder, tmp_path / "bundle", photos, tmp_path / "labels.csv")
    assert {proof.precision for proof in made.facts.proofs} == set(asked) == {"fp32"}
    assert made.proof("onnxruntime", "fp32").num_labelled == 3
    refused = {(one["runtime"], one["precision"]) for one in made.card()["not_proven"]}
    assert ("onnxruntime", "int8") in refused
    assert "needs at least 500 photos of known class" in json.dumps(made.card())
    assert all(one.keys() == {"runtime", "precision", "why"} for one in made.card()["not_proven"])


def test_a_proof_is_by_photos_that_were_held_out_where_they_are_enough() -> None:
    def judged(num: int) -> Truth:
        folds = np.full(1200, -1)
        folds[300 : 300 + num] = 0
        refs = [PhotoRef(f"{place}", Path(f"{place}.jpg"), "train") for place in range(1200)]
        chosen = choose(refs, np.zeros(1200, np.intp), (folds, np.maximum(folds, 0)))
        assert len(chosen.refs) == 1000
        assert len({*chosen.refs, *chosen.to_measure}) == 1000 + 128
        # Some cannot be read.
        return module._truth(chosen.only(np.arange(1000) % 100 > 0))

    enough = judged(600)
    assert 580 < len(enough.rows) < 600
    assert enough.networks is not None
    assert {int(fold) for fold in enough.networks[0]} == {0}
    too_few = judged(499)
    assert len(too_few.rows) == 990
    assert too_few.networks is None


def test_labels_go_with_photos_by_name_and_what_does_not_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, labels = tmp_path / "photos", tmp_path / "labels.csv"
    for number in range(3):
        draw_photo(photos / "test" / f"T{number}.jpg", number)
    labels.write_text("ID,label\nT0,b\nT1,a\nT9,other\n", encoding="utf-8")
    known = Labels(("a", "b"))
    found = samples_of(photos, labels, known)
    said = {ref.id: place for ref, place in zip(found.refs, found.classes.tolist(), strict=True)}
    assert said == {"test/T0.jpg": 1, "test/T1.jpg": 0, "test/T2.jpg": -1}
    assert "1 photo(s) have no label there, 1 label(s) no photo" in capsys.readouterr().err
    labels.write_text("ID,label\nT0,bee\n", encoding="utf-8")
    with pytest.raises(DataError, match="bee"):
        samples_of(photos, labels, known)
