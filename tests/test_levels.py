import numpy as np
import pytest

from chajong.errors import DataError
from chajong.levels import Level, Levels


def level(name: str, *groups: int) -> Level:
    names = tuple(str(group) for group in sorted(set(groups)))
    return Level(name, np.array(groups, dtype=np.intp), names)


def test_a_group_stands_for_its_first_class() -> None:
    assert level("model", 0, 1, 0, 2, 1).canonical.tolist() == [0, 1, 0, 3, 1]


def test_levels_go_from_coarse_to_fine() -> None:
    coarse, fine = level("maker", 0, 0, 1, 1), level("exact", 0, 1, 2, 3)
    assert list(Levels(coarse, coarse, fine, fine)) == [coarse, coarse, fine, fine]


def test_levels_that_are_not_nested_are_refused() -> None:
    coarse, fine = level("maker", 0, 0, 1, 1), level("exact", 0, 1, 2, 3)
    with pytest.raises(DataError, match="'generation' must refine the level 'maker'"):
        Levels(coarse, coarse, level("generation", 0, 1, 1, 2), fine)
