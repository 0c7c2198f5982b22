"""Large windows: pieces that cover, posteriors that merge."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loc2.cameras import Equirectangular
from loc2.depth import DepthMap
from loc2.frames import Pose
from loc2.geo.frame import MetricArea
from loc2.geo.search import Piece, count_pieces, merge_pieces, plan_pieces
from loc2.localization import GroundCells, Heatmap, Hypothesis, Localization, Matches
from loc2.matching import evidence_map


@settings(max_examples=30, deadline=None)
@given(
    st.floats(-500, 500), st.floats(-500, 500), st.floats(5, 900), st.floats(5, 900),
    st.floats(20, 100),
)  # fmt: skip
def test_pieces_cover_and_cores_tile(east_m, north_m, width_m, height_m, piece_m) -> None:
    window = MetricArea(east_m, north_m, width_m, height_m)
    pieces = plan_pieces(window, piece_m)
    assert len(pieces) == count_pieces(window, piece_m)
    assert sum(p.core.width_m * p.core.height_m for p in pieces) == pytest.approx(
        width_m * height_m, rel=1e-9
    )
    for piece in pieces:
        area, core = piece.area, piece.core
        assert max(area.width_m, area.height_m) <= piece_m + 1e-9
        for center, side, inner, span in (
            (area.east_m, area.width_m, core.east_m, core.width_m),
            (area.north_m, area.height_m, core.north_m, core.height_m),
        ):
            assert abs(inner - center) + span / 2 <= side / 2 + 1e-6
        # Away from the window's border, a quarter of a piece lies around the core.
        if core.east_m + core.width_m / 2 < east_m + width_m / 2 - 1e-6:
            margin_m = area.east_m + area.width_m / 2 - core.east_m - core.width_m / 2
            assert margin_m >= piece_m / 4 - 1e-6
    rows = {round(p.area.north_m, 6) for p in pieces}
    assert [p.area.north_m for p in pieces] == sorted(
        (p.area.north_m for p in pieces), reverse=True
    )
    if width_m <= piece_m and height_m <= piece_m:
        assert len(pieces) == 1 and pieces[0].area == window
    assert len(pieces) % len(rows) == 0


@pytest.mark.parametrize("excess", [0.0, 1e-12, 1e-10])
def test_a_window_of_one_piece_and_a_rounding_error_is_one_piece(excess: float) -> None:
    window = MetricArea(0.0, 0.0, 40.0 * (1 + excess), 40.0)
    assert plan_pieces(window, 40.0) == [Piece(window, window)]


def answer(
    modes: list[tuple[float, float, float, float]], log_evidence: float, side_m: int = 40
) -> Localization:
    """Return a made-up answer: modes are (east, north, heading, mass), the rest of it is empty."""
    position = torch.zeros(side_m, side_m)
    for east_m, north_m, _, mass in modes:
        position[int(side_m / 2 - north_m), int(side_m / 2 + east_m)] += mass
    nothing = torch.zeros(0, 2)
    hypotheses = tuple(
        Hypothesis(Pose(e, n, h), mass, torch.eye(3) * (1 + i))
        for i, (e, n, h, mass) in enumerate(modes)
    )
    return Localization(
        pose=hypotheses[0].pose,
        covariance=torch.eye(3),
        confidence=modes[0][3],
        hypotheses=hypotheses,
        matches=Matches(nothing, nothing, nothing, torch.zeros(0), torch.zeros(0).bool()),
        cells=GroundCells(nothing, nothing, torch.zeros(0), torch.zeros(0, 1, 1), 1.4),
        heatmap=Heatmap(position, 1.0, torch.ones(72) / 72),
        depth=DepthMap(torch.ones(2, 4), "range", True, torch.ones(2, 4).bool(), "none"),
        camera=Equirectangular(4, 2),
        ground_image=torch.zeros(3, 2, 4),
        aerial_image=torch.zeros(3, 40, 40),
        meters_per_pixel=1.0,
        timings_s={},
        weights="none",
        log_evidence=log_evidence,
    )


WINDOW = MetricArea(100.0, 50.0, 60.0, 40.0)
PIECES = plan_pieces(WINDOW, 40.0)  # two, 20 m apart; cores meet at 100 m east


def test_evidence_weighs_pieces() -> None:
    assert [p.area.east_m for p in PIECES] == [90.0, 110.0]
    left = answer([(-5.2, 3.3, 10.0, 1.0)], 0.0)
    right = answer([(6.1, -2.7, 200.0, 1.0)], 1.0)
    merged = merge_pieces(WINDOW, PIECES, [left, right])
    assert merged.best == 1
    total = 1 + 2.718281828
    assert merged.mass == pytest.approx((1 / total, 2.718281828 / total))
    first, second = merged.hypotheses
    assert (first.pose.east_m, first.pose.north_m) == pytest.approx((116.1, 47.3))
    assert first.mass == pytest.approx(2.718281828 / total) == pytest.approx(merged.confidence)
    assert (second.pose.east_m, second.pose.north_m) == pytest.approx((84.8, 53.3))
    assert merged.heatmap.position.shape == (40, 60)
    row, col = divmod(int(merged.heatmap.position.argmax()), 60)
    assert abs(70.0 + col + 0.5 - 116.1) <= 1.0 and abs(70.0 - row - 0.5 - 47.3) <= 1.0
    assert float(merged.heatmap.position.sum()) == pytest.approx(1.0)
    assert float(merged.heatmap.heading.sum()) == pytest.approx(1.0)


def test_one_place_seen_by_two_pieces_counts_once() -> None:
    """At 95 m east: within both pieces, but in the core of the left one."""
    left = answer([(5.0, 0.0, 90.0, 0.9), (-12.0, 5.0, 0.0, 0.1)], 0.0)
    right = answer([(-15.0, 0.0, 90.0, 0.9), (12.0, 5.0, 0.0, 0.1)], 0.0)
    merged = merge_pieces(WINDOW, PIECES, [left, right])
    assert merged.best == 0
    near = [h for h in merged.hypotheses if abs(h.pose.east_m - 95.0) < 1.0]
    assert len(near) == 1
    assert near[0].mass == pytest.approx(0.9 / 1.1)
    assert merged.mass == pytest.approx((1.0 / 1.1, 0.1 / 1.1))


def test_modes_just_across_the_border_are_kept_once() -> None:
    left = answer([(10.5, 0.0, 90.0, 1.0)], 0.0)  # at 100.5 m: just in the right core
    right = answer([(-10.5, 0.0, 90.0, 1.0)], 0.0)  # at 99.5 m: just in the left core
    merged = merge_pieces(WINDOW, PIECES, [left, right])
    assert len(merged.hypotheses) == 1
    assert merged.hypotheses[0].pose.east_m == pytest.approx(100.0, abs=0.6)


def test_every_mode_in_a_neighbours_core_still_gives_an_answer() -> None:
    left = answer([(18.0, 0.0, 90.0, 1.0)], 0.0)
    right = answer([(-18.0, 0.0, 90.0, 1.0)], 2.0)
    merged = merge_pieces(WINDOW, PIECES, [left, right])
    assert merged.best == 1
    assert merged.hypotheses[0].pose.east_m == pytest.approx(92.0)


def test_a_single_piece_is_unchanged() -> None:
    area = MetricArea(5.0, 6.0, 40.0, 40.0)
    only = answer([(1.0, 2.0, 3.0, 0.7), (-9.0, 2.0, 3.0, 0.2)], -3.0)
    merged = merge_pieces(area, [Piece(area, area)], [only])
    assert [h.mass for h in merged.hypotheses] == pytest.approx([0.7 / 0.9, 0.2 / 0.9])
    assert merged.hypotheses[0].pose == Pose(6.0, 8.0, 3.0)
    without = replace(only, log_evidence=float("nan"))
    again = merge_pieces(area, [Piece(area, area)], [without])
    assert again.hypotheses[0].mass == pytest.approx(0.7 / 0.9)


def test_cells_without_imagery_are_neutral() -> None:
    generator = torch.Generator().manual_seed(0)
    ground, aerial = (
        torch.randn(5, 8, generator=generator),
        torch.randn(8, 4, 6, generator=generator),
    )
    seen = torch.rand(4, 6, generator=generator) > 0.4
    evidence = evidence_map(ground, aerial, seen)
    assert bool((evidence[:, ~seen] == 0).all())
    assert torch.allclose(evidence[:, seen].mean(dim=1), torch.zeros(5), atol=1e-5)
    cosine = torch.einsum("gd,dhw->ghw", ground, aerial)
    assert torch.allclose(evidence[:, seen].diff(dim=1), cosine[:, seen].diff(dim=1), atol=1e-5)
    everywhere = torch.ones(4, 6, dtype=torch.bool)
    assert torch.equal(evidence_map(ground, aerial, everywhere), evidence_map(ground, aerial))
