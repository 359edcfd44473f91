"""Bundles from Python: what they say, and classes that are added and taken out."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import chajong
from chajong.bundle import Bundle
from chajong.errors import DataError
from tests.serving.test_add_class import NAME, write_plain


def test_verdicts_are_what_the_command_writes(exported: Bundle, few: Path) -> None:
    table = chajong.verdicts(exported.folder, few, risk=0.3, runtime="onnxruntime")
    assert table.columns[:4] == ["id", "status", "level", "abstained"]
    read = table.filter(status="ok")
    assert 0 < read.height < table.height  # one of the photos is broken
    assert (
        table.filter(pl.col("status") != "ok")["level"].null_count() == table.height - read.height
    )
    assert (read["score"] > 0).all()
    predictions = chajong.predict(exported, few, runtime="onnxruntime")
    likeliest = np.nanmax(predictions.probabilities()[predictions.ok], axis=1)
    np.testing.assert_allclose(read["exact_prob"].to_numpy(), likeliest, atol=1e-6)
    # Fewer wrong answers allowed, fewer exact ones given.
    strict = chajong.verdicts(exported, few, risk=0.001, runtime="onnxruntime")
    assert strict["level"].eq("exact").sum() < read["level"].eq("exact").sum()
    with pytest.raises(DataError, match="above 0 and below 1"):
        chajong.verdicts(exported, few, risk=2)


def test_a_class_is_added_and_taken_out(exported: Bundle, tmp_path: Path) -> None:
    photos = write_plain(tmp_path / "yellow", (200, 200, 60), 6)
    more = chajong.add_class(exported.folder, NAME, photos, tmp_path / "more", by="kim")
    assert more.labels.names == (*exported.labels.names, NAME)
    assert more.facts.added[0].by == "kim"
    less = chajong.remove_class(more, NAME, tmp_path / "less")
    assert less.labels == exported.labels
    with pytest.raises(DataError, match="was not added to"):
        chajong.remove_class(less, NAME, tmp_path / "none")
