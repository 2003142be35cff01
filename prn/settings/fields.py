"""What a setting can be: numbers with bounds, pairs, lists without repetition, names; and the base of sections."""

import unicodedata
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from prn.layout import PAGES

T = TypeVar("T")


class WrongValue(ValueError):
    """A check failed: the text says what was found and expected, `key` of which key of a section."""

    def __init__(self, text: str, key: str = "") -> None:
        super().__init__(text)
        self.key = key


class Section(BaseModel):
    """Settings that stand together. Unknown keys are refused; nothing is converted but a whole number to a float."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)

    def changed(self, **values: Any) -> Self:
        """A copy with other values, checked like any settings (pydantic's ValidationError)."""
        return self.model_validate({**dict(self), **values})


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise WrongValue(f"found {value}, expected an odd number")
    return value


def _ascending(pair: list) -> list:
    if len(pair) != 2 or pair[0] > pair[1]:
        raise WrongValue(f"found {pair}, expected two numbers, the lower first")
    return pair


def _distinct(items: list) -> list:
    for position, item in enumerate(items):
        if item in items[:position]:
            raise WrongValue(f"{item!r} stands twice")
    return items


# What these checks say to a reader of the JSON Schema.
NOT_EVEN: JsonDict = {"not": {"multipleOf": 2}}
TWO_ITEMS: JsonDict = {"minItems": 2, "maxItems": 2}
NO_REPETITION: JsonDict = {"uniqueItems": True}

Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
GreyLevels = Annotated[float, Field(ge=0, le=255)]
Percentile = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
AtLeastTwo = Annotated[int, Field(ge=2)]
Odd = Annotated[int, Field(ge=1, json_schema_extra=NOT_EVEN), AfterValidator(_odd)]
OddUpTo31 = Annotated[int, Field(ge=1, le=31, json_schema_extra=NOT_EVEN), AfterValidator(_odd)]
Side = Annotated[int, Field(ge=32, multiple_of=32)]  # of an image in pixels: the encoders halve it five times
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # what NumPy's generators take
Seeds = Annotated[list[Seed], Field(min_length=1, json_schema_extra=NO_REPETITION), AfterValidator(_distinct)]
Pair = Annotated[list[T], Field(json_schema_extra=TWO_ITEMS), AfterValidator(_ascending)]
Distinct = Annotated[list[T], Field(json_schema_extra=NO_REPETITION), AfterValidator(_distinct)]

# Names of data sets, categories and variants become folders, wildcards of Snakemake and parts of pages.
NAME_SIGNS = " _-.()+&"
NAME_BYTES = 70  # a log's file name holds three of them, and file systems allow 255 bytes
NAME_RULE = (
    f"a name of letters, digits, spaces and {' '.join(NAME_SIGNS.strip())}, with a letter or digit first, no space or"
    f" dot last, and at most {NAME_BYTES} bytes in UTF-8"
)


def check_name(name: str) -> str:
    """The name itself; raises `WrongValue` where it does not follow `NAME_RULE`."""
    kinds = [unicodedata.category(sign)[0] for sign in name]  # L: letter, M: a mark on one, N: digit
    plain = all(kind in "LMN" or sign in NAME_SIGNS for kind, sign in zip(kinds, name, strict=True))
    if name and plain and kinds[0] in "LN" and name[-1] not in " ." and len(name.encode()) <= NAME_BYTES:
        return name
    raise WrongValue(f"found {name!r}, expected {NAME_RULE}")


def _check_no_page(name: str) -> str:
    if name.casefold() in {page.casefold() for page in PAGES}:
        raise WrongValue(f"found {name!r}, which is the name of a page of the report; choose another one")
    return name


Name = Annotated[str, AfterValidator(check_name)]
DatasetName = Annotated[Name, AfterValidator(_check_no_page)]  # its page lies beside the others
