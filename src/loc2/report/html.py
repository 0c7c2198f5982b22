"""The interactive report of one localization: a single file that needs no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import loc2
from loc2.errors import InputError
from loc2.frames import Pose, heading_error_deg
from loc2.localization import Localization
from loc2.outputs import atomic_path, readable
from loc2.report.figures.camera import ellipse_90, heading_half_width_deg, pose_px
from loc2.report.figures.style import PROBABILITY_COLORS
from loc2.report.page import Markup, asset, build_page, fill, json_block, table
from loc2.report.payload import jpeg_uri, payload
from loc2.report.verdict import TRUST_CONFIDENCE, Verdict, is_probability, judge

MAX_BYTES = 8_000_000
"""No report is larger."""
STACKED_ASPECT = 2.4
"""Ground images wider than this stand above the aerial image; others beside it, all in sight."""
LINES_AT_FIRST = 80
"""Matches shown when the page opens, the strongest."""
_SETTING_NAMES = {
    "heading_prior_deg": "heading was expected at, degrees",
    "heading_range_deg": "heading was searched within, ± degrees",
    "position_prior_m": "position was expected at, metres",
    "position_radius_m": "position was searched within, metres",
    "center_sigma_m": "position was expected about the centre, standard deviation, metres",
    "camera_height_m": "camera height, metres",
    "camera_height_sigma": "camera height was taken to be known to, standard deviation as a share",
    "far_share": "weight of far cells that the depth head lifted, beside all others",
    "confidence": "confidence means",
}
_LEFT_OUT_IF_UNUSED = ("camera_height_sigma", "far_share")
SIGNS = {"trust": "✓", "check": "?", "reject": "✕"}


def write_report(
    localization: Localization,
    path: Path,
    *,
    title: str = "Localization report",
    truth: Pose | None = None,
    provenance: Mapping[str, object] | None = None,
    pose_rows: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write the report of a localization as one HTML file.

    Args:
        localization: what to show.
        path: file to write, whole or not at all.
        title: heading of the page; any text, it is escaped.
        truth: the true pose, where it is known.
        provenance: further rows of the provenance table, such as input files and the command;
            any text, it is escaped.
        pose_rows: further rows of the table of the pose, such as the place on earth.

    Returns:
        The path.

    Raises:
        OutputError: the file cannot be written.
        InputError: the page would exceed :data:`MAX_BYTES`.
    """
    page = render_report(
        localization, title=title, truth=truth, provenance=provenance, pose_rows=pose_rows
    )
    encoded = readable(page).encode("utf-8")
    if len(encoded) > MAX_BYTES:
        raise InputError(
            f"report: {len(encoded)} bytes, more than {MAX_BYTES}; give smaller images"
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded)
    return path


