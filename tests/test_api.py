"""What `import chajong` gives: typed verbs and nouns, at no cost, described in `docs/api.md`."""

import importlib
import inspect
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import chajong
from chajong.blending.blend import Blend, Member
from chajong.errors import RecipeError, RunError
from chajong.progress import Progress, quiet, say

PACKAGE = Path(chajong.__file__).parent
ROOT = PACKAGE.parents[1]


def test_everything_public_is_there_and_has_types() -> None:
    assert sorted(chajong.__all__) == list(chajong.__all__)
    assert set(chajong.__all__) <= set(dir(chajong))
    for name in chajong.__all__:
        found = getattr(chajong, name)
        assert found.__doc__, name
        if inspect.isfunction(found) and found is not quiet:
            signature = inspect.signature(found)
            asked = [parameter.annotation for parameter in signature.parameters.values()]
            assert inspect.Signature.empty not in (*asked, signature.return_annotation), name


def test_no_module_has_the_name_of_a_verb() -> None:
    # Importing it would put the module in the place of the function.
    modules = {path.stem for path in PACKAGE.iterdir()}
    assert modules & set(chajong.__all__) == set()


def test_verbs_stay_when_all_modules_are_imported() -> None:
    for name in ("blending.blend", "training.blend", "training.expect", "photos.audit"):
        importlib.import_module(f"chajong.{name}")
    assert inspect.isfunction(chajong.blend)
    assert inspect.isfunction(chajong.expect)
    assert inspect.isfunction(chajong.audit)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = chajong.nothing


def test_importing_loads_neither_torch_nor_tables() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import sys, chajong; print(sorted(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "'chajong.api'" in said
    heavy = ("torch", "numpy", "polars", "pydantic", "typer", "rich")
    assert [name for name in heavy if f"'{name}'" in said] == []


def test_the_reference_is_not_stale() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_api.py"))["page"]()
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == made, "run: make docs"


def test_the_reference_tells_of_everything() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    told = {*chajong.__all__} - {"ChajongError"}
    assert [name for name in told if f"### `chajong.{name}`" not in page] == []


def test_errors_are_those_of_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No recipe is named 'car-fast'"):
        chajong.load_recipe("car-fast")
    with pytest.raises(RunError):
        chajong.predict(tmp_path, tmp_path)
    with pytest.raises(chajong.ChajongError, match="is no run and no blend"):
        chajong.note(tmp_path, "text")


def test_a_recipe_is_changed_by_keys() -> None:
    recipe = chajong.load_recipe("demo", ["train.epochs=2"])
    again = chajong.load_recipe(recipe, ["train.seed=7"])
    assert (again.name, again.train.epochs, again.train.seed) == ("demo", 2, 7)


def test_runs_are_a_table_even_without_runs(tmp_path: Path) -> None:
    table = chajong.list_runs(tmp_path)
    assert table.height == 0
    assert table.schema["log_loss"] == pl.Float64()
    assert {"run", "changes", "gap"} <= set(table.columns)


def test_quiet_silences_progress_and_remarks(capsys: pytest.CaptureFixture[str]) -> None:
    with chajong.quiet():
        say("a remark")
        with Progress("working", 1) as progress:
            progress.note("a note")
            progress.advance()
    assert capsys.readouterr().err == ""
    say("a remark")
    assert capsys.readouterr().err == "a remark\n"


def test_a_blend_in_memory_is_told_to_give_its_folder() -> None:
    member = Member("run", "1", ("plain",), (1.0,))
    blend: Any = Blend(("K3", "K5"), (), (member,), "log", 1.0, None, ())
    ways = (
        lambda: chajong.compare(blend, blend),
        lambda: chajong.export(blend, "bundle"),
        lambda: chajong.out_of_fold(blend),
        lambda: chajong.report(blend),
        lambda: chajong.note(blend, "good"),
    )
    for way in ways:
        with pytest.raises(RunError, match="Give the folder that it was blended into"):
            way()


def test_the_page_of_a_comparison_takes_no_catalogue(tmp_path: Path) -> None:
    (tmp_path / "found.json").write_text("{}")
    with pytest.raises(RunError, match="names no cars: leave the catalogue out"):
        chajong.report(tmp_path / "found.json", catalogue=tmp_path / "cars.csv")
