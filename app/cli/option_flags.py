"""The fields of UpscaleOptions as command-line options, so that each is declared once."""

import contextlib
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, fields, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from app.options import MORE_EFFORT, Option, UpscaleOptions, listed

PANEL = "Pictures"


def with_upscale_options(
    *names: str, narrower: Mapping[str, tuple[str, str]] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that replaces the parameter `options` of a command by an option for each field of UpscaleOptions.

    With `names`, only for those fields. The command still gets an UpscaleOptions. An invalid value is a usage error of
    its option. `narrower` has (metavar, help) of fields for which the command accepts fewer values; it must refuse the
    others itself.
    """
    chosen = [field for field in fields(UpscaleOptions) if not names or field.name in names]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**arguments: Any) -> None:
            options = UpscaleOptions(**{field.name: arguments.pop(field.name) for field in chosen})
            command(**arguments, options=options)

        parameters = []
        for parameter in inspect.signature(command).parameters.values():
            parameters += _parameters(chosen, narrower or {}) if parameter.name == "options" else [parameter]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _parameters(chosen: Iterable[Field[Any]], narrower: Mapping[str, tuple[str, str]]) -> list[inspect.Parameter]:
    hints = get_type_hints(UpscaleOptions, include_extras=True)
    parameters = []
    for field in chosen:
        annotation, about = get_args(hints[field.name])
        if field.name in narrower:
            metavar, words = narrower[field.name]
            about = replace(about, metavar=metavar, help=words)
        parameters.append(_parameter(field, annotation, about))
    return parameters


def _parameter(field: Field[Any], annotation: Any, about: Option) -> inspect.Parameter:
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    kinds = tuple(kind for kind in kinds if kind is not NoneType)
    typed, convert = _typed(kinds, about)
    name = field.name.replace("_", "-")
    option = typer.Option(
        f"--{name}/--no-{name}" if typed is bool and field.default is None else f"--{name}",
        help=about.help,
        metavar=about.metavar,
        callback=convert,
        rich_help_panel=None if about.general else PANEL,
    )
    default = field.default if field.default is None or isinstance(field.default, bool) else str(field.default)
    return inspect.Parameter(
        field.name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=default,
        annotation=Annotated[typed | None if default is None else typed, option],
    )


def _typed(kinds: tuple[Any, ...], about: Option) -> tuple[Any, Callable[[Any], Any] | None]:
    """The type for typer (a flag, a choice of strings, or a string), and its conversion to the field's type."""
    if kinds == (bool,):
        return bool, None
    if len(kinds) == 1 and get_origin(kinds[0]) is Literal:
        values = {str(value): value for value in get_args(kinds[0])}
        return Literal[tuple(values)], lambda typed: values.get(typed)
    if kinds in ((int,), (float,)):
        return str, lambda typed: _number(typed, kinds[0], about)
    return str, _quality if int in kinds else _strength if float in kinds else None


def _number(typed: str | None, kind: type[int] | type[float], about: Option) -> float | None:
    """The typed number, within the limits of the option; whole numbers become an int."""
    if typed is None:
        return None
    low, high = about.least or 0, about.most
    value = _value(typed, kind)
    if not (low <= value <= (math.inf if high is None else high)):
        limits = f"of at least {low:g}" if high is None else f"from {low:g} to {high:g}"
        raise typer.BadParameter(f"{typed!r} is not a {'whole number' if kind is int else 'number'} {limits}.")
    return int(value) if value == int(value) else value


def _value(typed: str, kind: type[int] | type[float]) -> float:
    """The typed number, by the rules of the HTTP API: ASCII digits, without Python's underscores; otherwise NaN."""
    with contextlib.suppress(ValueError):
        if typed.isascii() and "_" not in typed:
            return kind(typed)
    return math.nan


def _quality(typed: str | None) -> int | str | None:
    if typed is None or typed in MORE_EFFORT:
        return typed
    if typed.isascii() and typed.isdecimal() and 1 <= int(typed) <= 100:
        return int(typed)
    raise typer.BadParameter(f"{typed!r} is neither a number from 1 to 100 nor {listed(MORE_EFFORT)}.")


def _strength(typed: str | None) -> float | str | None:
    if typed in (None, "auto"):
        return typed
    if 0 <= (value := _value(typed, float)) <= 1:
        return value
    raise typer.BadParameter(f"{typed!r} is neither a number from 0 to 1 nor auto.")
