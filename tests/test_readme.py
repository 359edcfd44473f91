import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from chajong.cli import app
from chajong.recipe import Recipe
from chajong.recipes import RECIPES

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.ko.md")
PAGES = (*READMES, *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
CALL = re.compile(r"(?:do\s+|time\s+|\w+=\S*\s+)*(?:.*\s-m\s+|[\w./-]*/)?chajong(\s.*|$)")
SPOKEN_OF_OTHERS = {"--nproc_per_node"}  # of torchrun
CODE_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [body for found, body in CODE_BLOCK.findall(text) if found == language]


def shell_lines(page: str) -> list[str]:
    # Commands without their comments, one a line even where they are written on several.
    whole = re.sub(r"(^|\s)#.*", "", "\n".join(blocks(page, "sh")), flags=re.MULTILINE)
    lines = whole.replace("\\\n", " ").splitlines()
    return [line.strip().removeprefix("$ ") for line in lines if line.strip()]


def calls(line: str) -> Iterator[list[str]]:
    # The arguments of each call of chajong in a line of shell.
    for part in re.split(r"\s*(?:&&|\|\||[|;])\s*", line):
        if found := CALL.match(part):
            yield [word for word in shlex.split(found[1]) if word != "..."]


@cache
def chajong() -> Any:
    return get_command(app)


def command_of(arguments: list[str]) -> tuple[Any, list[str]]:
    # The command that is meant, and the arguments that are left for it.
    command = chajong()
    rest = list(arguments)
    while rest and hasattr(command, "commands") and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"there is no command {' '.join(arguments)!r}"
        command = command.commands[rest.pop(0)]
    return command, rest


def options_of(command: Any) -> set[str]:
    own = {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    inner = [options_of(each) for each in getattr(command, "commands", {}).values()]
    return own.union({"--help"}, *inner)


def tree(page: str) -> list[str]:
    # The paths in the annotated tree; two spaces are a level, folders end in a slash.
    paths: list[str] = []
    above = [""]
    (block,) = blocks(page, "text")
    for line in block.splitlines():
        name = line.split()[0]
        level = (len(line) - len(line.lstrip())) // 2
        above[level + 1 :] = [above[level] + name]
        paths.append(above[level + 1])
    return paths


def real_tree() -> set[str]:
    # Every file of the package, of what belongs to it, and of the documentation; of the tests the
    # folders.
    paths = set()
    for top in ("src", "benchmarks", "deploy", "docs", "examples", "tests"):
        for path in (ROOT / top, *(ROOT / top).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if re.search(r"(^|/)(\.|__pycache__)", name):
                continue  # what tools leave behind
            if path.is_dir():
                paths.add(f"{name}/")
            elif top != "tests" and path.name != "__init__.py":
                paths.add(name)
    return paths


@pytest.mark.parametrize("page", READMES)
def test_tree_is_the_real_tree(page: str) -> None:
    listed = tree(page)
    at_top = {path for path in listed if "/" not in path or path.startswith(".")}

    assert len(set(listed)) == len(listed)
    assert set(listed) - at_top == real_tree()
    assert [path for path in sorted(at_top) if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("page", READMES)
def test_every_line_of_the_tree_says_what_it_is(page: str) -> None:
    (block,) = blocks(page, "text")

    assert [line for line in block.splitlines() if len(line.split(maxsplit=1)) < 2] == []


def test_both_readmes_have_the_same_commands_and_tree() -> None:
    english, korean = READMES

    assert shell_lines(english) == shell_lines(korean)
    assert tree(english) == tree(korean)


@pytest.mark.parametrize("page", READMES)
def test_readmes_show_each_step_of_the_main_job(page: str) -> None:
    shown = {call[0] for line in shell_lines(page) for call in calls(line)}

    main_job = {"doctor", "audit", "train", "runs", "predict", "evaluate", "submit"}
    assert shown == main_job | {"suspects", "review", "compare", "blend"}


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_code_blocks_are_accepted(page: str) -> None:
    for line in shell_lines(page):
        for arguments in calls(line):
            command, rest = command_of(arguments)
            if not rest and hasattr(command, "commands"):
                continue  # `chajong recipes` lists them
            # Refuses unknown options, missing arguments and values of another type; runs nothing.
            command.make_context(line, rest)


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_in_the_text_exist(page: str) -> None:
    text = CODE_BLOCK.sub("", (ROOT / page).read_text(encoding="utf-8"))
    for span in re.findall(r"`([^`\n]+)`", text):
        named = set(re.findall(r"(?<!\S)--[a-z][\w-]*", span)) - SPOKEN_OF_OTHERS
        command, _ = command_of(next(calls(span), []))
        assert named <= options_of(command), span


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    local = [target for target in targets if target and "://" not in target]

    assert [target for target in local if not (ROOT / page).parent.joinpath(target).exists()] == []


def test_the_page_on_recipes_names_each_recipe_and_each_key() -> None:
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    values = Recipe(name="any").model_dump(exclude={"loss", "schedule"})  # told by their kind
    parts = {key: value for key, value in values.items() if isinstance(value, dict)}
    keys = [f"{key}.{inner}" for key, value in parts.items() for inner in value if inner != "kind"]
    kinds = re.findall(r"'([a-z_]+)': '#/", str(Recipe.model_json_schema()))

    assert kinds
    assert [name for name in (*RECIPES, *values, *keys, *kinds) if f"`{name}" not in page] == []
