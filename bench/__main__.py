"""`make bench`: the project against its peers, in one run, as ratios. `--only NAME` takes some of the measures."""

import importlib
import json
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path

from bench.report import Plan, Section
from model.entry import Parser, check_output, file_errors

MEASURES = {
    "network-64": ("bench.network", "measure_64"),
    "network-256": ("bench.network", "measure_256"),
    "network-1024": ("bench.network", "measure_1024"),
    "network-deep": ("bench.network", "measure_deep"),
    "roofline": ("bench.roofline", "measure"),
    "http": ("bench.serving", "measure"),
    "clients": ("bench.serving", "measure_clients"),
    "stages": ("bench.stages", "measure"),
    "growth": ("bench.growth", "measure"),
    "mixed": ("bench.mixed", "measure"),
    "accelerator": ("bench.accelerator", "measure"),
    "tiles": ("bench.tiles", "measure"),
    "png": ("bench.encoder", "measure"),
    "replicas": ("bench.replicas", "measure"),
    "megapixel": ("bench.megapixel", "measure"),
}
"""Modules and functions of a Plan to a Section; imported only when they are run."""
CHEAP = ("stages",)
"""What `--quick` runs when nothing else is asked for."""


def main(arguments: list[str] | None = None) -> int:
    """The command line; 1 if a measure could not be taken. What is slow is not a failure."""
    parser = Parser("bench", __doc__)
    parser.add_argument("--only", action="append", choices=MEASURES, help="this measure; may be given again")
    parser.add_argument("--json", type=Path, help="write the numbers there as well")
    parser.add_argument("--quick", action="store_true", help="a smoke test of what is cheap; the numbers mean nothing")
    options = parser.parse_args(arguments)
    with file_errors(parser.prog):
        check_output(options.json)
    names = options.only or (CHEAP if options.quick else list(MEASURES))
    machine = importlib.import_module("bench.machine").describe()
    print(machine.markdown(), flush=True)
    sections, failed = [], []
    for name in names:
        began = time.monotonic()
        try:
            module, function = MEASURES[name]
            section: Section = getattr(importlib.import_module(module), function)(Plan(options.quick))
        except Exception:  # one measure that fails must not cost the others; it is reported at the end
            traceback.print_exc()
            failed.append(name)
            continue
        section.seconds = time.monotonic() - began
        sections.append(section)
        print("\n" + section.markdown(), flush=True)
        if options.json:
            document = {"machine": asdict(machine), "sections": [asdict(each) for each in sections]}
            options.json.write_text(json.dumps(document, indent=1, ensure_ascii=False))
    if failed:
        print(f"could not be measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
