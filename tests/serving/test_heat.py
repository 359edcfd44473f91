"""Where a bundle sees what speaks for a class."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from chajong.bundle import Bundle
from chajong.errors import BundleError, DataError
from chajong.graph import OUTPUTS
from chajong.photos.sources import Source, open_source
from chajong.run import Run
from chajong.serving.engine import Engine
from chajong.serving.heat import MAPS, draw_maps, has_heat, heat, overlay
from chajong.serving.judge import Judge
from chajong.serving.runtimes import open_session
from chajong.serving.service.answering import Answerer
from chajong.serving.verdict import Verdict
from chajong.training.graph import write_graph
from chajong.training.predict import open_eye

SIZE_PX = 96


@pytest.fixture(scope="session")
def engine(exported: Bundle, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The run's networks for larger photos, so that a map has several places."""
    path = tmp_path_factory.mktemp("large") / "large.onnx"
    eyes = [open_eye(run, name, torch.device("cpu")) for name in run.done]
    outputs, seen = write_graph(eyes, ("plain", "flip"), SIZE_PX, path)
    graph = replace(exported.facts.graphs[0], size_px=SIZE_PX, outputs=outputs, seen=seen)
    bundle = replace(exported, facts=replace(exported.facts, graphs=(graph,)))
    session = open_session(path, "onnxruntime", "fp32", 1, outputs)
    return Engine(bundle, exported.facts.proofs[0], (session,), 1)


def seen_as(engine: Engine, **changes: object) -> Engine:
    # The same engine, whose first graph says something else of itself.
    facts = engine.bundle.facts
    graphs = (replace(facts.graphs[0], **changes), *facts.graphs[1:])  # type: ignore[arg-type]
    return replace(engine, bundle=replace(engine.bundle, facts=replace(facts, graphs=graphs)))


def a_photo(photos: Path) -> bytes:
    return sorted(photos.rglob("*.jpg"))[0].read_bytes()


def test_the_mean_over_places_is_the_logit(engine: Engine, photos: Path) -> None:
    pixels = engine.prepare(a_photo(photos))[0][None]
    log_probs, _, totals, places = engine.sessions[0].compute(pixels, OUTPUTS)
    logits = log_probs[:, :, 0] + totals[..., None]  # of the first view, plain
    np.testing.assert_allclose(places.mean(axis=(3, 4)), logits, atol=1e-4)
    assert places.std(axis=(3, 4)).min() > 0
    assert np.abs(logits).max() > 0.1


def test_a_map_sums_up_to_what_the_class_has_above_the_others(engine: Engine, photos: Path) -> None:
    squares = engine.prepare(a_photo(photos))
    log_probs, _, totals = engine.sessions[0].compute(squares[0][None], OUTPUTS[:3])
    logits = (log_probs[0, :, 0] + totals[0, :, None]).mean(axis=0)
    for place, name in enumerate(engine.bundle.labels.names):
        found = heat(engine, squares, name)
        assert found is not None
        assert found.mean() == pytest.approx(logits[place] - logits.mean(), abs=1e-4)


def test_a_view_that_mirrors_is_mirrored_back(engine: Engine, photos: Path) -> None:
    squares = engine.prepare(a_photo(photos))
    name = engine.bundle.labels.names[0]
    plain, flipped = heat(engine, squares, name), heat(seen_as(engine, seen="flip"), squares, name)
    assert plain is not None
    assert flipped is not None
    assert plain.shape[1] > 1
    assert np.abs(plain - plain[:, ::-1]).max() > 0
    np.testing.assert_array_equal(flipped, plain[:, ::-1])


def test_where_there_is_no_map_none_is_made(engine: Engine, photos: Path) -> None:
    squares = engine.prepare(a_photo(photos))
    name = engine.bundle.labels.names[0]
    for changes in ({"outputs": OUTPUTS[:3]}, {"seen": "zoom"}):
        other = seen_as(engine, **changes)
        assert has_heat(engine)
        assert not has_heat(other)
        assert heat(other, squares, name) is None
    assert heat(engine, squares, "no class") is None


