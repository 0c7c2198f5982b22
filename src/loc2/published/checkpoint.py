"""Import of the released checkpoints."""

PUBLISHED_PREFIXES = (
    ("grd_projector.", "ground_projector."),
    ("sat_projector.", "aerial_projector."),
)
"""Published parameter prefixes and ours; everything else has the same name."""
