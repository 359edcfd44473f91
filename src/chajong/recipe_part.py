"""What the parts of a recipe share: how numbers and texts are checked, and that they are frozen."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def _not_a_flag(value: Any) -> Any:
    # Python takes true for 1, which nobody means.
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _unicode(text: str) -> str:
    # YAML can spell half a character ("\ud800"), which no file can hold.
    if text != text.encode(errors="replace").decode():
        raise ValueError("must be Unicode text")
    return text


def _ascending(numbers: tuple[float, float]) -> tuple[float, float]:
    if numbers[0] > numbers[1]:
        raise ValueError("must be the smaller number, then the larger one")
    return numbers


Whole = Annotated[int, BeforeValidator(_not_a_flag)]
Real = Annotated[float, BeforeValidator(_not_a_flag)]
Count = Annotated[Whole, Field(ge=0)]
Fraction = Annotated[Real, Field(ge=0, le=1)]
PartFraction = Annotated[Real, Field(ge=0, lt=1)]
Share = Annotated[Real, Field(gt=0, le=1)]
Positive = Annotated[Real, Field(gt=0)]
NotNegative = Annotated[Real, Field(ge=0)]
Pixels = Annotated[Whole, Field(ge=8, le=1024)]
Text = Annotated[str, AfterValidator(_unicode)]
Shares = Annotated[tuple[Share, Share], AfterValidator(_ascending)]
Range = Annotated[tuple[Positive, Positive], AfterValidator(_ascending)]


class Part(BaseModel):
    """A part of a recipe: frozen, and closed to keys that it does not know."""

    # Defaults are checked too: 15 in a field of floats becomes 15.0, as it would from a file.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )
