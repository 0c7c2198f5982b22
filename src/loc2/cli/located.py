"""What ``loc2 localize`` prints and writes for answers on the earth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from loc2.errors import InputError
from loc2.geo.exif_copy import check_exif_copy, exif_copy
from loc2.geo.formats import parse_formats, write_answers
from loc2.geo.geotiff import write_geotiff
from loc2.geo.locate import Located
from loc2.outputs import atomic_path
from loc2.report.layout import layout_on_aerial


@dataclass(frozen=True)
class OutputFiles:
    """Which files are written beside ``pose.json`` and the figures.

    Attributes:
        folder: where.
        formats: of geojson, csv, kml, gpx.
        exif: a copy of the photo with the answer in its EXIF.
        overlay: the photo laid on the ground, as a GeoTIFF.
    """

    folder: Path | None
    formats: tuple[str, ...]
    exif: bool
    overlay: bool

    @classmethod
    def checked(
        cls, folder: Path | None, formats: str | None, exif: bool, overlay: bool
    ) -> OutputFiles:
        """Build from options.

        Raises:
            InputError: an unknown format, or files without a folder.
        """
        names = () if formats is None else parse_formats(formats)
        for option, wanted in (
            ("--format", names),
            ("--write-exif", exif),
            ("--overlay-geotiff", overlay),
        ):
            if wanted and folder is None:
                raise InputError(f"{option} needs a folder: give --output")
        return cls(folder, names, exif, overlay)

    def check(self, georeferenced: bool, photo: Path) -> None:
        """Refuse early what cannot be written.

        Raises:
            InputError: the files need a place on the earth and the imagery has none, or the photo
                is of a kind that no EXIF is written to.
        """
        if self.exif and self.folder is not None:
            check_exif_copy(photo, self._copy(photo))
        if (self.formats or self.exif or self.overlay) and not georeferenced:
            raise InputError(
                "--format, --write-exif and --overlay-geotiff need georeferenced imagery; a plain "
                "aerial image becomes so by --aerial-center LAT,LON"
            )

    def write(self, located: Located, photo: Path) -> list[Path]:
        """Write the files and return them.

        Raises:
            InputError: the photo's EXIF cannot be written; no file is written then.
            OutputError: a file cannot be written.
        """
        answer = located.answer
        if self.folder is None or answer is None or located.window.frame is None:
            return []
        copy = exif_copy(photo, answer) if self.exif else None
        written = list(write_answers([answer], self.folder / "pose", self.formats))
        if copy is not None:
            path = self._copy(photo)
            with atomic_path(path) as temporary:
                temporary.write_bytes(copy)
            written.append(path)
        if self.overlay:
            path = self.folder / "overlay.tif"
            write_geotiff(
                path,
                layout_on_aerial(located.localization),
                located.window.frame,
                located.window.area,
                attribution=answer.attribution,
            )
            written.append(path)
        return written

    def _copy(self, photo: Path) -> Path:
        assert self.folder is not None
        return self.folder / f"{photo.stem}_located{photo.suffix}"


def located_rows(located: Located) -> list[tuple[str, str]]:
    """Return the lines of the table that say where on earth, and which priors counted."""
    rows = []
    answer = located.answer
    if answer is not None:
        ellipse = answer.ellipse
        rows += [
            ("on earth", f"{answer.latitude_deg:.7f}, {answer.longitude_deg:.7f} (WGS84)"),
            ("true heading", f"{answer.heading_true_deg:.1f}° clockwise from true north"),
            (
                "accuracy",
                f"{ellipse.semi_major_m:.1f} x {ellipse.semi_minor_m:.1f} m, longer axis towards "
                f"{ellipse.azimuth_true_deg:.0f}° ({ellipse.probability:.0%})",
            ),
        ]
        if answer.attribution:
            rows.append(("imagery", answer.attribution))
    if located.pieces > 1:
        rows.append(("searched", f"{located.pieces} overlapping pieces"))
    if located.priors.origins:
        rows.append(("priors", "; ".join(f"{k}: {v}" for k, v in located.priors.origins)))
    return rows


def show_pieces(bar: Progress, done: int, total: int) -> None:
    """Show how many pieces of a large window are searched; nothing for a single one."""
    if total == 1:
        return
    if not bar.tasks:
        bar.add_task("pieces", total=total)
    bar.update(bar.tasks[0].id, completed=done)
