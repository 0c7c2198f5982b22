"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Weights = Annotated[
    Path | None,
    typer.Option(help="Weights file; the package's own by default.", show_default=False),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...; the CPU by default.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything drawn at random.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
