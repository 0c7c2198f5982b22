"""The command line: one small file for each command."""

from __future__ import annotations

import io
import os
import sys
from typing import cast

import typer

from loc2 import __version__
from loc2.errors import Loc2Error

INPUT_ERROR_EXIT = 2
INTERRUPTED_EXIT = 130
CLOSED_PIPE_EXIT = 1

# typer brings its own copy of click in some versions; this is the usage error of the one in use.
_UsageError = cast("type[Exception]", typer.BadParameter.__base__)


def build_app() -> typer.Typer:
    """Assemble the commands."""
    # Imported here: `loc2 --version` should not wait for torch.
    from loc2.cli import data, depth, scenes, weights
    from loc2.cli.batch import batch
    from loc2.cli.bench import bench
    from loc2.cli.compare import compare_results
    from loc2.cli.demo import demo
    from loc2.cli.eval_kitti import eval_kitti
    from loc2.cli.eval_pairs import eval_pairs
    from loc2.cli.eval_scenes import eval_scenes
    from loc2.cli.eval_vigor import eval_vigor
    from loc2.cli.localize import localize
    from loc2.cli.train import train

    app = typer.Typer(
        help="Find a ground photo's position and heading in an aerial image, and show why.",
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    evaluate = typer.Typer(help="Measure localization on data with known truth.")
    app.command()(localize)
    app.command()(batch)
    app.command()(demo)
    app.command()(bench)
    app.command()(train)
    app.command("compare")(compare_results)
    evaluate.command("pairs")(eval_pairs)
    evaluate.command("scenes")(eval_scenes)
    evaluate.command("vigor")(eval_vigor)
    evaluate.command("kitti")(eval_kitti)
    app.add_typer(evaluate, name="eval")
    app.add_typer(data.app, name="data")
    app.add_typer(depth.app, name="depth")
    app.add_typer(scenes.app, name="scenes")
    app.add_typer(weights.app, name="weights")
    return app


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: command-line words without the program's name; those of the process by default.

    Returns:
        The exit code: 0, or 2 with one line on standard error for anything the user can mend
        (130 when interrupted, 1 when the reader of its output has gone).
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments == ["--version"]:
            typer.echo(__version__)
            return 0
        command = typer.main.get_command(build_app())
        result = command.main(
            arguments or ["--help"], prog_name="loc2", standalone_mode=False, obj=tuple(arguments)
        )
        if sys.stdout is not None:  # as it is where nobody can read it
            sys.stdout.flush()
    except _UsageError as error:
        return _fail(str(getattr(error, "format_message", error.__str__)()))
    except Loc2Error as error:
        return _fail(str(error))
    except BrokenPipeError:
        # Who read the output (`| head`) has enough. Nothing is left to be written on exit either;
        # the code is that of rich, which catches this itself where it prints.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE_EXIT
    except OSError as error:
        # A path that is too long or in a barred folder, or nowhere left to write to.
        named = "" if error.filename is None else f"{error.filename}: "
        return _fail(f"{named}{error.strerror or error}")
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED_EXIT
    return result if isinstance(result, int) else 0


def _fail(message: str) -> int:
    line = " ".join(message.split())
    typer.echo(f"error: {line}", err=True)
    return INPUT_ERROR_EXIT


def run() -> None:
    """Entry point of the ``loc2`` program."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that has no sign for degrees
    sys.exit(main())
