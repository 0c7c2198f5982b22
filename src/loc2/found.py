"""What every kind of network makes of a pair of images, before it becomes an answer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from loc2.depth import DepthMap
from loc2.localization import GroundCells, Hypothesis, Matches
from loc2.pose.confidence import Statistics
from loc2.pose.posterior import PoseMode, PosePosterior, PosePrior


@dataclass(frozen=True)
class Found:
    """What a network and a solver make of a pair of images.

    Attributes:
        posterior: of the solver.
        hypotheses: modes, most massive first, scales in metres per unit of the depth that was used.
        cells: ground cells that took part.
        matches: point matches with inlier flags.
        depth: depth map used for lifting.
        solver: name of the solver.
        confidence: see :class:`loc2.localization.Localization`.
        statistics: of the posterior and the matches, by which answers are judged.
        prior: what was known before matching, of the depth's scale too.
        far_share: what far cells weighed in the vote beside ``cells``, lifted by the depth head.
    """

    posterior: PosePosterior
    hypotheses: tuple[Hypothesis, ...]
    cells: GroundCells
    matches: Matches
    depth: DepthMap
    solver: str
    confidence: float
    statistics: Statistics
    prior: PosePrior
    far_share: float = 0.0


def hypotheses_of(modes: Sequence[PoseMode], unit_m: float) -> tuple[Hypothesis, ...]:
    """Return a solver's modes as hypotheses, their scales in metres per unit of the depth.

    Args:
        modes: found for ground points in metres.
        unit_m: metres per unit of depth by which these points had been multiplied.
    """
    return tuple(
        Hypothesis(replace(mode.pose, scale=mode.pose.scale * unit_m), mode.mass, mode.covariance)
        for mode in modes
    )


@contextmanager
def timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Add the seconds that the block takes to the timings of a stage."""
    start = time.perf_counter()
    yield
    timings[stage] = time.perf_counter() - start
