import sys
from pathlib import Path

import pytest

from tests.training.processes import forks


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def _hold_and_free() -> None:
    import torch

    from chajong.training.allocator import keep_large_blocks

    assert keep_large_blocks()
    block = torch.ones(64 * 2**20, dtype=torch.uint8)
    whole = _resident_bytes()
    del block
    assert whole - _resident_bytes() < 8 * 2**20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_a_freed_block_stays_in_the_process() -> None:
    # In a process of its own, as the setting stays for the process's life.
    process = forks().Process(target=_hold_and_free)
    process.start()
    process.join(60)
    assert process.exitcode == 0
