"""Other processes, as tests need them: ready before the test goes on, and gone when it is over."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def python(code: str, *arguments: object) -> list[str]:
    code = f"import sys\nfrom pathlib import Path\n{code}"
    return [sys.executable, "-c", code, *map(str, arguments)]


@contextmanager
def running(code: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """Another process that runs the code and has said 'ready'."""
    with subprocess.Popen(
        python(code, *arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()
