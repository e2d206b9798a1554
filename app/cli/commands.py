"""What can be typed: every command with its options. What a command needs is imported when it runs."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from app.cli.option_flags import with_upscale_options
from app.options import LevelChoice, UpscaleOptions

app = typer.Typer(
    name="lapsrn",
    help="Enlarge pictures two or four times with LapSRN: on this machine, or through a running service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_ELSEWHERE = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
SCALES: dict[str, LevelChoice] = {"2": 2, "4": 4, "8": 8}
_HERE = "On this machine"
_THERE = "Through a service"

Weights = Annotated[
    Path | None,
    typer.Option(help="Weights to use; LAPSRN_WEIGHTS, or those that come with lapsrn.", rich_help_panel=_HERE),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="auto, cpu, cuda:N, or several of these with commas between; LAPSRN_DEVICES, or auto.",
        rich_help_panel=_HERE,
    ),
]


@app.command(no_args_is_help=True)
@with_upscale_options
def upscale(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="IN", help="Pictures, folders, quoted patterns, or - for standard input."),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="OUT", help="A folder, a file for one picture, or - for standard output."
        ),
    ],
    options: UpscaleOptions,
    level: Annotated[
        Literal["2", "4", "8"] | None, typer.Option(help="Take this smaller level of the pass instead of its last.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make results again that are there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Tell of failures only.")] = False,
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar="LAPSRN_SERVER", help="Where it runs.", rich_help_panel=_THERE),
    ] = None,
    api_key: Annotated[
        str,
        typer.Option(envvar="LAPSRN_API_KEY", help="If it asks for one.", show_default=False, rich_help_panel=_THERE),
    ] = "",
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, max=64, help="Requests at once.", rich_help_panel=_THERE)
    ] = 4,
    weights: Weights = None,
    device: Device = None,
) -> None:
    """Enlarge pictures.

    A folder is searched with its subfolders, and its tree is kept under OUT. Results that are there already are
    skipped. A result appears when it is complete. A bad picture does not stop the others; the exit code is then 1.

    lapsrn upscale photo.jpg -o photo_x4.png

    lapsrn upscale photo.jpg album/ 'scans/**/*.tif' -o out/ --format webp

    lapsrn upscale photo.jpg -o photo_x4.webp --ensemble --quality 95

    lapsrn upscale album/ -o out/ --server http://127.0.0.1:8000 --jobs 8

    cat small.png | lapsrn upscale - -o - --scale 2 > large.png
    """
    from app.cli.upscale import Place
    from app.cli.upscale import upscale as run

    place = Place(server, api_key, jobs, weights, device)
    wanted = int(level or options.scale)
    _end(lambda: run(inputs, output, options, wanted, place, overwrite=overwrite, as_json=as_json, quiet=quiet))


@app.command(no_args_is_help=True)
def compare(
    photo: Annotated[Path, typer.Argument(help="The small picture.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="SHEET", help="The PNG to write.")],
    hr: Annotated[Path | None, typer.Option(help="The truth: the same picture, four times as large.")] = None,
    scale: Annotated[Literal["2", "4", "8"], typer.Option(help="Times as wide and as high.")] = "4",
    crop: Annotated[
        list[str] | None,
        typer.Option(metavar="TOP,LEFT,SIZE", help="A detail to enlarge, in pixels of the large picture; repeatable."),
    ] = None,
    crops: Annotated[int, typer.Option(min=1, max=4, help="How many details to choose where none is given.")] = 2,
    weights: Weights = None,
    device: Device = None,
) -> None:
    """Draw a sheet that compares bicubic, LapSRN and the truth, with PSNR and SSIM, as papers do.

    lapsrn compare butterfly_x4.png --hr butterfly.png -o sheet.png

    lapsrn compare photo.jpg -o sheet.png --crop 200,340,96
    """
    from app.cli.compare import compare as run

    _end(lambda: run(photo, hr, output, SCALES[scale], crop or [], crops, weights, device))


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; LAPSRN_HOST, or 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; LAPSRN_PORT, or 8000.")] = None,
) -> None:
    """Run the service; every other setting is an environment variable LAPSRN_*.

    lapsrn serve --port 8080
    """
    for name, value in (("LAPSRN_HOST", host), ("LAPSRN_PORT", port)):
        if value is not None:
            os.environ[name] = str(value)
    from app import main as service

    _end(service.main)


@app.command(context_settings=_ELSEWHERE, add_help_option=False)
def train(context: typer.Context) -> None:
    """Train the network; `lapsrn train --help` shows the options of python -m model.train."""
    from model import train as module

    module.main(context.args)


@app.command(context_settings=_ELSEWHERE, add_help_option=False)
def evaluate(context: typer.Context) -> None:
    """Score weights on pictures; `lapsrn evaluate --help` shows the options of python -m model.evaluate."""
    from model import evaluate as module

    module.main(context.args)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    weights: Weights = None,
    device: Device = None,
) -> None:
    """Tell what lapsrn finds here: device, arithmetic, weights, speed, limits. The exit code is 1 if it cannot run."""
    from app.cli.doctor import doctor as run

    _end(lambda: run(weights, device, as_json=as_json))


def _end(run: Callable[[], int]) -> None:
    """Ends the program as `run` does, with errors that were foreseen told in one line."""
    from app.cli.inputs import PlanError
    from app.errors import StartupError

    try:
        code = run()
    except PlanError as error:
        raise typer.BadParameter(str(error)) from None
    except StartupError as error:
        typer.echo(f"lapsrn: {error}", err=True)
        code = 1
    except KeyboardInterrupt:
        typer.echo("lapsrn: interrupted; what is done is complete, and the same command goes on from there", err=True)
        code = 130
    raise typer.Exit(code)


def main() -> None:
    """The console script `lapsrn`."""
    app()
