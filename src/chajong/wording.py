"""The parts that texts share: short lists, guesses at what was meant, times."""

import math
import shlex
import unicodedata
from collections.abc import Collection, Iterable
from datetime import datetime
from difflib import get_close_matches


def listed(names: Iterable[str], limit: int = 5) -> str:
    """List the first few names of many.

    Args:
        names: The names, in the order in which to list them.
        limit: How many to write out, at least 1.

    Returns:
        For example "'a', 'b' and 3 more".
    """
    shown = list(names)
    rest = f" and {len(shown) - limit:,} more" if len(shown) > limit else ""
    return ", ".join(repr(name) for name in shown[:limit]) + rest


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Guess which known name was meant.

    Args:
        name: A name that is not known.
        known: The names that are.

    Returns:
        " (did you mean 'x'?)", to be put behind the name; empty where no known name is close.
    """
    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def nfc(name: str) -> str:
    """Give a name its one Unicode form, in which names are compared.

    Args:
        name: A name, for example decomposed (NFD) as macOS unzips Korean ones.

    Returns:
        The name in NFC.
    """
    return unicodedata.normalize("NFC", name)


def command(*words: object) -> str:
    """Write a command of this program, to be copied into a shell.

    Args:
        *words: What follows `chajong`; paths may hold spaces.

    Returns:
        The command.
    """
    return shlex.join(["chajong", *map(str, words)])


def installing(extra: str = "") -> str:
    """Say how to install what is missing; the project is in no package index.

    Args:
        extra: One of the project's extras, or several with commas between; the program itself if
            empty.

    Returns:
        What to run, and where.
    """
    what = f"'.[{extra}]'" if extra else "."
    return f"pip install --constraint constraints.txt --editable {what} (in the project's folder)"


def in_a_line(text: str) -> str:
    """Make a text of people fit a line of a terminal.

    Args:
        text: Any.

    Returns:
        The same without breaks, and without characters that would steer the terminal.
    """
    return "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))


def first_line(error: BaseException) -> str:
    """Tell in one line what an error says.

    Args:
        error: The error.

    Returns:
        Its first line that is not empty, 300 characters at most; its kind if it says nothing.
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]


def moment(text: str) -> float:
    """Read a time, whatever its offset, to put it in order with others.

    Args:
        text: ISO 8601; without an offset it is of this machine.

    Returns:
        Seconds since 1970; before all others if it is no time.
    """
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return -math.inf
