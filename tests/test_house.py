"""The rules of the house that no other tool keeps."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import chajong

PACKAGE = Path(chajong.__file__).parent
ROOT = PACKAGE.parents[1]
MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
CODE = {name: path.read_text(encoding="utf-8") for name, path in MODULES.items()}


def homes(pattern: str, code: dict[str, str] = CODE) -> dict[str, int]:
    """How often the pattern is found, by the file."""
    counts = {name: len(re.findall(pattern, text)) for name, text in code.items()}
    return {name: count for name, count in counts.items() if count}


IMPORTING = """
import importlib, sys
for package in ("torch", "torchvision", "timm", "safetensors", "huggingface_hub"):
    sys.modules[package] = None
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(f"{name}: {error}")
"""


def test_only_training_imports_torch() -> None:
    names = [
        ".".join(("chajong", *Path(name).with_suffix("").parts)).removesuffix(".__init__")
        for name in MODULES
        if not name.startswith("training/")
    ]
    assert "chajong.run" in names
    assert "chajong.photos" in names
    made = subprocess.run(
        [sys.executable, "-c", IMPORTING, *names], capture_output=True, text=True, check=True
    )
    assert made.stdout == ""


def test_photos_are_opened_in_one_place() -> None:
    opening = (
        r"Image\.open|ImageFile\b|ImagePlugin\b|simplejpeg|imread|cv2|imageio|torchvision\.io"
        r"|decode_(image|jpeg|png)|read_image"
    )
    # What draws the demo photos may copy its own.
    looked_at = {
        name: text for name, text in CODE.items() if not name.startswith("photos/drawing/")
    }
    known = {"doctor.py", "environment.py"}  # name the package, to tell its version
    assert set(homes(opening, looked_at)) - known == {"photos/decode.py"}


def test_there_is_one_loop_that_learns() -> None:
    assert homes(r"\.backward\(") == {"training/fit.py": 1}


def test_files_and_functions_are_short() -> None:
    # About 400 lines and about 60.
    long = {name: len(text.splitlines()) for name, text in CODE.items()}
    assert {name: lines for name, lines in long.items() if lines > 420} == {}
    for name, text in CODE.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                assert lines <= 60, f"{name}: {node.name} has {lines} lines"


def test_modules_are_named_by_their_job() -> None:
    stems = {path.stem for path in MODULES.values()}
    assert stems.isdisjoint({"utils", "util", "helpers", "common", "misc", "tools"})


def test_every_module_says_what_it_is() -> None:
    for name, text in CODE.items():
        assert ast.get_docstring(ast.parse(text)), name


def test_no_host_of_packages_or_weights_is_named() -> None:
    # In parts, so that this file does not name them either.
    hosts = [
        ".".join(parts)
        for parts in (
            *(("pypi", "org"), ("pythonhosted", "org"), ("pypi", "python", "org")),
            *(("huggingface", "co"), ("hf", "co"), ("download", "pytorch", "org")),
            *(("anaconda", "org"), ("conda", "io"), ("npmjs", "org"), ("jsdelivr", "net")),
            *(("unpkg", "com"), ("cloudflare", "com"), ("googleapis", "com"), ("ghcr", "io")),
        )
    ]
    options = ["--" + "index-url", "--extra-" + "index-url", "--" + "trusted-host"]
    pattern = re.compile("|".join(map(re.escape, hosts + options)))
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    assert len(paths) > 50
    found = {
        path.relative_to(ROOT).as_posix(): pattern.findall(path.read_text(errors="replace"))
        for path in paths
        if path.is_file()
    }
    assert {name: hits for name, hits in found.items() if hits} == {}
