"""Which car each class is, as a table that users can replace, and the levels that it gives."""

import csv
import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from importlib.resources import as_file, files
from io import StringIO
from pathlib import Path

import numpy as np

from chajong.errors import DataError
from chajong.labels import Labels
from chajong.levels import Level, Levels
from chajong.tables import read_text
from chajong.taxonomy import BODIES, POWERTRAINS, maker_names, parse_name
from chajong.wording import did_you_mean, listed, nfc

COLUMNS = (
    "class",
    "maker_ko",
    "maker_en",
    "model",
    "generation",
    "body",
    "powertrain",
    "year_from",
    "year_to",
    "equal_to",
)
"""The columns of a catalogue's file; any cell but those of `class` may be empty."""

_FACTS = COLUMNS[1:-1]

_Row = Mapping[str, str | None]

_Line = tuple[str | None, str | None, str | None]
"""Maker in Korean and in English, model."""


@dataclass(frozen=True)
class Car:
    """What is known of the car that a class stands for; None where it is not known.

    Attributes:
        name: The class.
        maker_ko: The maker, in Korean.
        maker_en: The maker, in English.
        model: The model line, the same for all classes of one line.
        generation: The generation, the same before and after a facelift.
        body: One of `BODIES`.
        powertrain: One of `POWERTRAINS`.
        year_from: The first year of building.
        year_to: The last one.
        equal_to: A class that is scored as the same one.
    """

    name: str
    maker_ko: str | None = None
    maker_en: str | None = None
    model: str | None = None
    generation: str | None = None
    body: str | None = None
    powertrain: str | None = None
    year_from: int | None = None
    year_to: int | None = None
    equal_to: str | None = None

    @property
    def maker(self) -> str | None:
        """Name the maker.

        Returns:
            Its English name, or else its Korean one.
        """
        return self.maker_en or self.maker_ko

    @property
    def years(self) -> str | None:
        """Name the years of building.

        Returns:
            For example `2018-2021`, `2018-`, `-2021` or `2025`; None where neither is known.
        """
        if self.year_from == self.year_to:
            return None if self.year_from is None else str(self.year_from)
        return f"{self.year_from or ''}-{self.year_to or ''}"


@dataclass(frozen=True)
class Catalogue:
    """The cars that classes stand for.

    Attributes:
        cars: A car for each class that is known.
    """

    cars: tuple[Car, ...]

    def __post_init__(self) -> None:
        """Refuse cars that contradict each other or themselves.

        Raises:
            DataError: If classes repeat, a class is equal to an unknown one, years are out of
                order, or a body or powertrain has no such name; the message lists all of it.
        """
        if problems := list(_problems(self.cars)):
            raise DataError("\n  ".join(["The catalogue cannot be used:", *problems]))

    def to_csv(self) -> str:
        """Write what `read` reads.

        Returns:
            The text of a CSV, a line a class.
        """
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for car in self.cars:
            values = {"class": car.name, **asdict(car)}
            writer.writerow("" if values[name] is None else values[name] for name in COLUMNS)
        return text.getvalue()

    @classmethod
    def read(cls, path: Path) -> "Catalogue":
        """Read a catalogue from a CSV file.

        Args:
            path: The file: `COLUMNS` in any order (others are passed over), UTF-8, with or
                without a BOM.

        Returns:
            The catalogue, its texts in NFC.

        Raises:
            DataError: If the file cannot be read, or its catalogue is refused; the message lists
                all that is wrong.
        """
        header, rows = _read_rows(path)
        cars = tuple(_car(row) for row in rows)
        problems = [*_problems_of_rows(header, rows), *_problems(cars)]
        if problems:
            raise DataError(
                f"{path} cannot be used as a catalogue:"
                + "".join(f"\n  {problem}" for problem in problems)
                + f"\nIt needs the columns {', '.join(COLUMNS)}; leave empty what is not known."
            )
        return cls(cars)

    def of(self, name: str, beside: "Catalogue | None" = None) -> Car:
        """Say which car a class is.

        Args:
            name: A class name, in any Unicode form.
            beside: What else to look into.

        Returns:
            The catalogue's car, or else what the name itself says. A name without a maker gets
            maker and model from the catalogue's classes that name the same model, if these agree.
        """
        known = self._by_name.get(nfc(name))
        if known is None and beside is not None:
            known = beside._by_name.get(nfc(name))
        parsed = known or self._parsed(name)
        return parsed if known or parsed.maker or beside is None else beside.of(name)

    def equal(self, names: Collection[str]) -> tuple[tuple[str, str], ...]:
        """Choose the equal pairs that concern these classes.

        Args:
            names: Class names, in any Unicode form.

        Returns:
            The pairs of which both names are there.
        """
        present = {nfc(name) for name in names}
        return tuple(
            (car.name, car.equal_to)
            for car in self.cars
            if car.equal_to is not None and {car.name, car.equal_to} <= present
        )

    def narrowed(self, names: Collection[str], beside: "Catalogue | None" = None) -> "Catalogue":
        """Make a catalogue of just these classes.

        Args:
            names: Class names, in any Unicode form.
            beside: What else to look into.

        Returns:
            Their cars, of the catalogues or parsed; equal only to each other.

        Raises:
            DataError: If there are no names or they repeat.
        """  # noqa: DOC502 raised by `__post_init__`
        cars = [self.of(name, beside) for name in names]
        present = {car.name for car in cars}
        return Catalogue(
            tuple(car if car.equal_to in present else replace(car, equal_to=None) for car in cars)
        )

    def missing(self) -> dict[str, int]:
        """Count what is not known.

        Returns:
            The number of empty cells of each column that says something of the car.
        """
        return {name: sum(getattr(car, name) is None for car in self.cars) for name in _FACTS}

    def levels(self, labels: Labels) -> Levels:
        """Put classes into groups of one maker, one model, one generation and one class.

        Equal classes are together at every level, where the first of them is. What is not known
        joins nothing: a class without a generation is a generation for itself, one without a
        model a model; a model without a maker is a maker.

        Args:
            labels: The classes.

        Returns:
            The levels.
        """
        names = [labels.names[place] for place in labels.canonical]
        cars = [self.of(name) for name in names]
        by_maker: list[tuple[Hashable, str]] = []
        by_model: list[tuple[Hashable, str]] = []
        by_generation: list[tuple[Hashable, str]] = []
        for name, car in zip(names, cars, strict=True):
            model = (car.maker, car.model or ("class", name))
            said = " ".join(filter(None, (car.maker, car.model))) if car.model else name
            by_maker.append((car.maker or model, car.maker or said))
            by_model.append((model, said))
            generation = car.generation or ("class", name)
            called = f"{said} {car.generation}" if car.generation else name
            by_generation.append(((model, generation), called))
        return Levels(
            _level("maker", by_maker),
            _level("model", by_model),
            _level("generation", by_generation),
            _level("exact", [(name, name) for name in names]),
        )

    @cached_property
    def _by_name(self) -> dict[str, Car]:
        return {car.name: car for car in self.cars}

    @cached_property
    def _lines(self) -> dict[str, set[_Line]]:
        # By the model as names write it: RAV4 is also written 라브4.
        lines: dict[str, set[_Line]] = {}
        for car in self.cars:
            line = (car.maker_ko, car.maker_en, car.model)
            lines.setdefault(parse_name(car.name).model, set()).add(line)
        return lines

    def _parsed(self, name: str) -> Car:
        parsed = parse_name(name)
        line: _Line = (None, None, parsed.model)
        if parsed.maker is not None:
            line = (*maker_names(parsed.maker), parsed.model)
        elif len(lines := self._lines.get(parsed.model, set())) == 1:
            line = next(iter(lines))
        return Car(
            parsed.name,
            *line,
            parsed.generation,
            parsed.body,
            parsed.powertrain,
            parsed.year_from,
            parsed.year_to,
        )


