"""Each file of `examples/` runs, in the order of the chain, on what those before it made."""

import os
import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHAIN = ("photos", "audit", "train", "look", "blend", "expect", "submit", "bundle")
LEAVES = {  # what is there after an example, and what it says
    "photos": ("photos/sample_submission.csv", "test_labels.csv"),
    "audit": ("audit/audit.html", "groups of more than one photo"),
    "train": ("runs/second/score.json", "log_loss"),
    "look": ("runs/first/report.html", "second beside first: noise"),
    "blend": ("blend/blend.json", "temperature"),
    "expect": ("expectation.json", "90 %"),
    "submit": ("submission.csv", "log loss"),
    "bundle": ("cars.bundle/SHA256SUMS", "onnxruntime fp32"),
}


def be_the_example(path: Path, work: Path, said: Path) -> None:
    """In a process of its own."""
    import torch

    torch.set_num_threads(1)
    os.chdir(work)
    os.environ["CHAJONG_CACHE"] = str(work / "known")
    with said.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        runpy.run_path(str(path), run_name="__main__")


def test_every_example_is_in_the_chain() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(CHAIN)


def test_examples_are_short() -> None:
    lengths = {
        path.name: len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / "examples").glob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > 50} == {}


def test_examples_run(tmp_path: Path) -> None:
    from tests.training.processes import LIMIT_S, end, forks

    for name in CHAIN:
        said = tmp_path / f"{name}.txt"
        path = ROOT / "examples" / f"{name}.py"
        process = forks().Process(target=be_the_example, args=(path, tmp_path, said))
        process.start()
        process.join(LIMIT_S)
        code = process.exitcode
        end(process)
        text = said.read_text(encoding="utf-8")
        assert code == 0, text
        made, told = LEAVES[name]
        assert (tmp_path / made).exists()
        assert told in text
