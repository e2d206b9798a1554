"""The names of results in a folder: the template of --name."""

import string

from app.cli.inputs import KEEP, PlanError
from app.options import UpscaleOptions

FIELDS = ("stem", "suffix", "scale", "model")
UNFIT = "/\\{}\0"
"""Characters of a model that cannot be part of a file's name, or would be taken for a field."""


def template(typed: str | None, options: UpscaleOptions, level: int | None) -> str:
    """The template for each picture, in which only {stem} and {suffix} are left. Raises PlanError."""
    if typed is None:
        return KEEP
    try:
        fields = [(name, spec, change) for _, name, spec, change in string.Formatter().parse(typed) if name is not None]
    except ValueError as error:
        raise PlanError(f"--name {typed!r} is not a template: {error}.") from None
    for name, spec, change in fields:
        if name not in FIELDS or spec or change:
            allowed = ", ".join(f"{{{field}}}" for field in FIELDS)
            raise PlanError(f"--name {typed!r}: there are {allowed}, without formats.")
    if "{{" in typed or "}}" in typed:
        raise PlanError(f"--name {typed!r}: braces cannot be part of a name.")
    names = {name for name, *_ in fields}
    if not typed.endswith("{suffix}") or "stem" not in names:
        raise PlanError(f"--name {typed!r} has to hold {{stem}} and to end in {{suffix}}.")
    if "/" in typed or "\\" in typed or typed.startswith("."):
        raise PlanError(
            f"--name {typed!r} names files, not folders, and none that are hidden: choose the folder with -o."
        )
    if "scale" in names and options.sized:
        raise PlanError("--name with {scale} does not go with --width, --height or --long-side, which have no scale.")
    if "model" in names and options.model is None:
        raise PlanError("--name with {model} needs --model.")
    if "model" in names and not set(str(options.model)).isdisjoint(UNFIT):
        raise PlanError(
            f"--model {options.model!r} cannot be part of a name: give the name of a model, not its file, or leave "
            "{model} out of --name."
        )
    scale = f"{level or options.scale:g}"
    return typed.format(stem="{stem}", suffix="{suffix}", scale=scale, model=options.model)
