"""The parts that error messages share: short lists and guesses at what was meant."""

from collections.abc import Collection, Iterable
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