def test_the_map_is_of_the_class_that_the_answer_names(engine: Engine, photos: Path) -> None:
    # Where equal classes are added up that need not be the likeliest by itself.
    data, answerer = a_photo(photos), Answerer.of(engine, None)
    [seen] = answerer.see([engine.prepare(data)])

    class Other(Judge):
        def verdicts(self, *asked: Any) -> list[Verdict]:
            return [replace(said, top=said.top[::-1]) for said in super().verdicts(*asked)]

    turned = replace(answerer, judge=Other(**vars(answerer.judge)))
    [said] = turned.see([engine.prepare(data)])
    assert said.verdict.top[0].name != seen.verdict.top[0].name
    assert turned.heat(data, None) == answerer.heat(data, said.verdict.top[0].name)
    assert turned.heat(data, None) != answerer.heat(data, None)


def test_each_photo_gets_a_map_or_the_reason_why_not(
    engine: Engine, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "cars" / "more").mkdir(parents=True)
    data = a_photo(photos)
    for name in ("a.jpg", "more/a.jpg"):
        (tmp_path / "cars" / name).write_bytes(data)
    (tmp_path / "cars" / "cut.jpg").write_bytes(data[:200])
    out, source = tmp_path / "maps", open_source(str(tmp_path / "cars"))
    table = draw_maps(engine, source, out)
    [seen] = Answerer.of(engine, None).see([engine.prepare(data)])
    top = seen.verdict.top[0].name
    assert table.rows() == [
        ("a.jpg", "ok", top, "000001.png"),
        ("cut.jpg", "unreadable: truncated JPEG", None, None),
        ("more/a.jpg", "ok", top, "000003.png"),
    ]
    assert pl.read_csv(out / MAPS).rows() == table.rows()
    assert {path.name for path in out.iterdir()} == {MAPS, "000001.png", "000003.png"}
    assert (out / "000001.png").read_bytes() == Answerer.of(engine, None).heat(data, None)
    # Again, of another class: the old maps give way.
    other = next(name for name in engine.bundle.labels.names if name != top)
    (tmp_path / "cars" / "more" / "a.jpg").unlink()
    draw_maps(engine, open_source(str(tmp_path / "cars")), out, other)
    assert {path.name for path in out.iterdir()} == {MAPS, "000001.png"}
    assert (out / "000001.png").read_bytes() == Answerer.of(engine, None).heat(data, other)


def test_maps_do_not_take_the_place_of_anything_else(
    engine: Engine, photos: Path, tmp_path: Path
) -> None:
    source = open_source(str(photos))
    (tmp_path / "mine.txt").touch()
    with pytest.raises(DataError, match="holds something else"):
        draw_maps(engine, source, tmp_path)
    with pytest.raises(BundleError, match="would lie in the bundle"):
        draw_maps(engine, source, engine.bundle.folder / "maps")
    (tmp_path / MAPS).touch()
    with pytest.raises(DataError, match="holds something else"):
        draw_maps(engine, source, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {MAPS, "mine.txt"}


def test_maps_that_cannot_be_are_refused_before_a_photo_is_read(
    engine: Engine, tmp_path: Path
) -> None:
    nothing, name = Source(0, lambda: iter(())), engine.bundle.labels.names[0]
    with pytest.raises(DataError, match=f"did you mean '{name}'"):
        draw_maps(engine, nothing, tmp_path / "maps", f"{name}x")
    with pytest.raises(BundleError, match="cannot draw"):
        draw_maps(seen_as(engine, seen="zoom"), nothing, tmp_path / "maps")
    with pytest.raises(DataError, match="no photos"):
        draw_maps(engine, nothing, tmp_path / "maps")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("aspect", "left", "middle"),
    [("squash", True, True), ("letterbox", True, True), ("crop", False, True)],
)
def test_the_map_lies_where_it_belongs(aspect: str, left: bool, middle: bool) -> None:
    # A grey photo twice as wide as high; what was seen is on the left half of the square.
    file = BytesIO()
    Image.new("RGB", (400, 200), (128, 128, 128)).save(file, "PNG")
    found = np.zeros((8, 8), np.float32)
    found[:, :4] = 1
    picture = Image.open(BytesIO(overlay(file.getvalue(), found, aspect)))  # type: ignore[arg-type]
    assert (picture.format, picture.size) == ("PNG", (400, 200))
    pixels = np.array(picture).astype(int)
    redness = pixels[100, :, 0] - pixels[100, :, 2]
    assert (redness[20] > 50) == left
    assert (redness[150] > 50) == middle
    assert redness[380] == 0
