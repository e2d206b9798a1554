"""The fields of UpscaleOptions as command-line options, so that each is declared once."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from app.options import Option, UpscaleOptions

PANEL = "Pictures"


def with_upscale_options(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with an option for every field of UpscaleOptions in place of its parameter `options`.

    It still gets them as `options`. A value that is not allowed ends in the usage error of its option.
    """

    @functools.wraps(command)
    def run(**typed: Any) -> None:
        chosen = {field.name: typed.pop(field.name) for field in fields(UpscaleOptions)}
        command(**typed, options=UpscaleOptions(**chosen))

    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        parameters += _parameters() if parameter.name == "options" else [parameter]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _parameters() -> list[inspect.Parameter]:
    """One for each field."""
    made = []
    hints = get_type_hints(UpscaleOptions, include_extras=True)
    for field in fields(UpscaleOptions):
        annotation, told = get_args(hints[field.name])
        made.append(_parameter(field, annotation, told))
    return made


def _parameter(field: Field[Any], annotation: Any, told: Option) -> inspect.Parameter:
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    kinds = tuple(kind for kind in kinds if kind is not NoneType)
    typed, convert = _typed(kinds)
    option = typer.Option(
        f"--{field.name}/--no-{field.name}" if typed is bool and field.default is None else f"--{field.name}",
        help=told.help,
        metavar=told.metavar,
        callback=convert,
        rich_help_panel=None if told.general else PANEL,
    )
    default = field.default if field.default is None or isinstance(field.default, bool) else str(field.default)
    return inspect.Parameter(
        field.name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=default,
        annotation=Annotated[typed | None if default is None else typed, option],
    )


def _typed(kinds: tuple[Any, ...]) -> tuple[Any, Callable[[Any], Any] | None]:
    """What typer asks for (a flag, a choice of texts, or a text), and what makes the field's value of it."""
    if kinds == (bool,):
        return bool, None
    if len(kinds) == 1 and get_origin(kinds[0]) is Literal:
        values = {str(value): value for value in get_args(kinds[0])}
        return Literal[tuple(values)], lambda typed: values.get(typed)
    return str, _quality if int in kinds else None


def _quality(typed: str | None) -> int | str | None:
    """What was typed, if it is a quality."""
    if typed in (None, "high"):
        return typed
    if typed.isascii() and typed.isdecimal() and 1 <= int(typed) <= 100:
        return int(typed)
    raise typer.BadParameter(f"{typed!r} is neither a number from 1 to 100 nor high.")
