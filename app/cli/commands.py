"""The commands and their options. What a command needs is imported only when it runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from app.cli.command import Command, typed
from app.cli.option_flags import with_upscale_options
from app.cli.parameters import ApiKey, AsJson, Device, Jobs, Level, Name, Overwrite, Quiet, Server, Weights
from app.cli.process import INTERRUPTED, end, leave, prepare_streams, surroundings_failed
from app.options import UpscaleOptions

HELP = {"help_option_names": ["-h", "--help"]}
LEVELS = ("2|4|8", "How many times as wide and as high.")
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

app = typer.Typer(
    name="lapsrn",
    help="Enlarge pictures up to eight times in width and height, on this machine or through a running service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from app.build import package_version

        typer.echo(f"lapsrn {package_version()}")
        raise typer.Exit


@app.callback()
def lapsrn(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Handles the options of the program itself."""


@app.command(cls=Command, no_args_is_help=True)
@with_upscale_options()
def upscale(
    context: typer.Context,
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="IN", help="Pictures, folders, quoted patterns, or - for standard input."),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="OUT", help="A folder, a file for a single picture, or - for standard output."
        ),
    ],
    options: UpscaleOptions,
    level: Level = None,
    name: Name = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    server: Server = None,
    api_key: ApiKey = "",
    jobs: Jobs = 4,
    weights: Weights = None,
    device: Device = None,
) -> None:
    """Enlarge pictures.

    Folders are searched with their subfolders, and their tree is kept under OUT. Results that exist are skipped. A
    result appears once it is complete. A bad picture does not stop the others, but the exit code is then 1.

    lapsrn upscale photo.jpg -o photo_x4.png

    lapsrn upscale photo.jpg album/ 'scans/**/*.tif' -o out/ --format webp

    lapsrn upscale photo.jpg -o photo_x4.webp --effort high --quality 95

    lapsrn upscale album/ -o out/ --server http://127.0.0.1:8000 --jobs 8

    cat small.png | lapsrn upscale - -o - --scale 2 > large.png
    """
    from app.cli.backends import Place
    from app.cli.upscale import upscale as run

    place = Place(server, api_key, jobs, weights, device)
    wanted = None if level is None else int(level)
    given = typed(context)
    end(
        lambda: run(
            inputs,
            output,
            options,
            wanted,
            place,
            overwrite=overwrite,
            as_json=as_json,
            quiet=quiet,
            name=name,
            typed=given,
        ),
        hint="; the results that exist are complete, and the same command continues with the others",
    )


@app.command(cls=Command, no_args_is_help=True)
@with_upscale_options(
    "scale",
    "model",
    "clean",
    "effort",
    "ensemble",
    "format",
    "color",
    "depth",
    "frames",
    narrower={"scale": LEVELS, "format": ("png|tiff", "Format of the result; otherwise the extension of OUT decides.")},
)
def upscale_large(
    source: Annotated[Path, typer.Argument(metavar="IN", readable=False, help="A TIFF, BigTIFF or PNG.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", readable=False, help="The PNG or tiled BigTIFF to write.")
    ],
    options: UpscaleOptions,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a result that exists.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but failures.")] = False,
    weights: Weights = None,
    device: Device = None,
) -> None:
    """Enlarge one picture of any size, in bands of rows that fit into memory.

    Finished bands are kept in OUT.bands: after an interruption, the same command continues where it stopped. Run it
    several times at once, even on several machines that share the folder, and the processes share the bands.

    lapsrn upscale-large scan.tif -o scan_x4.tif

    lapsrn upscale-large map.png -o map_x2.png --scale 2
    """
    from app.cli.large import upscale_large as run

    end(
        lambda: run(source, output, options, weights, device, overwrite=overwrite, quiet=quiet),
        hint="; the same command continues with the missing bands",
    )


