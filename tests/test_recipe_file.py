import random
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from chajong.errors import RecipeError
from chajong.recipe import Recipe
from chajong.recipe_augment import Augment, Crop, Flip
from chajong.recipe_file import (
    differences,
    make_recipe,
    override,
    override_path,
    parse_set,
    read_recipe_file,
)
from chajong.recipe_train import Constant, CrossEntropy, Ema, Focal, Loss, Schedule, Train

UNIONS: dict[str, Any] = {"augment": Augment, "loss": Loss, "schedule": Schedule}
MEMBERS = [
    (field, part) for field, union in UNIONS.items() for part in get_args(get_args(union)[0])
]


def refusal(**values: Any) -> list[str]:
    """The lines that report what is wrong, one a mistake."""
    with pytest.raises(RecipeError) as caught:
        make_recipe({"name": "mine", **values})
    first, *lines, last = str(caught.value).splitlines()
    assert first.startswith(f"Recipe {values.get('name', 'mine')!r} has {len(lines)} thing")
    assert last == "See a whole recipe with: chajong recipes show cars-fast"
    assert all(line.startswith("  ") for line in lines)
    return [line.strip() for line in lines]


def test_all_mistakes_are_reported_at_once() -> None:
    lines = refusal(
        data={"aspect": "sqash", "size_px": 7},
        augment=[{"kind": "crop", "scal": [0.5, 1]}, {"kind": "flop"}, {"p": 1}],
        loss={"kind": "focal", "gamma": -1},
        optim={"lr": "fast"},
        train={"epoch": 3, "ema": {"decy": 0.9}},
        folds={"num_folds": 3, "trained": [3]},
        epochs=3,
    )
    kinds = (
        "'crop', 'flip', 'vertical_flip', 'rotation', 'color_jitter', 'light', 'trivial_augment', "
        "'rand_augment', 'autocontrast', 'blur', 'erasing'"
    )
    of_train = ", ".join(map(repr, Train.model_fields))
    of_recipe = ", ".join(map(repr, Recipe.model_fields))
    squash = "'squash', 'letterbox' or 'crop'. Got 'sqash' (did you mean 'squash'?)."
    assert lines == [
        "data.size_px: must be greater than or equal to 8. Got 7.",
        f"data.aspect: must be {squash}",
        "augment.0.scal: unknown key (did you mean 'scale'?). Allowed: 'kind', 'scale', 'ratio'.",
        f"augment.1.kind: must be {kinds}. Got 'flop' (did you mean 'flip'?).",
        f"augment.2: needs a 'kind': {kinds}. Got {{'p': 1}}.",
        "loss.gamma: must be greater than or equal to 0. Got -1.",
        "optim.lr: must be a valid number, unable to parse string as a number. Got 'fast'.",
        "train.ema.decy: unknown key (did you mean 'decay'?). Allowed: 'decay', 'warmup'.",
        f"train.epoch: unknown key (did you mean 'epochs'?). Allowed: {of_train}.",
        "folds.trained: must name folds from 0 to 2, below num_folds. Got [3].",
        f"epochs: unknown key (did you mean 'train.epochs'?). Allowed: {of_recipe}.",
    ]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model": 3}, "model: must be a mapping of 'backbone', 'weights', 'dropout',"),
        ({"train": {"ema": True}}, "train.ema: must be a mapping of 'decay', 'warmup'. Got True."),
        (
            {"loss": "focal"},
            "loss: must be a mapping with a 'kind', 'cross_entropy', 'focal', 'poly'.",
        ),
        ({"augment": {"kind": "flip"}}, "augment: must be a list. Got {'kind': 'flip'}."),
        ({"augment": [3]}, "augment.0: must be a mapping with a 'kind', 'crop',"),
        ({"augment": [{"kind": "crop", "scale": [1]}]}, "augment.0.scale.1: is missing."),
        ({"augment": [{"kind": "crop", "scale": [0, 1]}]}, "augment.0.scale.0: must be greater"),
        ({"augment": [{"kind": "crop", "scale": [0.1, 0.2, 0.3]}]}, "scale: must be a list of 2."),
        ({"augment": [{"kind": "blur", "kernel_px": 4}]}, "kernel_px: must be 3, 5 or 7. Got 4."),
        ({"data": {"grow": [{"after": 0.5}]}}, "data.grow.0.size_px: is missing."),
        ({"infer": {"views": ["plane"]}}, "Got 'plane' (did you mean 'plain'?)."),
        ({"loss": {"kind": "cross_entropy", "gamma": 2}}, "(known to the kind 'focal')"),
        ({"augment": [{"kind": "flip", "degrees": 2}]}, "(known to the kind 'rotation')"),
        ({"train": {"epochs": True}}, "train.epochs: must be a number. Got True."),
        ({"train": {"epochs": 1.5}}, "train.epochs: must be a valid integer"),
        ({"train": {"ema": {"warmup": "perhaps"}}}, "train.ema.warmup: must be a valid boolean"),
        ({"model": {"weights": None}}, "model.weights: must be a valid string. Got None."),
        ({1: 2}, "1: Keys must be strings. Got 1."),
        ({"name": 7}, "name: must be a valid string. Got 7."),
        ({"name": "a b"}, "name: must be up to 60 letters"),
        ({"\ud800": 1}, "must be a valid string"),
        ({"about": "\ud800"}, "about: must be Unicode text"),
    ],
)
def test_a_mistake_is_said_in_words_of_the_recipe(values: dict[Any, Any], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        make_recipe({"name": "mine", **values})
    assert said in str(caught.value)
    assert "tuple" not in str(caught.value)
    assert "dictionary" not in str(caught.value)


@pytest.mark.parametrize(("field", "part"), MEMBERS, ids=lambda x: getattr(x, "__name__", x))
def test_the_path_of_a_mistake_leaves_out_the_kind(field: str, part: Any) -> None:
    # pydantic puts the kind into the path. A key that is named like a kind stays, though.
    kind = part().kind
    value = {"kind": kind, "nonsense": 1, kind: 2}
    lines = refusal(**{field: [value] if field == "augment" else value})
    at = f"{field}.0" if field == "augment" else field
    allowed = ", ".join(map(repr, part.model_fields))
    assert lines[0].startswith(f"{at}.nonsense: unknown key")
    assert lines[1].startswith(f"{at}.{kind}: unknown key")
    assert all(line.endswith(f"Allowed: {allowed}.") for line in lines)


@pytest.mark.parametrize("kind", [part().kind for _, part in MEMBERS] + ["adamw"])
def test_a_key_that_is_named_like_a_kind_is_unknown(kind: str) -> None:
    assert refusal(**{kind: 1})[0].startswith(f"{kind}: unknown key")
    assert refusal(train={kind: 1})[0].startswith(f"train.{kind}: unknown key")


def test_a_nameless_recipe_is_refused() -> None:
    with pytest.raises(RecipeError, match="name: is missing"):
        make_recipe({})


def test_values_without_end_are_shown_shortened() -> None:
    endless: dict[str, Any] = {}
    endless["self"] = endless
    bomb: list[Any] = ["x" * 1000]
    for _ in range(60):
        bomb = [bomb] * 9  # 9^60 words: nobody can wait for their repr
    lines = refusal(about=endless, model={"backbone": bomb}, train={"precision": "y" * 10_000})
    assert len(lines) == 3
    assert max(map(len, lines)) < 5000


def test_differences_are_by_dotted_path() -> None:
    a = Recipe(name="a", augment=(Crop(), Flip()), train=Train(ema=Ema()))
    b = Recipe(name="b", about="x", augment=(Crop(scale=(0.5, 1)),), loss=Focal(), train=Train())
    assert differences(a, b) == {
        "augment.0.scale": ([0.8, 1.0], [0.5, 1.0]),
        "augment.1.kind": ("flip", None),
        "augment.1.p": (0.5, None),
        "loss.kind": ("cross_entropy", "focal"),
        "loss.smoothing": (0.0, None),
        "loss.gamma": (None, 2.0),
        "train.ema.decay": (0.999, None),
        "train.ema.warmup": (False, None),
    }
    assert differences(a, a.model_copy(update={"name": "c", "about": "y"})) == {}
    no_augment = a.model_copy(update={"augment": ()})
    assert differences(no_augment, b)["augment"] == ([], None)


def test_override_merges_mappings_and_replaces_the_rest() -> None:
    old = {"a": {"x": 1, "y": 2}, "b": [1, 2], "c": None}
    new = {"a": {"y": 3}, "b": [4], "c": {"z": 5}}
    assert override(old, new) == {"a": {"x": 1, "y": 3}, "b": [4], "c": {"z": 5}}
    assert override(old, {"a": None})["a"] is None
    assert old["a"] == {"x": 1, "y": 2}


def test_a_new_kind_starts_anew() -> None:
    old = {"loss": {"kind": "cross_entropy", "smoothing": 0.1}}
    assert override(old, {"loss": {"kind": "focal", "gamma": 3}}) == {
        "loss": {"kind": "focal", "gamma": 3}
    }
    same = override(old, {"loss": {"kind": "cross_entropy"}})
    assert same == old


def test_override_path() -> None:
    values: dict[str, Any] = {
        "train": {"epochs": 3},
        "augment": [{"kind": "crop", "scale": [1, 1]}, {"p": 1}],
    }
    assert override_path(values, ["train", "epochs"], 5)["train"] == {"epochs": 5}
    assert override_path(values, ["train", "ema", "decay"], 0.9)["train"]["ema"] == {"decay": 0.9}
    assert override_path(values, ["new", "key"], 1)["new"] == {"key": 1}
    changed = override_path(values, ["augment", "0", "scale"], [0.5, 1])
    assert changed["augment"] == [{"kind": "crop", "scale": [0.5, 1]}, {"p": 1}]
    assert override_path(values, ["augment", "0", "scale", "1"], 0.7)["augment"][0]["scale"] == [
        1,
        0.7,
    ]
    assert override_path(values, ["augment", "1", "kind"], "flip")["augment"][1] == {"kind": "flip"}
    assert values["augment"][0] == {"kind": "crop", "scale": [1, 1]}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("data.size_px.x", "--set data.size_px.x: 'data.size_px' is 224 and has no parts."),
        ("augment.2.p", "'augment' is a list and its items are 0 to 1. Got '2'."),
        ("augment.-1.p", "Got '-1'."),
        ("augment.²", "Got '²'."),
        ("augment.first.p", "Got 'first'. To give the whole list: --set augment=[...]"),
        ("augment.0.scale.5", "'augment.0.scale' is a list and its items are 0 to 1."),
        ("data.grow.0", "'data.grow' is a list and it is empty."),
    ],
)
def test_override_path_through_what_has_no_such_part(path: str, said: str) -> None:
    values = Recipe(name="x", augment=(Crop(), Flip())).model_dump(mode="json")
    with pytest.raises(RecipeError, match=re.escape(said)):
        override_path(values, path.split("."), 1)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("train.epochs=3", (["train", "epochs"], 3)),
        (" a = 1 ", (["a"], 1)),
        ("a=", (["a"], None)),
        ("a=null", (["a"], None)),
        ("a=none", (["a"], "none")),
        ("a=b=c", (["a"], "b=c")),
        ("a=[0.5, 1]", (["a"], [0.5, 1])),
        ("a={kind: focal}", (["a"], {"kind": "focal"})),
        ("a='12'", (["a"], "12")),
        ("a=-7", (["a"], -7)),
        ("a=010", (["a"], "010")),  # 8 by YAML 1.1
        ("a=1:30", (["a"], "1:30")),  # 90 by YAML 1.1
    ],
)
def test_parse_set(text: str, parsed: tuple[list[str], Any]) -> None:
    assert parse_set(text) == parsed