def render_report(
    localization: Localization,
    *,
    title: str = "Localization report",
    truth: Pose | None = None,
    provenance: Mapping[str, object] | None = None,
    pose_rows: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the page of :func:`write_report` as text."""
    verdict = judge(localization)
    style = asset("report.css")
    script = "".join(asset(n) for n in ("theme.js", "model.js", "view.js", "control.js"))
    data = payload(localization, truth)
    data["probabilityColors"] = [
        [round(255 * c) for c in PROBABILITY_COLORS(i / 63)] for i in range(64)
    ]
    ground_h, ground_w = localization.ground_image.shape[1:]
    wide = ground_w > STACKED_ASPECT * ground_h
    total = len(localization.cells.weight)
    values = {
        "data": json_block(data),
        **_verdict_values(localization, verdict),
        "pose_table": _pose_table(localization, truth, pose_rows),
        "kind": "panorama" if wide else "photo",
        "threshold": round(1000 * max(0, total - LINES_AT_FIRST) / total) if total else 0,
        "ground_image": Markup(jpeg_uri(localization.ground_image)),
        "aerial_image": Markup(jpeg_uri(localization.aerial_image)),
        "bearing_key": "yellow ahead, red right, violet behind, blue left",
        "truth_key": " The green cross is the true camera." if truth is not None else "",
        "timings_table": _timings_table(localization),
        "provenance_table": _provenance_table(localization, provenance or {}),
    }
    return build_page("report.html", title=title, style=style, script=script, values=values)


def _verdict_values(localization: Localization, verdict: Verdict) -> dict[str, object]:
    reasons = "".join(fill("<li>{{reason}}</li>", {"reason": r}) for r in verdict.reasons)
    return {
        "level": verdict.level,
        "sign": SIGNS[verdict.level],
        "headline": verdict.headline,
        "advice": verdict.advice,
        "confidence_name": "Confidence" if is_probability(localization) else "Agreeing matches",
        "confidence": f"{localization.confidence:.4f}",
        "low": f"{min(localization.abstain_below, TRUST_CONFIDENCE):.4f}",
        "high": f"{TRUST_CONFIDENCE:.4f}",
        "confidence_percent": f"{localization.confidence:.0%}",
        "reasons": Markup(reasons),
    }


def _pose_table(
    localization: Localization, truth: Pose | None, further: Sequence[tuple[str, str]]
) -> Markup:
    pose = localization.pose
    u, v = pose_px(localization, pose).tolist()
    long_m, short_m, bearing_deg = ellipse_90(localization.covariance)
    rows: list[tuple[str, str]] = [
        ("east of the image's centre", _signed(pose.east_m)),
        ("north of the image's centre", _signed(pose.north_m)),
        ("heading, clockwise from up", f"{pose.heading_deg:.1f}°"),
        (
            "90 % of positions within",
            f"± {long_m:.1f} m along {bearing_deg:.0f}°, ± {short_m:.1f} m across",
        ),
        ("90 % of headings within", f"± {heading_half_width_deg(localization.covariance):.1f}°"),
        ("pixel in the aerial image", f"{u:.1f}, {v:.1f}"),
        ("scale, metres per depth unit", f"{pose.scale:.3f}"),
        *further,
    ]
    if truth is not None:
        error_m = math.hypot(pose.east_m - truth.east_m, pose.north_m - truth.north_m)
        error_deg = heading_error_deg(pose.heading_deg, truth.heading_deg)
        rows.append(("error against the truth", f"{error_m:.2f} m, {error_deg:.1f}°"))
    return table(rows)


def _timings_table(localization: Localization) -> Markup:
    times = localization.timings_s
    rows = [(stage, f"{1000 * seconds:.0f} ms") for stage, seconds in times.items()]
    return table([*rows, ("together", f"{1000 * sum(times.values()):.0f} ms")], numbers=True)


def _provenance_table(localization: Localization, extra: Mapping[str, object]) -> Markup:
    aerial_h, aerial_w = localization.aerial_image.shape[1:]
    ground_h, ground_w = localization.ground_image.shape[1:]
    mpp = localization.meters_per_pixel
    camera = localization.camera
    rows: list[tuple[str, object]] = [
        *((str(name), value) for name, value in extra.items()),
        ("software", f"loc2 {loc2.__version__}"),
        ("weights", localization.weights),
        ("ground image", f"{ground_w} × {ground_h} px, {type(camera).__name__.lower()}"),
        (
            "aerial image",
            f"{aerial_w} × {aerial_h} px, {mpp:.4g} m/px, "
            f"{aerial_w * mpp:.0f} × {aerial_h * mpp:.0f} m",
        ),
        ("depth", _depth_words(localization)),
    ]
    told = {name for name, _ in rows}
    for name, value in localization.settings.items():
        label = _SETTING_NAMES.get(name, name.replace("_", " "))
        if label not in told and (value or name not in _LEFT_OUT_IF_UNUSED):
            rows.append((label, _plain(value)))
    return table(rows)


def _signed(length_m: float) -> str:
    return f"{length_m:+.2f} m".replace("-", "−")


def _depth_words(localization: Localization) -> str:
    depth = localization.depth
    unit = "metric" if depth.metric else "relative"
    share = float(depth.valid.float().mean())
    return f"{depth.source}, {unit}, {depth.kind}, {share:.0%} of the photo valid"


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_plain(part)}" for name, part in value.items())
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)
