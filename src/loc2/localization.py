"""The answer: a pose with its uncertainty and everything needed to show why."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from torch import Tensor
from torch.nn import functional

from loc2.cameras import Camera
from loc2.depth.base import DepthMap
from loc2.frames import Pose
from loc2.pose.confidence import Statistics

PROBABILITY = "probability of being right"
"""``settings["confidence"]`` of answers whose confidence is a probability."""
INLIER_SHARE = "share of matches that agree"
"""``settings["confidence"]`` where it is no probability: wrong answers reach high shares too."""


@dataclass(frozen=True)
class Hypothesis:
    """One mode of the posterior.

    Attributes:
        pose: where the mode is.
        mass: posterior probability that the mode holds; all masses together are at most 1.
        covariance: (3, 3) of (east, north, heading); m, m, degrees; None where it is not known.
    """

    pose: Pose
    mass: float
    covariance: Tensor | None = None


@dataclass(frozen=True)
class Matches:
    """Ground points, where each was found from above, and how well.

    Attributes:
        ground_px: (N, 2) pixels (u, v) in the ground image.
        aerial_px: (N, 2) pixels (u, v) in the aerial image.
        bev: (N, 2) lifted ground points (right, forward), units of depth.
        weight: (N,) match probability; zero for a point that the pose puts outside the window.
        inlier: (N,) bool, True where the pose brings the point within 2.5 m of its match. Matches
            are looked for within 6 m of where the pose puts a point, so by chance alone about a
            sixth of them agree.
    """

    ground_px: Tensor
    aerial_px: Tensor
    bev: Tensor
    weight: Tensor
    inlier: Tensor


@dataclass(frozen=True)
class GroundCells:
    """All cells of the ground image that took part, and their evidence over the aerial window.

    Where ``far_share`` in an answer's settings is not 0, the farther half of what the depth head
    sees voted too, at the range that it tells; these are not among them.

    Attributes:
        ground_px: (G, 2) pixels (u, v) of the cell centres in the ground image.
        bev: (G, 2) lifted points (right, forward), units of depth.
        weight: (G,) weight in the vote, one beside the other, summing to 1.
        evidence: (G, h, w) similarity above average; row 0 is the top of the image.
        cell_size_m: side of an aerial cell, metres; the grid is centred on the aerial image.
        temperature: evidence over temperature is the log-probability of a cell, up to a constant
            for each ground point.
    """

    ground_px: Tensor
    bev: Tensor
    weight: Tensor
    evidence: Tensor
    cell_size_m: float
    temperature: float = 0.1

    @property
    def half_size_m(self) -> tuple[float, float]:
        """Half the aerial grid's extent towards east and north, metres."""
        _, rows, cols = self.evidence.shape
        return cols * self.cell_size_m / 2, rows * self.cell_size_m / 2

    def over_squares(self, parts: int) -> GroundCells:
        """Return the same ground cells over squares of aerial cells, whose mean evidence counts.

        Args:
            parts: cells along the side of a square; divides h and w.
        """
        if parts == 1:
            return self
        evidence = functional.avg_pool2d(self.evidence, parts)
        return replace(self, evidence=evidence, cell_size_m=parts * self.cell_size_m)


@dataclass(frozen=True)
class Heatmap:
    """The posterior seen from above and over headings.

    Attributes:
        position: (rows, cols) probability of each position cell, summing to at most 1; row 0 is
            the north edge; the grid is centred on the aerial image.
        step_m: side of a position cell, metres.
        heading: (K,) probability of the headings 0, 360 / K, ... degrees.
    """

    position: Tensor
    step_m: float
    heading: Tensor


@dataclass(frozen=True)
class Localization:
    """Where a ground image was taken, how sure that is, and what it rests on.

    Attributes:
        pose: position in the aerial metric frame, heading and scale.
        covariance: (3, 3) of (east, north, heading); m, m, degrees.
        confidence: estimated probability that the position error is under 5 m and the heading
            error under 10 degrees.
        hypotheses: modes, most massive first; the first is ``pose``'s.
        matches: point matches with inlier flags.
        cells: the ground cells that voted.
        heatmap: marginals of the posterior.
        depth: depth map used for lifting.
        camera: camera of the ground image.
        ground_image: (3, H, W) RGB in [0, 1].
        aerial_image: (3, H, W) RGB in [0, 1].
        meters_per_pixel: of the aerial image, metres.
        timings_s: seconds for each stage.
        weights: name of the weights.
        settings: what was asked for (priors, solver, ...), for provenance.
        log_evidence: how well the whole window explains the ground image (see
            :class:`loc2.pose.posterior.PosePosterior`); NaN where it was not computed.
        statistics: what confidence and radius were computed from; None where nothing was.
        radius_90_m: radius about the position that holds the truth in nine cases of ten, metres;
            None where it is not known.
        abstain_below: answers of smaller confidence should not be used.
    """

    pose: Pose
    covariance: Tensor
    confidence: float
    hypotheses: tuple[Hypothesis, ...]
    matches: Matches
    cells: GroundCells
    heatmap: Heatmap
    depth: DepthMap
    camera: Camera
    ground_image: Tensor
    aerial_image: Tensor
    meters_per_pixel: float
    timings_s: dict[str, float]
    weights: str
    settings: dict[str, object] = field(default_factory=dict)
    log_evidence: float = math.nan
    statistics: Statistics | None = None
    radius_90_m: float | None = None
    abstain_below: float = 0.5

    @property
    def abstains(self) -> bool:
        """Whether the answer is too doubtful to be used."""
        return self.confidence < self.abstain_below

    @property
    def scale(self) -> float:
        """Metres per unit of the depth that was used; about 1 for metric depth."""
        return self.pose.scale
