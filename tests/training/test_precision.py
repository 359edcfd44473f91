from pathlib import Path
from typing import Any

import pytest
import torch

from chajong.errors import RecipeError
from chajong.training.precision import agreed_precision, autocast, choose_precision
from chajong.training.world import World
from tests.training.tiny import CPU


def computed_type(precision: str) -> torch.dtype:
    with autocast(CPU, precision):
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


def test_auto_takes_bf16_only_where_the_cpu_has_it() -> None:
    flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    has = "avx512_bf16" in flags or "amx_bf16" in flags
    assert choose_precision("auto", CPU) == ("bf16" if has else "fp32")


@pytest.mark.parametrize("asked", ["fp32", "bf16"])
def test_what_is_asked_for_is_taken(asked: str) -> None:
    assert choose_precision(asked, CPU) == asked
    assert computed_type(asked) == {"fp32": torch.float32, "bf16": torch.bfloat16}[asked]


def test_fp16_is_refused_without_a_gpu() -> None:
    with pytest.raises(RecipeError, match=r"train\.precision 'fp16' needs a GPU.*choose auto"):
        choose_precision("fp16", CPU)


@pytest.mark.parametrize(
    ("others", "wanted"), [(["fp16"], "fp32"), (["bf16", "bf16"], "bf16"), ([], "bf16")]
)
def test_processes_that_learn_together_compute_alike(others: list[str], wanted: str) -> None:
    class Mixed(World):
        def gather(self, value: Any) -> list[Any]:
            return [value, *others]

    assert agreed_precision("bf16", Mixed(0, 2, CPU)) == wanted
