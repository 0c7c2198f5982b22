"""From image features to descriptors, and from descriptors to matches."""

from loc2.matching.correlation import dual_softmax, evidence_map, sample_matches
from loc2.matching.heads import (
    CellDepth,
    GroundDescription,
    GroundHead,
    HeadConfig,
    ResidualConvHead,
)

__all__ = [
    "CellDepth",
    "GroundDescription",
    "GroundHead",
    "HeadConfig",
    "ResidualConvHead",
    "dual_softmax",
    "evidence_map",
    "sample_matches",
]
