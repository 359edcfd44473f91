"""A bundle that is not as it was made is refused with the reason."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chajong.added import Added
from chajong.bundle import Bundle
from chajong.bundle_facts import Proof
from chajong.bundle_place import put_in_place, refuse_to_lose
from chajong.checksums import write_sums
from chajong.choices import Precision, Runtime
from chajong.errors import BundleError, ResourceError
from chajong.serving.answers import check_out
from chajong.serving.engine import Engine
from chajong.serving.runtimes import Session


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def reseal(folder: Path) -> None:
    """What someone does who knows of the checksums."""
    names = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    listed = [path.relative_to(folder).as_posix() for path in names if path.name != "SHA256SUMS"]
    done = subprocess.run(
        ["sha256sum", *listed], cwd=folder, capture_output=True, text=True, check=True
    )
    (folder / "SHA256SUMS").write_text(done.stdout, encoding="utf-8")


@pytest.mark.parametrize("spoil", [flip_a_bit, cut, Path.unlink])
@pytest.mark.parametrize("name", ["members/0.onnx", "golden/0.jpg", "card.json", "labels.json"])
def test_a_touched_file_is_named(
    bundle: Bundle, name: str, spoil: Callable[[Path], object]
) -> None:
    spoil(bundle.folder / name)
    with pytest.raises(BundleError, match=f"is not as it was made: .*{name}"):
        Bundle.load(bundle.folder)


def test_a_file_that_was_added_is_named(bundle: Bundle) -> None:
    (bundle.folder / ".DS_Store").write_bytes(b"left behind")
    Bundle.load(bundle.folder)
    (bundle.folder / "members" / "1.onnx").write_bytes(b"new")
    with pytest.raises(BundleError, match=r"it holds 'members/1\.onnx', which its SHA256SUMS"):
        Bundle.load(bundle.folder)


def test_damaged_checksums_are_refused(bundle: Bundle) -> None:
    cut(bundle.folder / "SHA256SUMS")
    with pytest.raises(BundleError, match="is not as it was made"):
        Bundle.load(bundle.folder)


def test_the_checksums_are_those_of_sha256sum(bundle: Bundle) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"],
        cwd=bundle.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_a_newer_bundle_is_refused_before_anything_else(bundle: Bundle) -> None:
    path = bundle.folder / "bundle.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({"format": 3, "unheard": "of"}), encoding="utf-8")
    with pytest.raises(BundleError, match=r"newer version \(format 3; this one reads up to 2\)"):
        Bundle.load(bundle.folder)
    del facts["blend"]
    path.write_text(json.dumps(facts), encoding="utf-8")
    reseal(bundle.folder)
    with pytest.raises(BundleError, match=r"bundle\.json is damaged: blend: Field required"):
        Bundle.load(bundle.folder)


def test_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="There is no bundle in"):
        Bundle.load(tmp_path)


def an_added(name: str) -> Added:
    """Of some file of the bundle."""
    return Added(name, "2026-01-01", "", "", "", (), "labels.json", (), 0.0, 1.0)


def test_added_classes_are_not_lost_to_a_bundle_without_them(
    bundle: Bundle, tmp_path: Path
) -> None:
    def of(added: tuple[str, ...]) -> Callable[[Path], None]:
        facts = replace(bundle.facts, added=tuple(map(an_added, added)))

        def make(draft: Path) -> None:
            shutil.copytree(bundle.folder, draft, dirs_exist_ok=True)
            replace(bundle, folder=draft, facts=facts).save(bundle.card(), "")

        return make

    out = tmp_path / "more"
    put_in_place(out, of(("new",)))
    put_in_place(out, of(("new", "newer")))
    for fewer in ((), ("newer",)):
        with pytest.raises(BundleError, match=r"that the new one lacks: 'new'"):
            put_in_place(out, of(fewer))
    assert [each.name for each in Bundle.load(out).facts.added] == ["new", "newer"]
    # It is not known what a damaged one had.
    (out / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match=r"holds a damaged bundle.* Take it away first"):
        refuse_to_lose(out, bundle.labels.names)


def test_nothing_is_written_into_a_bundle(bundle: Bundle) -> None:
    for place in (bundle.folder / "more", bundle.folder / "gallery" / "more"):
        with pytest.raises(BundleError, match="would lie in the bundle"):
            put_in_place(place, lambda _: None)
    with pytest.raises(BundleError, match="would lie in the bundle"):
        check_out(bundle.folder / "predictions.parquet")
    file = bundle.folder.parent / "file"
    file.touch()
    with pytest.raises(ResourceError, match="a file stands where a folder is needed"):
        check_out(file / "predictions.parquet")
    Bundle.load(bundle.folder)


def test_a_copy_of_what_was_changed_since_it_was_opened_is_refused(
    bundle: Bundle, tmp_path: Path
) -> None:
    cut(bundle.folder / "gallery" / "embeddings.npy")
    with pytest.raises(BundleError, match="was changed while it was copied"):
        bundle.copy_to(tmp_path / "copy")


def test_one_that_was_replaced_since_it_was_opened_is_refused(bundle: Bundle) -> None:
    sums = bundle.folder / "SHA256SUMS"
    sums.write_text(sums.read_text(encoding="utf-8").upper(), encoding="utf-8")
    with pytest.raises(BundleError, match="took the place of"):
        Engine.open(bundle, "onnxruntime", "fp32")


def test_an_added_class_is_the_car_that_is_known_of_its_name(bundle: Bundle) -> None:
    names = ("1시리즈_F20_2013_2015", "박스터_718_2017_2024", "718_박스터_2017_2024", "Mine")
    more = replace(bundle, facts=replace(bundle.facts, added=tuple(map(an_added, names))))
    cars = {car.name: car for car in more.catalogue.cars}
    assert set(cars) == {*bundle.learned.names, *names}
    assert (cars[names[0]].maker, cars[names[1]].maker) == ("BMW", "Porsche")
    assert set(more.labels.equal) == {*bundle.learned.equal, names[2:0:-1]}
    assert more.catalogue.narrowed(bundle.learned.names) == bundle.catalogue == bundle.cars


def test_a_bad_bundle_takes_no_place(bundle: Bundle) -> None:
    def copy(draft: Path) -> None:
        shutil.copytree(bundle.folder, draft, dirs_exist_ok=True)
        cut(draft / "card.json")

    with pytest.raises(BundleError):
        put_in_place(bundle.folder, copy)
    assert Bundle.load(bundle.folder).fingerprint == bundle.fingerprint


@pytest.mark.parametrize("where", ["graph", "golden", "added", "risks", "hidden"])
def test_a_bundle_that_names_files_of_others_is_refused(
    bundle: Bundle, where: str, tmp_path: Path
) -> None:
    # Of an added class that is taken out, the file is deleted.
    other = tmp_path / "diary.txt"
    other.touch()
    facts = json.loads((bundle.folder / "bundle.json").read_text("utf-8"))
    golden = json.loads((bundle.folder / "golden" / "golden.json").read_text("utf-8"))
    added = {
        **dict.fromkeys(("name", "added", "by", "made_by", "parent"), "x"),
        "photos": ["a"] * 5,
        "file": str(other),
        "weights": [0.0] * 4,
        "old_log_loss_gap": 0.0,
        "expected_recall": 1.0,
    }
    match where:
        case "graph":
            facts["graphs"][0]["files"]["fp32"] = "../diary.txt"
        case "golden":
            golden["photos"][0] = str(other)
        case "added":
            facts["added"] = [added]
        case "risks":
            facts["risks"] = str(other)
        case _:
            facts["graphs"][0]["files"]["fp32"] = "members/.0.onnx"
            (bundle.folder / "members" / "0.onnx").rename(bundle.folder / "members" / ".0.onnx")
    (bundle.folder / "bundle.json").write_text(json.dumps(facts), "utf-8")
    (bundle.folder / "golden" / "golden.json").write_text(json.dumps(golden), "utf-8")
    write_sums(bundle.folder)
    with pytest.raises(BundleError, match="which its SHA256SUMS does not list"):
        Bundle.load(bundle.folder)


def test_a_golden_answer_that_differs_is_refused(bundle: Bundle) -> None:
    # Even where the checksums were made anew: an answer is what the golden photo gets, or none is.
    path = bundle.folder / "golden" / "golden.json"
    golden = json.loads(path.read_text(encoding="utf-8"))
    answer = golden["log_probs"]["onnxruntime fp32"][0]
    answer[0], answer[1] = answer[1], answer[0]
    path.write_text(json.dumps(golden), encoding="utf-8")
    reseal(bundle.folder)
    with pytest.raises(BundleError, match="answers otherwise here than where it was made"):
        Engine.open(Bundle.load(bundle.folder), "onnxruntime", "fp32")


def test_photos_may_be_resized_by_another_program_but_not_otherwise(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    way: tuple[Runtime, Precision] = ("onnxruntime", "fp32")
    with monkeypatch.context() as without:
        without.setattr("chajong.photos.resize.IS_FAST", False)
        Engine.open(bundle, *way)
    # Answers are those of the squares that the bundle keeps, whatever they are made of here.
    kept = bundle.golden_squares()
    assert [[square.shape for square in each] for each in kept] == 8 * [[(32, 32, 3)]]
    bundle.save_golden_squares([(np.clip(kept[0][0], 0, 252) + 3,), *kept[1:]])
    reseal(bundle.folder)
    with pytest.raises(BundleError, match=r"prepares photos otherwise .* differs by 3 of 255"):
        Engine.open(Bundle.load(bundle.folder), *way)
    # Older bundles keep none.
    _squares(bundle).unlink()
    reseal(bundle.folder)
    Engine.open(Bundle.load(bundle.folder), *way)


def _squares(bundle: Bundle) -> Path:
    return bundle.folder / "golden" / "squares.npz"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(b""), "cannot be read: "),
        (lambda path: path.write_bytes(b"PK no archive"), "cannot be read: "),
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "cannot be read: "),
        (lambda path: np.savez(path, np.zeros((8, 33, 33, 3), np.uint8)), "it holds .*33, 33, 3"),
        (lambda path: np.savez(path, np.zeros((8, 32, 32, 3))), "it holds .*float64"),
        (lambda path: np.savez(path), r"it holds \[\]"),
    ],
)
def test_golden_squares_that_are_none_are_refused(
    bundle: Bundle, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(_squares(bundle))
    reseal(bundle.folder)
    with pytest.raises(BundleError, match=rf"squares\.npz .*{said}.* Copy the bundle again"):
        Engine.open(Bundle.load(bundle.folder), "onnxruntime", "fp32")


def test_a_way_that_answers_otherwise_here_is_said_and_passed_over(
    bundle: Bundle,
    exported: Bundle,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def spoil(proof: Proof) -> None:
        answer = golden["log_probs"][f"{proof.runtime} {proof.precision}"][0]
        answer[answer.index(max(answer))] -= 30
        path.write_text(json.dumps(golden), encoding="utf-8")
        reseal(bundle.folder)

    path = bundle.folder / "golden" / "golden.json"
    golden = json.loads(path.read_text(encoding="utf-8"))
    first, *others = bundle.facts.proofs
    spoil(first)
    opened = Engine.open(Bundle.load(bundle.folder))
    assert opened.proof == others[0]
    said = f"{first.runtime} {first.precision} is not used: "
    assert said in capsys.readouterr().err
    with pytest.raises(BundleError, match="answers otherwise here"):
        Engine.open(Bundle.load(bundle.folder), first.runtime, first.precision)

    # So is one that fails while it computes.
    def failing(*_: Any) -> Any:
        raise RuntimeError("no such kernel\nat 0x1")

    with monkeypatch.context() as patch:
        patch.setattr(Session, "compute", failing)
        with pytest.raises(BundleError, match=r"no such kernel$"):
            Engine.open(exported)
    assert capsys.readouterr().err.count(" is not used: ") == len(others)
    for proof in others:
        spoil(proof)
    with pytest.raises(BundleError, match="answers otherwise here"):
        Engine.open(Bundle.load(bundle.folder))


def test_a_graph_that_is_none_is_refused(bundle: Bundle) -> None:
    (bundle.folder / "members" / "0.onnx").write_bytes(b"not a graph")
    reseal(bundle.folder)
    with pytest.raises(BundleError, match=r"onnxruntime cannot compute .*0\.onnx in fp32"):
        Engine.open(Bundle.load(bundle.folder), "onnxruntime", "fp32")


def test_only_what_was_proven_may_compute(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="not proven to answer rightly with onnxruntime in bf16"):
        Engine.open(bundle, "onnxruntime", "bf16")


ASKING = """
import sys
for name in ("torch", "matplotlib", "scipy", "sklearn", "pandas", "pickle"):
    sys.modules[name] = None
sys.modules.pop("pickle")
loaded = set(sys.modules)
from pathlib import Path
from chajong.bundle import Bundle
from chajong.serving.answers import check_out
from chajong.serving.engine import Engine
import pickle

def refuse(*_):
    raise RuntimeError("something was unpickled")

pickle.load = pickle.loads = pickle.Unpickler = refuse
engine = Engine.open(Bundle.load(Path(sys.argv[1])), "onnxruntime", "fp32")
print(engine.answer([engine.prepare(Path(sys.argv[2]).read_bytes())]).shape)
print([name for name in ("torch", "matplotlib", "scipy", "sklearn") if sys.modules.get(name)])
"""


def test_a_bundle_is_asked_without_torch_and_without_pickles(exported: Bundle) -> None:
    photo = exported.folder / "golden" / "0.jpg"
    done = subprocess.run(
        [sys.executable, "-c", ASKING, exported.folder, photo],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["(1, 3)", "[]"]