@cache
def known_catalogue() -> Catalogue:
    """Read the catalogue of the competition's 396 classes, DACON 236493.

    Returns:
        The catalogue that comes along.
    """
    with as_file(files("chajong") / "data" / "catalogue.csv") as path:
        return Catalogue.read(path)


def _level(name: str, keyed: Sequence[tuple[Hashable, str]]) -> Level:
    names: dict[Hashable, str] = {}
    for key, called in keyed:
        names.setdefault(key, called)
    place = {key: number for number, key in enumerate(names)}
    groups = np.array([place[key] for key, _ in keyed], dtype=np.intp)
    return Level(name, groups, tuple(names.values()))


def _read_rows(path: Path) -> tuple[list[str], list[_Row]]:
    try:
        reader = csv.DictReader(StringIO(read_text(path), newline=""), strict=True)
        return list(reader.fieldnames or ()), list(reader)
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as CSV: {error}.") from error


def _problems_of_rows(header: Sequence[str], rows: Sequence[_Row]) -> Iterator[str]:
    for name in COLUMNS:
        if name not in header:
            yield f"column {name!r} is missing{did_you_mean(name, header)}"
        elif header.count(name) > 1:
            yield f"column {name!r} is there twice"
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            yield f"row {number} has {'more' if None in row else 'fewer'} cells than the header"
        for name in ("year_from", "year_to"):
            if (cell := _cell(row, name)) and _year(cell) is None:
                yield f"row {number}: {name} {cell!r} is no year"


def _cell(row: _Row, name: str) -> str | None:
    return nfc(row.get(name) or "").strip() or None


def _year(cell: str | None) -> int | None:
    is_year = cell is not None and re.fullmatch(r"(?:18|19|20)[0-9]{2}", cell)
    return int(cell) if cell and is_year else None


def _car(row: _Row) -> Car:
    return Car(
        _cell(row, "class") or "",
        _cell(row, "maker_ko"),
        _cell(row, "maker_en"),
        _cell(row, "model"),
        _cell(row, "generation"),
        _cell(row, "body"),
        _cell(row, "powertrain"),
        _year(_cell(row, "year_from")),
        _year(_cell(row, "year_to")),
        _cell(row, "equal_to"),
    )


def _problems(cars: Sequence[Car]) -> Iterator[str]:
    names = {car.name for car in cars}
    if not cars:
        yield "there are no classes"
    if "" in names:
        yield "a class has no name"
    if repeated := [name for name, count in Counter(car.name for car in cars).items() if count > 1]:
        yield f"classes must be unique, but {listed(repeated)} are repeated"
    for car in cars:
        if car.equal_to is not None and (car.equal_to not in names or car.equal_to == car.name):
            hint = did_you_mean(car.equal_to, names - {car.name})
            yield f"{car.name!r} is equal to {car.equal_to!r}, which is no other class{hint}"
        if car.year_from and car.year_to and car.year_from > car.year_to:
            yield f"{car.name!r} is built from {car.year_from} to {car.year_to}"
        for what, value, allowed in (
            ("body", car.body, BODIES),
            ("powertrain", car.powertrain, POWERTRAINS),
        ):
            if value is not None and value not in allowed:
                yield f"{car.name!r}: {what} {value!r} is none of {', '.join(allowed)}"
