"""Recipes as plain values: read from YAML, changed by `--set`, checked, compared."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from reprlib import Repr
from typing import Any, get_args

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from chajong.errors import RecipeError
from chajong.recipe import SAID_OF_ITSELF, Recipe
from chajong.recipe_part import Part
from chajong.wording import did_you_mean, listed


def make_recipe(values: Mapping[str, Any]) -> Recipe:
    """Make a recipe from plain values and report everything wrong with them at once.

    Args:
        values: Nested mappings, as a YAML file holds them.

    Returns:
        The checked recipe.

    Raises:
        RecipeError: If keys are unknown or values not allowed; names every one.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problems = [_problem(detail) for detail in error.errors()]
    count = f"{len(problems)} thing{'s' if len(problems) > 1 else ''}"
    raise RecipeError(
        f"Recipe {_short(values.get('name'))} has {count} to put right:\n"
        + "\n".join(f"  {line}" for line in problems)
        + "\nSee a whole recipe with: chajong recipes show cars-fast"
    )


def differences(a: Recipe, b: Recipe) -> dict[str, tuple[Any, Any]]:
    """List what two recipes decide differently.

    Args:
        a: One recipe.
        b: Another.

    Returns:
        The values of both by dotted path, for the paths where they differ; None where there is
        no such path. Items of lists count from 0.
    """
    left, right = flat(a), flat(b)
    paths = dict.fromkeys([*left, *right])
    return {
        path: (left.get(path), right.get(path))
        for path in paths
        if left.get(path) != right.get(path)
    }


def flat(recipe: Recipe) -> dict[str, Any]:
    """Lay a recipe out as one level.

    Args:
        recipe: The recipe.

    Returns:
        All that it decides, by dotted path.
    """
    return dict(leaves(recipe.model_dump(mode="json", exclude=set(SAID_OF_ITSELF))))


