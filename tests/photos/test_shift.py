"""The shift: what differs is told and how much, chance is not, and the proposal covers it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from chajong.errors import DataError
from chajong.manifest import Manifest
from chajong.metrics import Estimate
from chajong.photos.measures import MEASURE_COLUMNS, MEASURES, Measures
from chajong.photos.shift import MIN_PHOTOS, Shift, Telltale, as_set, find_shift
from chajong.recipe_augment import ColorJitter, Light
from chajong.recipes import load_recipe, named_recipe
from tests.manifests import manifest_of, photo_rows


def data(num_train: int = 300, num_test: int = 100) -> Manifest:
    return manifest_of(photo_rows(["a"] * num_train + [None] * num_test))


def measured(manifest: Manifest, **changes: float) -> Measures:
    """Random measures; those of test photos multiplied as told."""
    is_test = (manifest.table["part"] == "test").to_numpy()
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {"id": manifest.table["id"]}
    for name in MEASURES:
        values = rng.lognormal(4.6, 0.25, len(is_test))
        columns[name] = np.where(is_test, values * changes.get(name, 1), values)
    return Measures(pl.DataFrame(columns).select(*MEASURE_COLUMNS))


def found(manifest: Manifest | None = None, **changes: float) -> Shift:
    manifest = manifest or data()
    shift = find_shift(manifest, measured(manifest, **changes))
    assert shift is not None
    return shift


def test_only_what_differs_is_told() -> None:
    shift = found(brightness=0.6, sharpness=1.06)
    verdicts = {row.measure: row.verdict for row in shift.differences}
    assert verdicts.pop("brightness") == "large"
    assert verdicts.pop("sharpness") in ("none", "small")
    assert set(verdicts.values()) == {"none"}
    row = shift.of("brightness")
    assert row.effect.low < row.effect.value < row.effect.high < -0.7
    assert row.test.mean == pytest.approx(0.6 * row.train.mean, rel=0.05)
    assert row.train.quantiles == tuple(sorted(row.train.quantiles))


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, "none"), (1.1, "small"), (1.17, "medium"), (1.5, "large")]
)
def test_verdicts_are_by_size(factor: float, verdict: str) -> None:
    assert found(data(3000, 3000), brightness=factor).of("brightness").verdict == verdict


def test_few_photos_that_differ_by_chance_are_no_shift() -> None:
    # Each of them differs in some measure by more than the least effect, and may by chance.
    told = [
        row.verdict
        for num in range(MIN_PHOTOS, MIN_PHOTOS + 20)
        for row in found(data(num, num)).differences
        if abs(row.effect.value) > 0.147
    ]
    assert len(told) > 20
    assert told.count("none") > 0.8 * len(told)


@pytest.mark.parametrize(("num_train", "num_test"), [(30, 0), (30, 9), (9, 30)])
def test_too_few_photos_have_no_shift(num_train: int, num_test: int) -> None:
    manifest = data(num_train, num_test)
    assert find_shift(manifest, measured(manifest)) is None


@pytest.mark.parametrize("few", ["train", "test"])
def test_photos_of_one_group_count_once(few: str) -> None:
    for num_groups in (MIN_PHOTOS - 1, MIN_PHOTOS):
        many, grouped = list(range(100, 200)), [n // 5 for n in range(5 * num_groups)]
        train, test = (grouped, many) if few == "train" else (many, grouped)
        rows = photo_rows(["a"] * len(train) + [None] * len(test), train + test)
        shift = find_shift(manifest_of(rows), measured(manifest_of(rows)))
        assert (shift is None) == (num_groups < MIN_PHOTOS)


def test_features_of_too_few_groups_say_nothing() -> None:
    rows = photo_rows(["a"] * 100 + [None] * 60, [*range(100), *range(100, 112)] + [112] * 48)
    manifest = manifest_of(rows)
    features = embedded(manifest, 2)
    features[100:104] = np.nan  # leaves 56 test photos of 9 groups
    for wanted in (True, False):
        shift = find_shift(manifest, measured(manifest), features)
        assert shift is not None
        assert (shift.telltale is None) == wanted
        features[100:104] = 2


def test_unreadable_photos_do_not_count() -> None:
    manifest = data(30, 30)
    measures = measured(manifest, brightness=0.5).table
    bad = measures["id"].is_in(measures["id"].tail(15).to_list())
    measures = measures.with_columns(
        pl.when(~bad).then(pl.col(name)).alias(name) for name in MEASURES
    )
    manifest = manifest_of(manifest.table.with_columns(readable=~bad))
    shift = find_shift(manifest, Measures(measures))
    assert shift is not None
    assert (shift.num_train, shift.num_test) == (30, 15)
    assert 30 < shift.of("brightness").test.mean < 80


@pytest.mark.parametrize("factor", [0.3, 0.6, 0.8, 1.3, 2.0])
def test_the_proposal_covers_the_shift(factor: float) -> None:
    light = found(brightness=factor).proposal()
    assert light is not None
    low, high = light.factor
    assert low < factor < high
    assert low <= 1 <= high
    assert 0.6 * min(factor, 1) < low
    assert high < 1.5 * max(factor, 1)


def test_from_109_to_66_light_goes_down_to_a_half() -> None:
    light = found(data(3000, 3000), brightness=66 / 109).proposal()
    assert light == Light(factor=(0.5, 1.0))


def test_nothing_is_proposed_where_the_light_is_the_same() -> None:
    assert found(sharpness=0.3).proposal() is None


def test_a_proposal_can_be_copied_into_a_recipe() -> None:
    recipe, light = named_recipe("cars-fast"), Light(factor=(0.5, 1.0))
    changed = load_recipe("cars-fast", [as_set(light, recipe)])
    *kept, jitter = recipe.augment
    assert isinstance(jitter, ColorJitter)
    dimmed = jitter.model_copy(update={"brightness": 0})
    assert changed.augment == (*kept, dimmed, light)
    again = load_recipe("cars-fast", [as_set(Light(factor=(0.3, 1.0)), changed)])
    assert again.augment == (*kept, dimmed, Light(factor=(0.3, 1.0)))


def embedded(manifest: Manifest, away: float) -> NDArray[np.float32]:
    is_test = (manifest.table["part"] == "test").to_numpy()
    rng = np.random.default_rng(5)
    features = rng.normal(size=(len(is_test), 12)).astype(np.float32)
    features[is_test, 0] += np.float32(away)
    return features


def test_features_give_test_photos_away() -> None:
    manifest = data()
    features = embedded(manifest, 2)
    features[[3, 350]] = np.nan
    shift = find_shift(manifest, measured(manifest), features)
    assert shift is not None
    assert shift.telltale is not None
    assert 0.8 < shift.telltale.auc.low < shift.telltale.auc.value < 0.97
    assert shift.telltale.verdict == "large"
    ids = manifest.table["id"].to_list()
    tests = [ids.index(id_) for id_ in shift.telltale.test_like]
    trains = [ids.index(id_) for id_ in shift.telltale.train_like]
    assert min(tests) >= 300 > max(trains)
    first = features[:, 0]
    assert first[tests].mean() > np.nanmean(first[300:]) + 0.5
    assert first[trains].mean() < np.nanmean(first[:300]) - 0.5


def test_features_that_give_nothing_away() -> None:
    manifest = data()
    shift = find_shift(manifest, measured(manifest), embedded(manifest, 0))
    assert shift is not None
    assert shift.telltale is not None
    assert shift.telltale.verdict == "none"
    # Worse than chance is chance.
    assert Telltale(Estimate(0.3, 0.2, 0.4), (), ()).verdict == "none"


def test_lines_tell_every_measure() -> None:
    lines = list(found(brightness=0.6).lines())
    assert lines[0] == "100 test photos beside 300 train photos:"
    (told,) = (line for line in lines if "brightness" in line)
    assert "large difference" in told
    assert sum("no difference" in line for line in lines) == len(MEASURES) - 1


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    manifest = data()
    for features in (None, embedded(manifest, 1)):
        shift = find_shift(manifest, measured(manifest, brightness=0.6), features)
        assert shift is not None
        shift.save(tmp_path / "new")
        assert Shift.load(tmp_path / "new") == shift


@pytest.mark.parametrize("damage", ["{}", "no JSON", "differences", "num_test"])
def test_a_damaged_shift_is_refused(tmp_path: Path, damage: str) -> None:
    found().save(tmp_path)
    path = tmp_path / "shift.json"
    values = json.loads(path.read_text())
    if damage in values:
        values[damage] = values[damage][:-1] if damage == "differences" else 3
        damage = json.dumps(values)
    path.write_text(damage)
    with pytest.raises(DataError, match="audit DATA"):
        Shift.load(tmp_path)


def test_no_shift_says_how_to_look_for_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="chajong audit DATA --out"):
        Shift.load(tmp_path)


def test_measures_are_saved_and_checked(tmp_path: Path) -> None:
    measures = measured(data())
    measures.save(tmp_path)
    assert Measures.load(tmp_path).table.equals(measures.table)
    with pytest.raises(DataError, match="need the columns"):
        Measures(measures.table.drop("contrast"))
    with pytest.raises(DataError, match="unique"):
        Measures(pl.concat([measures.table, measures.table]))
    with pytest.raises(DataError, match="cannot be read"):
        Measures.load(tmp_path / "nowhere")
