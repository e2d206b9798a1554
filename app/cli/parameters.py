"""Parameters that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

_HERE = "On this machine"
_SERVICE = "Through a service"

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        envvar="LAPSRN_SERVER",
        help="Address of a running service that does the work.",
        rich_help_panel=_SERVICE,
    ),
]
ApiKey = Annotated[
    str,
    typer.Option(
        "--api-key",
        envvar="LAPSRN_API_KEY",
        help="API key, if the service requires one.",
        show_default=False,
        rich_help_panel=_SERVICE,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        readable=False,
        help="Weights file to use instead of LAPSRN_WEIGHTS or the shipped weights.",
        rich_help_panel=_HERE,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="auto, cpu, cuda:N, or several separated by commas, instead of LAPSRN_DEVICES or auto.",
        rich_help_panel=_HERE,
    ),
]
Jobs = Annotated[
    int,
    typer.Option("--jobs", "-j", min=1, max=64, help="Requests to run at once.", rich_help_panel=_SERVICE),
]
Level = Annotated[
    Literal["2", "4", "8"] | None,
    typer.Option(help="Write this smaller level of the pass instead of the largest one."),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="TEMPLATE",
        help="Names of results in a folder, such as '{stem}_x{scale}{suffix}'; {model} works, too.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per line on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but failures.")]
