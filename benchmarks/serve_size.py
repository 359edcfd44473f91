"""How much disk the service needs, and whether it answers without torch.

    python -m benchmarks.serve_size [BUNDLE] [--python python3]

Makes a fresh virtual environment, installs `.[serve]` into it with the versions of
`constraints.txt`, as the Dockerfile does, and tells its size by package. Then `chajong serve
BUNDLE` is started with nothing else on its path, and asked for its page, its health and an answer.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from urllib.request import Request, urlopen

ROOT = Path(__file__).parents[1]
LIMIT_MB = 600
_TRAINING = ("torch", "torchvision", "timm", "onnx", "scipy", "matplotlib")


def main() -> None:
    """Install, measure, start, ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--python", default="python3")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        place = Path(work) / "venv"
        install(arguments.python, place)
        packages = sizes(place)
        total_mb = sum(packages.values()) / 1e6
        for name, num_bytes in packages.most_common(10):
            print(f"{num_bytes / 1e6:8.1f} MB  {name}")
        print(f"{total_mb:8.1f} MB  together, at most {LIMIT_MB} are allowed")
        assert total_mb <= LIMIT_MB
        assert not packages.keys() & set(_TRAINING)
        if arguments.bundle is not None:
            print(f"answers {ask(place, arguments.bundle)}")


def install(python: str, place: Path) -> None:
    """A fresh environment with the service alone; pip leaves it again, as in the image."""
    run = subprocess.run
    run([python, "-m", "venv", str(place)], check=True)
    pip = [str(place / "bin" / "pip"), "--disable-pip-version-check", "--quiet"]
    settings = {**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    run([*pip, "install", "--compile", f"{ROOT}[serve]"], check=True, env=settings)
    run([*pip, "uninstall", "--yes", "pip", "setuptools"], check=True)


def sizes(place: Path) -> Counter[str]:
    """Bytes on disk by what lies in the environment's folder of packages."""
    (packages,) = place.glob("lib/python*/site-packages")
    found: Counter[str] = Counter()
    for path in packages.rglob("*"):
        if path.is_file() and not path.is_symlink():
            top = path.relative_to(packages).parts[0]
            found[top.removesuffix(".libs")] += path.stat().st_blocks * 512
    return found


def ask(place: Path, bundle: Path) -> str:
    """Start it with a path of its own, and give what it says of one of the bundle's photos."""
    command = [str(place / "bin" / "chajong"), "serve", str(bundle), "--port", "0"]
    began = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={"PATH": "", "LANG": "C.UTF-8"}, cwd=place
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[0]
            started_s = time.monotonic() - began
            for path in ("", "page.js", "healthz", "readyz"):
                with urlopen(url + path) as answer:
                    assert answer.status == 200, path
            photo = next(path for path in sorted((bundle / "golden").iterdir()) if is_photo(path))
            with urlopen(Request(f"{url}v1/predict", photo.read_bytes())) as answer:
                found = json.load(answer)
        finally:
            process.terminate()
    assert process.returncode == 0
    said = f"{found['top'][0]['name']} {found['top'][0]['prob']:.3f}"
    return f"{said} of {photo.name}; it was up {started_s:.1f} s after its start"


def is_photo(path: Path) -> bool:
    """Whether a golden file is one."""
    return path.suffix in {".jpg", ".png", ".webp"}


if __name__ == "__main__":
    main()