def read_recipe_file(path: Path) -> dict[str, Any]:
    """Read a YAML recipe as plain values; `extends` is left in.

    Args:
        path: The file.

    Returns:
        Its values, not checked yet.

    Raises:
        RecipeError: If it cannot be read or is not a mapping.
    """
    try:
        values = parse_value(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise RecipeError(f"Recipe file {path} is not UTF-8: {error}. Save it as UTF-8.") from error
    except (OSError, ValueError) as error:
        raise RecipeError(f"Recipe file {path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise RecipeError(
            f"Recipe file {path} must be a YAML mapping such as 'extends: cars-fast'. "
            f"Got {_short(values)}."
        )
    return values


def parse_set(text: str) -> tuple[list[str], Any]:
    """Parse one `--set a.b=value`.

    Args:
        text: A dotted path, `=`, and a value in YAML.

    Returns:
        The path's parts and the value.

    Raises:
        RecipeError: If it is not of that form.
    """
    key, equals, value = text.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise RecipeError(
            f"--set {text!r} must be KEY=VALUE with a dotted key, such as --set train.epochs=3."
        )
    try:
        return path, parse_value(value)
    except ValueError as error:
        raise RecipeError(f"--set {text!r}: the value is not valid YAML: {error}") from error


def override(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay changes over values, mapping by mapping.

    A part that changes its `kind` starts anew: the old kind's values do not fit the new one.

    Args:
        values: Nested plain values.
        changes: Nested plain values that win.

    Returns:
        New nested values.
    """
    anew = "kind" in changes and changes["kind"] != values.get("kind")
    merged = {} if anew else dict(values)
    for key, change in changes.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(change, Mapping)
        merged[key] = override(merged[key], change) if both else change
    return merged


def override_path(values: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """Lay one value over values at a path; numbers in it count list items from 0.

    Args:
        values: Nested plain values.
        path: The parts of a dotted path.
        value: The plain value.

    Returns:
        New nested values.

    Raises:
        RecipeError: If the path leads to a list item that is not there, or into a plain value.
    """  # noqa: DOC502 raised by `_lay`
    return _lay(values, path, 0, value)


def _lay(values: Mapping[str, Any], path: Sequence[str], place: int, value: Any) -> dict[str, Any]:
    head, key = path[place], ".".join(path[: place + 1])
    if place + 1 == len(path):
        return override(values, {head: value})
    inner = values.get(head)
    if isinstance(inner, list):
        items = {str(number): item for number, item in enumerate(inner)}
        if path[place + 1] not in items:
            there = f"its items are 0 to {len(inner) - 1}" if inner else "it is empty"
            raise RecipeError(
                f"--set {'.'.join(path)}: '{key}' is a list and {there}. "
                f"Got '{path[place + 1]}'. To give the whole list: --set {key}=[...]"
            )
        return {**values, head: list(_lay(items, path, place + 1, value).values())}
    if inner is not None and not isinstance(inner, Mapping):
        raise RecipeError(f"--set {'.'.join(path)}: '{key}' is {_short(inner)} and has no parts.")
    return {**values, head: _lay(inner or {}, path, place + 1, value)}


class _Loader(yaml.SafeLoader):
    # YAML in which a key given twice is a mistake, not a secret way to drop the first.
    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = [key for key in dict.fromkeys(keys) if keys.count(key) > 1]
        if twice:
            raise yaml.MarkedYAMLError(
                problem=f"given more than once: {listed(twice)}", problem_mark=node.start_mark
            )
        return node


# By YAML 1.1, 010 were 8 and 1:30 were 90.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag != "tag:yaml.org,2002:int"]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9_]*)$"), [*"-+0123456789"]
)


def parse_value(text: str) -> Any:
    """Parse a value in YAML.

    Args:
        text: The value.

    Returns:
        It, plain.

    Raises:
        ValueError: If it is no YAML.
    """
    try:
        return yaml.load(text, _Loader)
    except Exception as error:
        # Not only its own: PyYAML lets half a dozen others through (2024-13-01, !!bool x, [[[[).
        raise ValueError(f"{error}" or type(error).__name__) from error


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Take nested values apart.

    A list of plain numbers or words is one value; one of parts is a part an item.

    Args:
        value: Dictionaries, lists and plain values.
        path: Where they stand in a larger whole.

    Yields:
        A dotted path and the value there.
    """
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        value = {str(place): item for place, item in enumerate(value)}
    if not isinstance(value, dict):
        yield path, value
        return
    for key, inner in value.items():
        yield from leaves(inner, f"{path}.{key}" if path else key)


def _problem(detail: ErrorDetails) -> str:
    path, annotation = _locate(detail["loc"])
    where, got = ".".join(path), detail["input"]
    parts = _parts(annotation)
    kinds = [_kind(part) for part in parts]
    match detail["type"]:
        case "extra_forbidden":
            return f"{where}: {_unknown_key(detail['loc'])}"
        case "missing":
            return f"{where}: is missing."
        case "union_tag_not_found":
            return f"{where}: needs a 'kind': {_all(kinds)}. Got {_short(got)}."
        case "union_tag_invalid":
            kind = str(detail["ctx"]["tag"])
            return (
                f"{where}.kind: must be {_all(kinds)}. "
                f"Got {_short(kind)}{did_you_mean(kind, kinds)}."
            )
        case "model_type" | "model_attributes_type" if len(parts) > 1:
            return f"{where}: must be a mapping with a 'kind', {_all(kinds)}. Got {_short(got)}."
        case "model_type" | "model_attributes_type":
            keys = _all(parts[0].model_fields)
            return f"{where or 'the recipe'}: must be a mapping of {keys}. Got {_short(got)}."
        case "tuple_type":
            return f"{where}: must be a list. Got {_short(got)}."
        case "too_short" | "too_long":
            size = detail["ctx"].get("min_length", detail["ctx"].get("max_length"))
            return f"{where}: must be a list of {size}. Got {_short(got)}."
        case "literal_error":
            meant = did_you_mean(got, _words(annotation)) if isinstance(got, str) else ""
            return f"{where}: must be {detail['ctx']['expected']}. Got {_short(got)}{meant}."
        case "value_error":
            return f"{where}: {detail['ctx']['error']}. Got {_short(got)}."
    return f"{where or 'the recipe'}: {_said(detail['msg'])}. Got {_short(got)}."


def _said(message: str) -> str:
    return message.removeprefix("Input ").replace("should", "must", 1)


def _unknown_key(location: Sequence[str | int]) -> str:
    key = str(location[-1])
    known = list(chain.from_iterable(p.model_fields for p in _parts(_locate(location[:-1])[1])))
    of_files = [] if location[:-1] else ["extends"]
    meant = did_you_mean(key, [*known, *of_files]) or _elsewhere(
        key, _parts(_locate(location[:-2])[1])
    )
    return f"unknown key{meant}. Allowed: {_all(known)}."


def _elsewhere(key: str, siblings: Sequence[type[Part]]) -> str:
    # 'gamma' for another kind of loss, 'epochs' for 'train.epochs'.
    kinds = [_kind(part) for part in siblings if key in part.model_fields and len(siblings) > 1]
    places = [
        f"{name}.{key}"
        for name, field in Recipe.model_fields.items()
        if any(key in part.model_fields for part in _parts(field.annotation))
    ]
    if kinds:
        return f" (known to the kind {listed(kinds)})"
    return f" (did you mean {listed(places)}?)" if places else ""


def _locate(location: Sequence[str | int]) -> tuple[list[str], Any]:
    # The path that people know, and the annotation of what stands there. pydantic adds the
    # chosen member of a union ('loss.focal.gamma'), which people do not.
    path: list[str] = []
    here: Any = Recipe
    for step in location:
        parts = _parts(here)
        chosen = [part for part in parts if len(parts) > 1 and _kind(part) == step]
        if chosen:
            here = chosen[0]
            continue
        path.append(str(step))
        if isinstance(step, str):
            fields = [part.model_fields.get(step) for part in parts]
            here = next((field.annotation for field in fields if field is not None), None)
    return path, here


def _parts(annotation: Any) -> tuple[type[Part], ...]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return (annotation,)
    return tuple(chain.from_iterable(map(_parts, get_args(annotation))))


def _kind(part: type[Part]) -> str:
    field = part.model_fields.get("kind")
    return str(field.default) if field is not None else ""


def _words(annotation: Any) -> list[str]:
    if isinstance(annotation, str):
        return [annotation]
    return list(chain.from_iterable(map(_words, get_args(annotation))))


def _all(names: Sequence[str] | Mapping[str, Any]) -> str:
    return listed(names, len(names))


def _short(value: Any) -> str:
    # A YAML file can hold values that have no end, or none within a lifetime.
    shortener = Repr()
    shortener.maxlevel, shortener.maxstring, shortener.maxother = 2, 100, 100
    return shortener.repr(value)
