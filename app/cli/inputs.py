"""Which pictures the arguments name, and where each result goes."""

import glob
import mimetypes
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.cli import files
from app.cli.search import EVERYTHING, search
from app.formats import DEFAULT_FORMAT, FORMATS, OUTPUT_FORMATS, OutputFormat

SUFFIXES = frozenset(suffix for row in FORMATS for suffix in row.suffixes + row.rare_suffixes)
"""The extensions found in folders and by patterns; a file named explicitly may have any extension."""
FORMAT_OF_SUFFIX = {suffix: name for name, row in OUTPUT_FORMATS.items() for suffix in row.suffixes}
"""The format of a result by its file's extension."""


KEEP = "{stem}{suffix}"
"""The template for results with the names of their sources."""


class PlanError(ValueError):
    """The arguments cannot be carried out as they are; nothing has been read or written."""


@dataclass(frozen=True, slots=True)
class Work:
    """One picture: its file (None: standard input) and the file of its result (None: standard output).

    `problem` is why it cannot be read, which does not stop the others; it is empty otherwise.
    """

    name: str
    source: Path | None
    target: Path | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Found:
    """A picture, and its path below the output folder, still with its own suffix."""

    name: str
    source: Path | None
    place: Path
    problem: str = ""


def plan(
    arguments: Sequence[str], output: str, chosen: OutputFormat | None, name: str = KEEP
) -> tuple[list[Work], OutputFormat]:
    """The pictures that `arguments` name, in order, and the format of the results (`chosen`, or by `output`).

    An argument is a file, a folder (searched with its subfolders), a pattern, or "-". `output` is "-", a file (if it
    has a picture's suffix, and there is one picture), or a folder: in it a file keeps its name, a folder its name and
    its tree, and a pattern the tree below its fixed part. `name` is the template for names there, with {stem} and
    {suffix}. Raises PlanError.
    """
    found = list(dict.fromkeys(item for argument in arguments for item in _find(argument, Path(output))))
    if output == "-":
        if len(found) != 1:
            raise PlanError(f"-o - takes one picture, and these are {len(found)}.")
        return [Work(found[0].name, found[0].source, None, found[0].problem)], chosen or DEFAULT_FORMAT
    same = files.sameness(Path(output))
    named = FORMAT_OF_SUFFIX.get(Path(output).suffix.lower())
    as_folder = output.endswith(os.sep) or files.is_folder(Path(output))
    if not (named or as_folder) and _is_picture_name(output):
        raise PlanError(
            f"-o {output}: results cannot be written as {Path(output).suffix}; name a file that ends in "
            f"{', '.join(FORMAT_OF_SUFFIX)}, or a folder ({output}{os.sep})."
        )
    if named and not as_folder:
        if len(found) != 1:
            raise PlanError(f"-o {output} is one file, and there are {len(found)} pictures: give a folder.")
        check_name(Path(output), chosen)
        works = [Work(found[0].name, found[0].source, Path(output), found[0].problem)]
    else:
        named = chosen or DEFAULT_FORMAT
        works = _into_folder(found, Path(output), OUTPUT_FORMATS[named].suffixes[0], name, same)
    _refuse_losses(works, same)
    return works, named


def check_name(output: Path, chosen: OutputFormat | None) -> None:
    """Raises PlanError for a result in a file whose extension is that of another format than `chosen`."""
    named = FORMAT_OF_SUFFIX.get(output.suffix.lower())
    if named is not None and chosen not in (None, named):
        raise PlanError(f"-o {output} is named as {named}, but --format is {chosen}.")


def _find(argument: str, output: Path) -> Iterator[_Found]:
    path = Path(argument)
    if argument == "-":
        yield _Found("-", None, Path("stdin"))
    elif files.is_folder(path):
        yield from _below(path, Path(path.name if path.name != ".." else ""), output)
    elif glob.has_magic(argument) and not os.path.lexists(path):
        yield from _match(argument, output)
    else:
        yield _checked(argument, path, Path(path.name))


def _checked(name: str, path: Path, place: Path) -> _Found:
    """The picture at `path`, or the reason why it cannot be read."""
    problem = files.unreadable(path)
    if problem == files.NOT_REGULAR:
        problem += "; to read a pipe, pass - for IN"
    return _Found(name, None if problem else path, place, problem)


def _below(folder: Path, place: Path, output: Path) -> Iterator[_Found]:
    """The pictures in `folder` and its subfolders, without hidden ones and without the results of this command."""
    yield from _search(folder, EVERYTHING, place, (output / place, output)) or [
        _Found(str(folder), None, Path(folder.name or "folder"), "there are no pictures in this folder")
    ]


def _match(pattern: str, output: Path) -> Iterator[_Found]:
    fixed = Path(pattern)
    while glob.has_magic(str(fixed)):
        fixed = fixed.parent
    yield from _search(fixed, Path(pattern).relative_to(fixed).parts, Path(), (output,)) or [
        _Found(pattern, None, Path("pattern"), "nothing matches this pattern")
    ]


def _search(folder: Path, pattern: tuple[str, ...], place: Path, results: Sequence[Path]) -> list[_Found]:
    """The matching pictures; each one's path below `folder` becomes its path below `place`."""
    excluded = {os.path.realpath(path) for path in results} - {os.path.realpath(folder)}
    found = []
    for path, problem in search(folder, pattern, excluded):
        if problem:
            found.append(_Found(str(path), None, Path(path.name or "folder"), f"this folder cannot be read: {problem}"))
        elif path.suffix.lower() in SUFFIXES:
            found.append(_checked(str(path), path, place / path.relative_to(folder)))
    return found


def _is_picture_name(name: str) -> bool:
    """Whether `name` has a picture's extension, including formats that are neither read nor written here."""
    known, _ = mimetypes.MimeTypes().guess_type(name)
    return Path(name).suffix.lower() in SUFFIXES or (known or "").startswith("image/")


def _into_folder(found: Sequence[_Found], folder: Path, suffix: str, name: str, same: files.Sameness) -> list[Work]:
    """The work, with results that end in `suffix`. Pictures that differ only in their suffix keep theirs before it."""
    stems, places = (
        Counter(same(item.place.with_suffix("")) for item in found),
        Counter(same(item.place) for item in found),
    )
    works = []
    for item in found:
        alone = stems[same(item.place.with_suffix(""))] == places[same(item.place)]
        stem = item.place.stem if alone else item.place.name
        place = item.place.with_name(name.format(stem=stem, suffix=suffix))
        works.append(Work(item.name, item.source, folder / place, item.problem))
    return works


def _refuse_losses(works: Sequence[Work], same: files.Sameness) -> None:
    """Raises PlanError when a result would replace its own source, another source, or another result."""
    good = [work for work in works if not work.problem]
    sources = {same(os.path.realpath(work.source)): work.name for work in good if work.source}
    targets: dict[str, str] = {}
    for work in good:
        target = same(os.path.realpath(work.target)) if work.target else ""
        if target in sources:
            raise PlanError(f"{work.target} would replace the source {sources[target]}: give another -o.")
        if target in targets:
            raise PlanError(
                f"{targets[target]} and {work.name} would both be written to {work.target}: "
                "give their folders instead, or run twice."
            )
        targets[target] = work.name
