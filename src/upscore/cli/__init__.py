"""The command line: parse, call one function, print what came of it."""

import sys
from io import TextIOWrapper

import typer
from rich.console import Console

from upscore.cli.explaining import explain, upsample
from upscore.cli.exporting import export
from upscore.cli.learning import plan, train
from upscore.cli.predicting import demo, predict
from upscore.cli.scoring import check, evaluate
from upscore.cli.serving import serve
from upscore.errors import UpscoreError

app = typer.Typer(
    name="upscore",
    help="Label photos; train on your own; score, export and serve the model.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (demo, predict, serve, check, plan, train, evaluate, export, upsample, explain):
    app.command()(command)


def main() -> None:
    """Run the command; what a user can fix is one message and exit code 1, not a traceback."""
    for stream in (sys.stdout, sys.stderr):  # file names may hold what the terminal cannot show
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except (UpscoreError, OSError) as error:
        Console(stderr=True).print(f"upscore: {error}", style="red", markup=False, highlight=False)
        sys.exit(1)
