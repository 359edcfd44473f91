import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import chajong
from chajong.environment import package_version

SOURCE = Path(chajong.__file__).parents[1]
TRAINING = ("torch", "torchvision", "timm", "safetensors")
SERVING = ("onnxruntime", "fastapi", "uvicorn", "prometheus-client")


def examined(*options: str, **environment: str) -> list[str]:
    code = "from chajong.doctor import examine\nfor line in examine():\n    print(line)"
    made = subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert made.stderr == ""
    return made.stdout.splitlines()


def packages_without(folder: Path, *names: str) -> str:
    """A folder of the installed packages without some, to be put first where Python looks."""
    folder.mkdir()
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        package = path.name.split("-")[0].split(".")[0].lower()
        if package not in names:
            (folder / path.name).symlink_to(path)
    return os.pathsep.join((str(SOURCE), str(folder)))


def test_what_is_missing_for_training_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = tmp_path / "file" / "cache"
    # -S: without the packages that are installed, but for those of PYTHONPATH.
    path = packages_without(tmp_path / "packages", *TRAINING, "fastapi")
    lines = examined("-S", PYTHONPATH=path, CHAJONG_CACHE=str(cache))
    assert lines[0].startswith("ok  Python 3.")
    assert lines[1].startswith(f"ok  numpy {package_version('numpy')}, ")
    assert lines[2].startswith("!!  missing: torch, torchvision, timm, safetensors. Run: pip")
    assert "--editable '.[train]' (in the project's folder)" in lines[2]
    assert lines[3].startswith("ok  onnxruntime ")
    assert lines[4].startswith("--  missing: fastapi. Run: pip install --constraint")
    assert lines[4].endswith("'.[serve]' (in the project's folder) to use a bundle")
    assert lines[5].startswith("ok  ")
    assert "cores" in lines[5]
    assert lines[6:] == [
        f"!!  the cache {cache} cannot be written: set CHAJONG_CACHE to one that can be"
    ]


def test_a_machine_for_bundles_alone_is_fine_without_torch(tmp_path: Path) -> None:
    path = packages_without(tmp_path / "packages", *TRAINING)
    lines = examined("-S", PYTHONPATH=path, CHAJONG_CACHE=str(tmp_path / "cache"))
    assert lines[2].startswith("--  missing: torch, torchvision, timm, safetensors. Run: pip")
    assert not [line for line in lines if line.startswith("!!")]


def test_the_doctor_works_where_much_is_missing(tmp_path: Path) -> None:
    path = packages_without(tmp_path / "packages", "simplejpeg", "numpy", "polars", "typer")
    lines = examined("-S", PYTHONPATH=path)
    assert any(
        line.startswith("!!  missing: numpy, simplejpeg, polars, typer. Run: pip") for line in lines
    )
    assert all(line.startswith(("ok  ", "--  ", "!!  ")) for line in lines)


def test_what_is_there_is_said(tmp_path: Path) -> None:
    kept = tmp_path / "hub" / "hub" / "models--timm--resnet10t.c3_in1k"
    kept.mkdir(parents=True)
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "torch" / "hub" / "checkpoints" / "resnet50-0676ba61.pth").write_text("")
    no_proxy = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "")
    lines = examined(
        CHAJONG_CACHE=str(tmp_path / "cache"),
        HF_HOME=str(tmp_path / "hub"),
        TORCH_HOME=str(tmp_path / "torch"),
        HF_ENDPOINT="http://127.0.0.1:9",  # where nobody answers
        **no_proxy,
    )
    text = "\n".join(lines)
    for name in ("chajong", "numpy", "polars", *TRAINING, *SERVING):
        assert f"{name} {package_version(name)}" in text
    assert f"the cache {tmp_path / 'cache'} can be written" in text
    assert "pretrained weights kept here: resnet10t.c3_in1k, resnet50-0676ba61.pth" in text
    assert "--  the hub cannot be reached: give a local file (--set model.weights=FILE" in text
    assert "precision chosen here: " in text
    assert "the C allocator" in text
    assert "missing" not in text
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("raise OSError('libcudart.so.13: not found')", "libcudart.so.13: not found"),
        ("import os; os.of_another_version", "module 'os' has no attribute 'of_another_version'"),
        ("raise AttributeError", "AttributeError"),
    ],
)
def test_torch_that_does_not_work(tmp_path: Path, failure: str, said: str) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(failure)
    lines = examined(PYTHONPATH=os.pathsep.join((str(SOURCE), str(tmp_path))))
    assert lines[-1].startswith(f"!!  torch does not work here: {said}. Run: ")
