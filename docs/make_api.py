"""Writes `docs/api.md` from the docstrings of what `import chajong` gives: `make docs`."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any, get_args

import chajong
from chajong import choices, errors

PAGE = Path(__file__).with_name("api.md")
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises")
WIDTH = 100
HEAD = """# The Python API

Made from the docstrings by `make docs`; do not edit it here.

`import chajong` gives verbs and nouns. Verbs are functions: each does what the command of its name
does, takes paths and nouns, and returns nouns or polars tables. Nothing is kept between two calls.
Nouns are frozen values that check themselves. All of it has types. Importing it is quick and loads
no torch; what a verb needs is imported when it is called.

`StrPath` is a path as text or as a `pathlib.Path`; {words}.

Verbs tell on standard error how far they are; `with chajong.quiet():` silences that. `examples/`
has a file for each stage.

Other names here: `suspects` is `find_suspects`, `runs list` is `list_runs`, `recipes show` is
`load_recipe(...).to_yaml()`, `add-class --undo` is `remove_class`, `predict BUNDLE --risk` is
`verdicts`, and `--set` is `changes`. The service, `review`, `watch`, `doctor`, `demo`, `classes`,
the list of recipes, `runs board`, `runs push` and the bin are commands only.
"""


def sections(docstring: str) -> tuple[str, dict[str, str]]:
    """Split a Google docstring into its text and its sections."""
    text, found = docstring, {}
    heads = list(re.finditer(rf"^({'|'.join(SECTIONS)}):$", docstring, re.MULTILINE))
    if heads:
        text = docstring[: heads[0].start()]
        ends = [head.start() for head in heads[1:]] + [len(docstring)]
        found = {
            head[1]: textwrap.dedent(docstring[head.end() : end]).strip("\n ")
            for head, end in zip(heads, ends, strict=True)
        }
    return text.strip(), found


def items(section: str) -> Iterator[tuple[str, str]]:
    """Give the names of a section and what is said of each."""
    for name, said in re.findall(r"^([\w*]+): (.*(?:\n[ \n].*)*)", section, re.MULTILINE):
        yield name, flowing(said)


def flowing(text: str) -> str:
    """Put a paragraph into one line."""
    return " ".join(text.split())


def listed(title: str, section: str | None) -> Iterator[str]:
    """Lay a section out as a list."""
    if section is not None:
        yield f"{title}:\n"
        yield "".join(f"- `{name}`: {said}\n" for name, said in items(section))


def signature(node: ast.FunctionDef, name: str) -> str:
    """Write a function's head as it is in the source, without `self`."""
    arguments = node.args
    if arguments.args and arguments.args[0].arg in ("self", "cls"):
        arguments.args = arguments.args[1:]
    gives = ast.unparse(node.returns).strip("'") if node.returns is not None else "None"
    asked = re.sub(r"(: [^=,]+)=", r"\1 = ", ast.unparse(arguments)).replace("'", '"')
    line = f"{name}({asked}) -> {gives}"
    if len(line) <= WIDTH:
        return line
    parts = re.split(r", (?![^\[(]*[\])])", asked)
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f") -> {gives}"


def of_function(function: FunctionType) -> Iterator[str]:
    """Tell of a verb."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(node, ast.FunctionDef)
    about, found = sections(inspect.getdoc(function) or "")
    yield f"### `chajong.{function.__name__}`\n"
    yield f"```py\n{signature(node, function.__name__)}\n```\n"
    yield f"{paragraphs(about)}\n"
    yield from listed("Takes", found.get("Args"))
    if "Returns" in found:
        yield f"Returns: {flowing(found['Returns'])}\n"
    yield from listed("Raises", found.get("Raises"))


def paragraphs(text: str) -> str:
    """Put each paragraph into one line."""
    return "\n\n".join(flowing(part) for part in text.split("\n\n"))


def of_class(kind: type[Any]) -> Iterator[str]:
    """Tell of a noun: what it holds and what it can do."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(node, ast.ClassDef)
    about, found = sections(inspect.getdoc(kind) or "")
    yield f"### `chajong.{kind.__name__}`\n"
    yield f"{paragraphs(about)}\n"
    yield from listed("Holds", found.get("Attributes") or found.get("Args"))
    able = "".join(
        f"- `{head(each)}`: {flowing((ast.get_docstring(each) or '').partition(chr(10) * 2)[0])}\n"
        for each in node.body
        if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")
    )
    if able:
        yield "Can:\n"
        yield able


def head(node: ast.FunctionDef) -> str:
    """Write a method's head in one line; a property's without brackets."""
    if any(ast.unparse(each).endswith("property") for each in node.decorator_list):
        return f"{node.name}: {ast.unparse(node.returns).strip(chr(39)) if node.returns else ''}"
    return flowing(signature(node, node.name)).replace("( ", "(").replace(", )", ")")


def any_of(kind: object) -> str:
    """Say which texts a literal type allows."""
    texts = [f"`{text!r}`".replace("'", '"') for text in get_args(kind)]
    return f"{', '.join(texts[:-1])} or {texts[-1]}"


def page() -> str:
    """Make the whole page."""
    public = {name: getattr(chajong, name) for name in chajong.__all__}
    verbs = [each for each in public.values() if inspect.isfunction(each)]
    nouns = [
        each
        for each in public.values()
        if inspect.isclass(each) and not issubclass(each, Exception)
    ]
    verbs.sort(key=lambda each: (each.__module__, each.__code__.co_firstlineno))
    names = ("Layout", "Runtime", "Precision", "IfUnreadable", "FillUnreadable")
    chosen = {name: getattr(choices, name) for name in names}
    words = "; ".join(f"`{name}` is {any_of(kind)}" for name, kind in chosen.items())
    parts = [HEAD.format(words=words), "## Verbs\n"]
    for verb in verbs:
        parts += of_function(inspect.unwrap(verb))
    parts.append("## Nouns\n")
    for noun in nouns:
        parts += of_class(noun)
    about = inspect.cleandoc(errors.__doc__ or "").splitlines()
    tree = textwrap.dedent("\n".join(line for line in about[1:-1])).strip("\n")
    parts.append("## Errors\n")
    parts.append(f"{about[0]} All are in `chajong.errors`. {about[-1]}\n")
    parts.append(f"```text\n{tree}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
