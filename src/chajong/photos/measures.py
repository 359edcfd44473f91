"""What was measured of each photo, beside what is wrong with it."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from chajong.errors import DataError
from chajong.files import write_table
from chajong.parquet import read_parquet

MEASURE_COLUMNS = pl.Schema(
    {
        "id": pl.String,
        "brightness": pl.Float64,
        "contrast": pl.Float64,
        "saturation": pl.Float64,
        "sharpness": pl.Float64,
        "megapixels": pl.Float64,
        "size_kb": pl.Float64,
    }
)

MEASURES = tuple(name for name in MEASURE_COLUMNS if name != "id")
"""What is measured, by the names of the columns."""

_FILE = "measures.parquet"


@dataclass(frozen=True)
class Measures:
    """Figures of photos, as they lie in their files and not as a network sees them.

    Attributes:
        table: A row a photo of a manifest, in its order: `id`; of the grey levels, 0 to 255,
            `brightness` (mean) and `contrast` (standard deviation); `saturation`, 0 to 1;
            `sharpness` (power of the finest octave of 96 x 96 pixels by that of the next);
            `megapixels`; `size_kb` of the file, in 1,000 bytes. Null where a photo is not readable.
    """

    table: pl.DataFrame

    def __post_init__(self) -> None:
        """Refuse a table of anything else.

        Raises:
            DataError: If columns are missing, or ids repeat.
        """
        if self.table.schema != MEASURE_COLUMNS:
            raise DataError(
                f"Measures need the columns {', '.join(MEASURE_COLUMNS)} with their types, but"
                f" have {self.table.schema}. Make them again with: chajong audit DATA --out DIR"
            )
        if self.table["id"].is_duplicated().any():
            raise DataError("Ids must be unique in a table of measures, but some repeat.")

    def save(self, folder: Path) -> None:
        """Write `measures.parquet`.

        Args:
            folder: Where to; made where it is missing.
        """
        write_table(folder / _FILE, self.table)

    @classmethod
    def load(cls, folder: Path) -> "Measures":
        """Read what `save` wrote.

        Args:
            folder: Where it was saved.

        Returns:
            The measures.

        Raises:
            DataError: If they are missing or damaged.
        """
        try:
            return cls(read_parquet(folder / _FILE))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(
                f"The measures in {folder} cannot be read ({error}). Make them with: chajong audit"
                f" DATA --out {folder}"
            ) from error
