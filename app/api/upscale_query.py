"""The query of POST /upscale: the fields of UpscaleOptions as parameters, validated by pydantic."""

import re
from dataclasses import fields
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_type_hints

from fastapi import Depends, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, create_model
from pydantic_core import PydanticCustomError

from app.api.schemas import StrictQuery, whole
from app.options import MORE_EFFORT, MoreEffort, Option, UpscaleOptions, listed

Quality = Annotated[int, Field(ge=1, le=100)] | MoreEffort
_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
Strength = Annotated[float, Field(ge=0, le=1)] | Literal["auto"]


# Values of union types are checked here, as pydantic would report one error for each type.


def _quality(value: object) -> object:
    """1 to 100, or one of MORE_EFFORT."""
    value = whole(value)
    if value is None or value in MORE_EFFORT or (isinstance(value, int) and 1 <= value <= 100):
        return value
    raise PydanticCustomError("quality", f"must be 1 to 100, {listed(MORE_EFFORT)}")


def _strength(value: object) -> object:
    """0 to 1, or auto."""
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = float(value)
    if value == "auto" or (isinstance(value, int | float) and 0 <= value <= 1):
        return value
    raise PydanticCustomError("strength", "must be 0 to 1, or auto")


def _without_underscores(value: object) -> object:
    """Refuses 1_0: pydantic reads it as ten, as Python does, but in a query it is a typing error."""
    if isinstance(value, str) and "_" in value:
        raise PydanticCustomError("underscores", "must be a number, in digits")
    return value


def _as_int(value: float) -> float:
    """A whole factor as an int, so that it is written without a decimal point."""
    return int(value) if value == int(value) else value


def _validated(annotation: Any, option: Option) -> Any:
    """The annotation with validators that convert a query's text into its values."""
    aliases, parts = dict(option.aliases), get_args(annotation)
    limits = Field(ge=option.least, le=option.most, allow_inf_nan=None if int in parts else False)
    if aliases:
        return Annotated[annotation, BeforeValidator(lambda value: aliases.get(value, value))]
    if set(parts) == {int, NoneType}:
        return Annotated[Annotated[int, limits] | None, BeforeValidator(_without_underscores)]
    if int in parts:
        return Annotated[Quality | None, BeforeValidator(_quality)]
    if float in parts:
        return Annotated[Strength, BeforeValidator(_strength)]
    if annotation is float:
        return Annotated[float, limits, AfterValidator(_as_int), BeforeValidator(_without_underscores)]
    return annotation


def _query_model() -> type[BaseModel]:
    hints = get_type_hints(UpscaleOptions, include_extras=True)
    members: dict[str, Any] = {}
    for field in fields(UpscaleOptions):
        annotation, option = get_args(hints[field.name])
        members[field.name] = (_validated(annotation, option), _described(field.default, option))
    return create_model("UpscaleQuery", __base__=StrictQuery, __doc__="How to upscale.", **members)


def _described(default: object, option: Option) -> Any:
    examples = None if option.example is None else [option.example]
    return Field(default, description=option.description, max_length=option.max_length, examples=examples)


UpscaleQuery: Any = _query_model()


async def upscale_options(query: Annotated[UpscaleQuery, Query()]) -> UpscaleOptions:
    """The options in the request's query."""
    return UpscaleOptions(**dict(query))


OptionsDep = Annotated[UpscaleOptions, Depends(upscale_options)]
