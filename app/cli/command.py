"""The class of commands: typer's, but empty arguments are usage errors, and help fills the terminal's width."""

import inspect
from typing import Any

import typer
from typer.core import TyperCommand


class Command(TyperCommand):
    """Refuses empty arguments: most come from an unset variable, and would mean the current folder."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        """As TyperCommand, but line breaks of the docstring are not kept in the help."""
        super().__init__(*arguments, **settings)
        paragraphs = inspect.cleandoc(self.help or "").split("\n\n")
        self.help = "\n\n".join(" ".join(each.split("\n")) for each in paragraphs)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As in TyperCommand."""
        options = args[: args.index("--")] if "--" in args else args
        for number, argument in enumerate(args, start=1):
            if not argument:
                ctx.fail(f"Argument {number} is empty. If it comes from a variable, check that the variable is set.")
            if number <= len(options) and argument.startswith("--") and argument.endswith("="):
                ctx.fail(f"{argument} has no value. If it comes from a variable, check that the variable is set.")
        return super().parse_args(ctx, args)


def typed(context: typer.Context) -> set[str]:
    """The names of the parameters that were given on the command line, not by the environment or by default."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
