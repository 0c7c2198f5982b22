"""Options that commands share: shown one by one, handed over together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from loc2.cli.spread import spread


@dataclass(frozen=True, kw_only=True)
class Size:
    width: Annotated[int, typer.Option(min=1, help="How wide.")] = 2
    name: Annotated[str | None, typer.Option("--called")] = None


def test_fields_are_options_in_the_parameters_place() -> None:
    got: list[object] = []

    @spread
    def command(*, first: int, size: Size, last: bool = False, context: typer.Context) -> None:
        """Do it."""
        got.append((first, size, last, context.info_name))

    app = typer.Typer()
    app.command()(command)
    run = CliRunner().invoke
    assert run(app, ["1"]).exit_code == 0
    assert run(app, ["--last", "--width", "5", "--called", "x", "4"]).exit_code == 0
    assert got == [
        (1, Size(), False, "command"),
        (4, Size(width=5, name="x"), True, "command"),
    ]
    assert run(app, ["1", "--width", "0"]).exit_code == 2
    shown = run(app, ["--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    assert "Do it." in shown
    assert shown.index("--width") < shown.index("--called") < shown.index("--last")
