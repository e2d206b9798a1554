"""Which pictures a command line means, and where each result goes."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.formats import DEFAULT_FORMAT, FORMATS, OUTPUT_FORMATS, OutputFormat

SUFFIXES = frozenset(suffix for row in FORMATS for suffix in row.suffixes + row.rare_suffixes)
"""What a folder or a quoted pattern is searched for; a file that is named is taken whatever it is called."""
FORMAT_OF_SUFFIX = {suffix: name for name, row in OUTPUT_FORMATS.items() for suffix in row.suffixes}
"""What a result is written in whose file is named with this suffix."""


class PlanError(ValueError):
    """The arguments cannot be carried out as they are; nothing has been read or written."""


@dataclass(frozen=True, slots=True)
class Work:
    """One picture: where it comes from (None: standard input) and where it goes (None: standard output).

    `problem` is set when there is nothing to read, so that the others can go on.
    """

    name: str
    source: Path | None
    target: Path | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Found:
    """A picture, and its place under the output folder, still with its own suffix."""

    name: str
    source: Path | None
    place: Path
    problem: str = ""


def plan(arguments: Sequence[str], output: str, chosen: OutputFormat | None) -> tuple[list[Work], OutputFormat]:
    """The work that `arguments` ask for, in order, and the format of the results (`chosen`, or from `output`).

    An argument is a file, a folder (searched with its subfolders), a pattern, or "-". `output` is "-", a file (it has
    a picture's suffix, and there is one picture), or a folder: there a file keeps its name, a folder its name and its
    tree, a pattern the tree below its fixed part. Raises PlanError.
    """
    found = list(dict.fromkeys(item for argument in arguments for item in _find(argument, Path(output))))
    if output == "-":
        if len(found) != 1:
            raise PlanError(f"-o - takes one picture, and these are {len(found)}.")
        return [Work(found[0].name, found[0].source, None, found[0].problem)], chosen or DEFAULT_FORMAT
    named = FORMAT_OF_SUFFIX.get(Path(output).suffix.lower())
    if named and not output.endswith(os.sep) and not Path(output).is_dir():
        if len(found) != 1:
            raise PlanError(f"-o {output} is one file, and there are {len(found)} pictures: give a folder.")
        if chosen not in (None, named):
            raise PlanError(f"-o {output} is named as {named}, but --format is {chosen}.")
        works = [Work(found[0].name, found[0].source, Path(output), found[0].problem)]
    else:
        named = chosen or DEFAULT_FORMAT
        works = _into_folder(found, Path(output), OUTPUT_FORMATS[named].suffixes[0])
    _refuse_losses(works)
    return works, named


def _find(argument: str, output: Path) -> Iterator[_Found]:
    path = Path(argument)
    if argument == "-":
        yield _Found("-", None, Path("stdin"))
    elif path.is_dir():
        yield from _walk(path, Path(path.name if path.name != ".." else ""), output)
    elif path.exists():
        yield _Found(argument, path, Path(path.name))
    elif glob.has_magic(argument):
        yield from _match(argument, output)
    else:
        yield _Found(argument, None, Path(path.name), "there is no such file")


def _walk(folder: Path, place: Path, output: Path) -> Iterator[_Found]:
    """Pictures below `folder` in order of their names, without hidden ones, without what this run is to write."""
    results = {(output / place).resolve(), output.resolve()} - {folder.resolve()}
    count = 0
    for top, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and Path(top, name).resolve() not in results
        )
        for name in sorted(files):
            source = Path(top, name)
            if source.suffix.lower() in SUFFIXES and not name.startswith("."):
                count += 1
                yield _Found(str(source), source, place / source.relative_to(folder))
    if not count:
        yield _Found(str(folder), None, place, "there are no pictures in this folder")


def _match(pattern: str, output: Path) -> Iterator[_Found]:
    fixed = Path(pattern)
    while glob.has_magic(str(fixed)):
        fixed = fixed.parent
    matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
    results = output.resolve()
    pictures = [
        path
        for path in matches
        if path.suffix.lower() in SUFFIXES and path.is_file() and results not in path.resolve().parents
    ]
    for path in pictures:
        yield _Found(str(path), path, path.relative_to(fixed))
    if not pictures:
        yield _Found(pattern, None, Path("pattern"), "nothing matches this pattern")


def _into_folder(found: Sequence[_Found], folder: Path, suffix: str) -> list[Work]:
    """Names end in `suffix`; pictures that differ in their suffix only keep it before the new one."""
    stems, places = Counter(item.place.with_suffix("") for item in found), Counter(item.place for item in found)
    works = []
    for item in found:
        alone = stems[item.place.with_suffix("")] == places[item.place]
        place = item.place.with_suffix(suffix) if alone else item.place.with_name(item.place.name + suffix)
        works.append(Work(item.name, item.source, folder / place, item.problem))
    return works


def _refuse_losses(works: Sequence[Work]) -> None:
    """Raises PlanError when a result would replace its own source, another source, or another result."""
    good = [work for work in works if not work.problem]
    sources = {work.source.resolve(): work.name for work in good if work.source}
    targets: dict[Path, str] = {}
    for work in good:
        target = work.target.resolve() if work.target else Path()
        if target in sources:
            raise PlanError(f"{work.target} would replace the source {sources[target]}: give another -o.")
        if target in targets:
            raise PlanError(
                f"{targets[target]} and {work.name} would both be written to {work.target}: "
                "give their folders instead, or run twice."
            )
        targets[target] = work.name