@pytest.mark.parametrize("text", ["", "a", "=1", "a.=1", ".a=1", "a..b=1", " =1"])
def test_parse_set_of_another_form(text: str) -> None:
    with pytest.raises(RecipeError, match="must be KEY=VALUE"):
        parse_set(text)


BAD_YAML = [
    "[1",
    "a: b: c",
    "\t- x",
    "{a: 1, a: 2}",
    "2024-13-45",
    "!!bool perhaps",
    "!!int ''",
    "!!timestamp x",
    "!!python/object/apply:os.system ['true']",
    "[" * 1000,
    "*unknown",
    "? [a]\n: 1",
    "9" * 5000,
    "\x00",
]


@pytest.mark.parametrize("text", BAD_YAML, ids=range(len(BAD_YAML)))
def test_values_that_are_no_yaml(text: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is not valid YAML"):
        parse_set(f"a={text}")
    path = tmp_path / "bad.yaml"
    path.write_text(f"a: {text}" if "\n" not in text else text, encoding="utf-8")
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe_file(path)


def test_a_key_given_twice_is_refused_at_any_depth(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("train:\n  epochs: 3\noptim: {lr: 1}\ntrain:\n  seed: 1\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="given more than once: 'train'"):
        read_recipe_file(path)
    path.write_text("train: {epochs: 3, seed: 1, epochs: 4}", encoding="utf-8")
    with pytest.raises(RecipeError, match="given more than once: 'epochs'"):
        read_recipe_file(path)


def test_anchors_and_merge_keys_are_read(tmp_path: Path) -> None:
    path = tmp_path / "merge.yaml"
    path.write_text("a: &a {x: 1}\nb: {<<: *a, x: 2, y: 3}\n", encoding="utf-8")
    assert read_recipe_file(path) == {"a": {"x": 1}, "b": {"x": 2, "y": 3}}


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_file_may_have_a_bom_and_crlf(bom: bytes, tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(bom + "name: mine\r\nabout: 중고차\r\n".encode())
    assert read_recipe_file(path) == {"name": "mine", "about": "중고차"}


@pytest.mark.parametrize("text", ["", "# nothing", "- a\n- b", "just words", "3"])
def test_a_file_that_is_no_mapping(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match="must be a YAML mapping"):
        read_recipe_file(path)


@pytest.mark.parametrize("encoding", ["utf-16", "cp949"])
def test_a_file_of_another_encoding(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("about: 한글", encoding=encoding)
    with pytest.raises(RecipeError, match=r"mine.yaml is not UTF-8: .* Save it as UTF-8"):
        read_recipe_file(tmp_path / "mine.yaml")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    (tmp_path / "folder.yaml").mkdir()
    names = ["loop.yaml", "folder.yaml", "missing.yaml", "x" * 300, "nul\0.yaml"]
    for name in names:
        with pytest.raises(RecipeError, match="cannot be read"):
            read_recipe_file(tmp_path / name)


def test_yaml_round_trip_of_defaults() -> None:
    recipe = Recipe(name="x", about="중고차: 'quoted'", schedule=Constant(), loss=CrossEntropy())
    assert make_recipe(yaml.safe_load(recipe.to_yaml())) == recipe


def test_random_texts_are_parsed_or_refused() -> None:
    chance = random.Random(20)
    alphabet = "aé중 =.:-[]{}!&*#'\"\\,?|>%@`~\t\n\x00\ud800019eE_<kindlosaug"
    recipe = Recipe(name="x", augment=(Crop(), Flip())).model_dump(mode="json")
    keys = ["", "a", "train.epochs", "loss", "augment.0", "augment", "name", "loss.kind", "data"]
    parsed = 0
    for _ in range(1500):
        text = "".join(chance.choices(alphabet, k=chance.randrange(12)))
        try:
            path, value = parse_set(f"{chance.choice(keys)}={text}")
            make_recipe(override_path(recipe, path, value))
        except RecipeError:
            continue
        parsed += 1
    assert parsed > 5
