"""Figures as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from loc2.errors import InputError
from loc2.localization import Localization
from loc2.outputs import atomic_path
from loc2.report.figures import FIGURES

DEFAULT_FIGURES = ("matches", "overlay")
"""What is drawn when nothing else is asked for."""
FIGURE_FORMATS = ("png", "svg", "pdf")


def save_figures(
    localization: Localization,
    directory: Path,
    names: Sequence[str] = DEFAULT_FIGURES,
    format: str = "png",
    *,
    dpi: int = 160,
) -> list[Path]:
    """Draw figures and write them as ``NAME.FORMAT``.

    Args:
        localization: what to show.
        directory: folder, created if missing.
        names: keys of :data:`FIGURES`, or ``("all",)``.
        format: one of :data:`FIGURE_FORMATS`.
        dpi: resolution of PNG files and of images inside the others, dots per inch.

    Returns:
        The files, in the order of the names.

    Raises:
        InputError: a figure or format of that name does not exist.
        OutputError: the folder cannot be written.
    """
    chosen = figure_names(names)
    figure_format(format)
    paths = [directory / f"{name}.{format}" for name in chosen]
    for name, path in zip(chosen, paths, strict=True):
        write_figure(FIGURES[name](localization), path, dpi=dpi)
    return paths


def figure_format(name: str) -> str:
    """Check the name of a figure's format.

    Raises:
        InputError: there is no such format.
    """
    if name not in FIGURE_FORMATS:
        raise InputError(f"figure format {name!r}: choose from {', '.join(FIGURE_FORMATS)}")
    return name


def figure_names(names: Sequence[str]) -> list[str]:
    """Check names of figures; ``all`` stands for every one.

    Raises:
        InputError: a figure of that name does not exist.
    """
    chosen = list(FIGURES) if list(names) == ["all"] else list(dict.fromkeys(names))
    for name in chosen:
        if name not in FIGURES:
            raise InputError(f"figure {name!r}: choose from {', '.join(FIGURES)}, or all")
    return chosen


def write_figure(figure: Figure, path: Path, *, dpi: int = 160) -> None:
    """Write a figure whole or not at all; the format is that of the file's suffix.

    The same figure gives the same bytes: no dates, fixed identifiers.

    Raises:
        OutputError: the file cannot be written.
    """
    metadata = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[path.suffix[1:]]
    with (
        atomic_path(path) as temporary,
        matplotlib.rc_context({"svg.hashsalt": "loc2", "svg.fonttype": "path", "pdf.fonttype": 42}),
    ):
        figure.savefig(temporary, dpi=dpi, metadata=metadata)
