"""Figures and the interactive report of an answer, as the command line asks for them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from loc2.errors import InputError
from loc2.frames import Pose
from loc2.geo.fetch import public_name
from loc2.localization import Localization
from loc2.report import DEFAULT_FIGURES, save_figures, write_report
from loc2.report.save import figure_format, figure_names

REPORT_NAME = "report.html"

Figures = Annotated[
    str | None,
    typer.Option(
        help="all, none, or names of: matches, overlay, posterior, points, depth, separated by "
        "commas; matches,overlay by default.",
        show_default=False,
    ),
]
FigureFormat = Annotated[str, typer.Option(help="png, svg or pdf.")]
Report = Annotated[
    bool, typer.Option("--report", help="Write report.html: one page, interactive, no network.")
]


@dataclass(frozen=True)
class Explanation:
    """What is written beside ``pose.json`` to show why.

    Attributes:
        figures: names of figures.
        figure_format: of :data:`loc2.report.FIGURE_FORMATS`.
        report: whether the interactive report is written.
        command: words of the command line, for the report.
        inputs: further facts for the report, such as file names.
    """

    figures: tuple[str, ...] = DEFAULT_FIGURES
    figure_format: str = "png"
    report: bool = False
    command: tuple[str, ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def checked(
        cls,
        output: Path | None,
        figures: str | None,
        format: str,
        report: bool,
        command: Sequence[str] = (),
        inputs: Mapping[str, object] | None = None,
    ) -> Explanation:
        """Build from options.

        Raises:
            InputError: an unknown figure or format, or files without a folder.
        """
        for option, wanted in (("--figures", figures is not None), ("--report", report)):
            if wanted and output is None:
                raise InputError(f"{option} needs a folder: give --output")
        if figures is None:
            names: Sequence[str] = DEFAULT_FIGURES
        elif figures == "none":
            names = ()
        else:
            names = figure_names([name.strip() for name in figures.split(",")])
        return cls(
            tuple(names),
            figure_format(format),
            report,
            tuple(command),
            tuple((name, without_keys(str(value))) for name, value in (inputs or {}).items()),
        )

    def write(
        self,
        answer: Localization,
        folder: Path,
        *,
        rows: Sequence[tuple[str, str]] = (),
        truth: Pose | None = None,
    ) -> list[Path]:
        """Write the files and return them.

        Args:
            answer: what is shown.
            folder: where.
            rows: further lines of the report's table of the pose, such as the place on earth.
            truth: the true pose where it is known.

        Raises:
            InputError: the report would be too large.
            OutputError: a file cannot be written.
        """
        written = save_figures(answer, folder, self.figures, self.figure_format)
        if self.report:
            facts = dict(self.inputs)
            if self.command:
                facts["command"] = command_line(self.command)
            photo = dict(self.inputs).get("ground file")
            title = "Localization report" if photo is None else Path(photo).name
            path = folder / REPORT_NAME
            written.append(
                write_report(
                    answer, path, title=title, truth=truth, provenance=facts, pose_rows=rows
                )
            )
        return written


def command_line(words: Sequence[str]) -> str:
    """Return a command as it may be shown to others: addresses without users and keys."""
    return "loc2 " + " ".join(shlex.quote(without_keys(word)) for word in words)


def without_keys(word: str) -> str:
    """Return an address without user and query; anything else as it is."""
    return public_name(word) if "://" in word else word