@app.command(cls=Command, no_args_is_help=True)
@with_upscale_options()
def watch(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", readable=False, help="The folder whose pictures are enlarged.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", readable=False, help="The folder of the results.")
    ],
    options: UpscaleOptions,
    settle: Annotated[
        float,
        typer.Option(min=0.1, max=3600, help="Seconds that a file has to stay unchanged before it counts as complete."),
    ] = 2,
    level: Level = None,
    name: Name = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    server: Server = None,
    api_key: ApiKey = "",
    jobs: Jobs = 4,
    weights: Weights = None,
    device: Device = None,
) -> None:
    """Enlarge the pictures in a folder, and those that arrive later, until interrupted.

    Includes subfolders, and keeps their tree under OUT. After a restart, finished pictures are not enlarged again; a
    picture that has been replaced by another one is. Files that are not pictures are reported once and left alone.

    lapsrn watch inbox/ -o outbox/

    lapsrn watch inbox/ -o outbox/ --long-side 3840 --format webp --server http://127.0.0.1:8000
    """
    from app.cli.backends import Place
    from app.cli.watch import watch as run

    place = Place(server, api_key, jobs, weights, device)
    wanted = None if level is None else int(level)
    given = typed(context)
    end(
        lambda: run(
            folder,
            output,
            options,
            wanted,
            place,
            settle=settle,
            overwrite=overwrite,
            as_json=as_json,
            quiet=quiet,
            name=name,
            typed=given,
        ),
        interrupted=0,
        hint="; the same command continues",
    )


@app.command(cls=Command, no_args_is_help=True)
@with_upscale_options("scale", "model", "clean", "effort", "ensemble", narrower={"scale": LEVELS})
def compare(
    context: typer.Context,
    photo: Annotated[Path, typer.Argument(metavar="SMALL", readable=False, help="The small picture.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="SHEET", readable=False, help="The PNG to write.")],
    options: UpscaleOptions,
    hr: Annotated[
        Path | None,
        typer.Option(metavar="TRUTH", readable=False, help="The original: the same picture at the size of the result."),
    ] = None,
    crop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOP,LEFT,SIZE", help="A detail to show, in pixels of the result; may be given several times."
        ),
    ] = None,
    crops: Annotated[int, typer.Option(min=1, max=4, help="How many details to choose, without --crop.")] = 2,
    server: Server = None,
    api_key: ApiKey = "",
    weights: Weights = None,
    device: Device = None,
) -> None:
    """Draw a sheet that compares bicubic, LapSRN and the original, with PSNR and SSIM, as papers do.

    lapsrn compare butterfly_x4.png --hr butterfly.png -o sheet.png

    lapsrn compare photo.jpg -o sheet.png --crop 200,340,96
    """
    from app.cli.backends import Place
    from app.cli.compare import compare as run

    place = Place(server, api_key, 1, weights, device)
    given = typed(context)
    end(lambda: run(photo, hr, output, options, crop or [], crops, place, given))


@app.command(cls=Command)
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on, instead of LAPSRN_HOST or 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on, instead of LAPSRN_PORT or 8000.")
    ] = None,
    replicas: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Processes that serve there, or auto, instead of LAPSRN_REPLICAS or 1; needs Redis.",
        ),
    ] = None,
) -> None:
    """Run the service. Every other setting is an environment variable: see docs/configuration.md.

    lapsrn serve --port 8080
    """
    for name, value in (("LAPSRN_HOST", host), ("LAPSRN_PORT", port), ("LAPSRN_REPLICAS", replicas)):
        if value is not None:
            os.environ[name] = str(value)
    from app.process import early_signals

    early_signals.listen()  # before the slow imports
    from app import main as service

    raise typer.Exit(service.main())


@app.command(cls=Command, context_settings=PASSED_ON, add_help_option=False)
def train(context: typer.Context) -> None:
    """Train a network, as python -m model.train does; lapsrn train --help lists its options."""
    with _training_packages("train"):
        from model import train as module

    module.main(context.args)


@app.command(cls=Command, context_settings=PASSED_ON, add_help_option=False)
def evaluate(context: typer.Context) -> None:
    """Score weights on pictures, as python -m model.evaluate does; lapsrn evaluate --help lists its options."""
    with _training_packages("evaluate"):
        from model import evaluate as module

    module.main(context.args)


@contextmanager
def _training_packages(command: str) -> Iterator[None]:
    """Ends a command with a one-line error if the packages that it imports are not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        advice = "install what training needs: pip install 'lapsrn[train]', or make setup"
        raise SystemExit(f"lapsrn {command}: {error.name} is not installed; {advice}") from None


@app.command(cls=Command)
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    weights: Weights = None,
    device: Device = None,
) -> None:
    """Report device, arithmetic, weights, speed and limits. The exit code is 1 if nothing can be upscaled here."""
    from app.cli.doctor import doctor as run

    end(lambda: run(weights, device, as_json=as_json))


def main() -> None:
    """The console script `lapsrn`."""
    prepare_streams()
    try:
        app(prog_name="lapsrn")
    except SystemExit as exit:
        if exit.code == INTERRUPTED:
            leave()
        raise
    except OSError as error:
        leave(surroundings_failed(error))
