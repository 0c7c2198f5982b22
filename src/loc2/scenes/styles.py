"""Styles of places: the distributions that a world is drawn from.

A style says how wide roads are, where houses stand, what they are built of, how dense trees and
cars are, and how roads are marked. Lists of pairs are choices with weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Range = tuple[float, float]
Choice = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Style:
    """The distributions of one kind of place. Lengths in metres.

    Attributes:
        name: name on the command line.
        network: ``grid``, ``organic`` or ``rural``: how roads grow.
        markings: ``us``, ``au``, ``uk``, ``eu``: the country's rules for lines.
        drives_on_left: side of the road that traffic keeps to.
        main_width_m: carriageway of the main road.
        side_width_m: carriageway of the others.
        block_m: distance between junctions.
        median: chance that the main road is a dual carriageway.
        unmarked: chance that a side road carries no lines.
        dead_end: chance that a side road ends in a turning head.
        roundabout: chance that the junction near the camera is a roundabout.
        kerb: chance of kerbs.
        pavement: chance of pavements.
        pavement_width_m: width of a pavement.
        verge_m: strip between carriageway and pavement.
        setback_m: from the carriageway's edge to the front of the buildings.
        lot_m: width of a plot along the road.
        lots: chance that a plot is built on.
        buildings: kinds of buildings.
        street_trees_m: distance between street trees; 0 for none.
        yard_trees: mean number of trees on a plot.
        woods: chance that open land is woodland.
        species: kinds of trees.
        parked: chance that a kerbside place is taken.
        moving: moving cars per 100 m of lane.
        wires: chance of overhead wires.
        open_land: what lies beyond the plots.
        dry: how dry the grass is, 0 green to 1 straw.
        soils: colours of bare soil.
        alley: chance of a lane behind the plots.
        unpaved: chance that a side road is gravel or dirt.
        banks: chance of cuts and embankments beside the main road.
        stands: kinds of woodland.
    """

    name: str
    network: str
    markings: str
    drives_on_left: bool
    main_width_m: Range
    side_width_m: Range
    block_m: Range
    median: float
    unmarked: float
    dead_end: float
    roundabout: float
    kerb: float
    pavement: float
    pavement_width_m: Range
    verge_m: Range
    setback_m: Range
    lot_m: Range
    lots: float
    buildings: Choice
    street_trees_m: Range
    yard_trees: float
    woods: float
    species: Choice
    parked: float
    moving: float
    wires: float
    open_land: Choice
    dry: Range
    soils: Choice
    alley: float
    unpaved: float = 0.0
    banks: float = 0.0
    stands: Choice = (
        ("hardwood", 4.0), ("mixed", 3.0), ("spruce", 1.5), ("pine", 1.5), ("aspen", 0.7)
    )  # fmt: skip


def choose(rng: np.random.Generator, choices: tuple[tuple[T, float], ...]) -> T:
    """Return one of the values, with the given weights."""
    weights = np.array([w for _, w in choices])
    return choices[int(rng.choice(len(choices), p=weights / weights.sum()))][0]


_US_TREES: Choice = (
    ("broadleaf", 4), ("spreading", 2), ("ash", 2), ("conifer", 0.8), ("spruce", 0.5),
    ("pine", 0.9), ("birch", 0.5), ("bush", 1.5),
)  # fmt: skip
_EU_TREES: Choice = (
    ("broadleaf", 4), ("ash", 2), ("spreading", 0.8), ("poplar", 0.7), ("birch", 0.7),
    ("conifer", 0.4), ("pine", 0.3), ("bush", 1.5),
)  # fmt: skip
_AU_TREES: Choice = (
    ("eucalypt", 5),
    ("broadleaf", 3),
    ("spreading", 1.5),
    ("conifer", 0.5),
    ("palm", 0.4),
    ("bush", 2.5),
)

STYLES: dict[str, Style] = {
    s.name: s
    for s in (
        Style(
            name="us-suburb", network="organic", markings="us", drives_on_left=False,
            main_width_m=(7.5, 13), side_width_m=(6.5, 10), block_m=(55, 120), median=0.12,
            unmarked=0.75, dead_end=0.4, roundabout=0.05, kerb=0.75, pavement=0.65,
            pavement_width_m=(1.2, 1.8), verge_m=(0.0, 3.0), setback_m=(6, 13), lot_m=(14, 27),
            lots=0.96, buildings=(("house", 10), ("apartment", 0.4), ("shop", 0.3)),
            street_trees_m=(8, 32), yard_trees=5.0, woods=0.7, species=_US_TREES, parked=0.12,
            moving=0.7, wires=0.45, open_land=(("lawn", 3), ("woods", 3), ("field", 1)),
            dry=(0.0, 0.6), soils=(("brown", 3), ("tan", 2), ("red", 1)), alley=0.15,
        ),
        Style(
            name="au-suburb", network="organic", markings="au", drives_on_left=True,
            main_width_m=(7.5, 14), side_width_m=(6.5, 10), block_m=(50, 110), median=0.18,
            unmarked=0.6, dead_end=0.35, roundabout=0.15, kerb=0.95, pavement=0.75,
            pavement_width_m=(1.1, 1.8), verge_m=(1.5, 6.0), setback_m=(7, 14), lot_m=(15, 24),
            lots=0.93, buildings=(("bungalow", 10), ("apartment", 0.6), ("shop", 0.4)),
            street_trees_m=(7, 22), yard_trees=6.0, woods=0.8, species=_AU_TREES, parked=0.12,
            moving=0.7, wires=0.3, open_land=(("lawn", 3), ("bush", 4), ("bare", 1.5)),
            dry=(0.25, 0.95), soils=(("red", 2), ("tan", 3), ("brown", 2)), alley=0.1,
            stands=(("eucalypt", 6), ("hardwood", 1)),
        ),
        Style(
            name="us-rural", network="rural", markings="us", drives_on_left=False,
            main_width_m=(6.5, 10.5), side_width_m=(4.5, 7), block_m=(120, 300), median=0.08,
            unmarked=0.4, dead_end=0.1, roundabout=0.0, kerb=0.03, pavement=0.0,
            pavement_width_m=(1.5, 1.6), verge_m=(1.5, 5), setback_m=(12, 40), lot_m=(50, 140),
            lots=0.3, buildings=(("house", 4), ("barn", 2), ("farm", 4)),
            street_trees_m=(0, 0), yard_trees=3.0, woods=0.45, species=_US_TREES, parked=0.0,
            moving=0.35, wires=0.6,
            open_land=(("field", 5), ("woods", 3), ("meadow", 2.5), ("bare", 0.7), ("scrub", 1.5)),
            dry=(0.0, 0.95), soils=(("brown", 4), ("tan", 3), ("red", 2), ("grey", 1)), alley=0.0,
            unpaved=0.6, banks=0.25,
        ),
        Style(
            name="us-forest", network="rural", markings="us", drives_on_left=False,
            main_width_m=(6.0, 10.0), side_width_m=(3.5, 6.5), block_m=(150, 400), median=0.06,
            unmarked=0.3, dead_end=0.2, roundabout=0.0, kerb=0.02, pavement=0.0,
            pavement_width_m=(1.5, 1.6), verge_m=(0.8, 4), setback_m=(12, 40), lot_m=(60, 160),
            lots=0.12, buildings=(("house", 6), ("barn", 2), ("farm", 1)),
            street_trees_m=(0, 0), yard_trees=5.0, woods=0.9, species=_US_TREES, parked=0.0,
            moving=0.3, wires=0.35,
            open_land=(("woods", 9), ("meadow", 1.2), ("field", 0.8), ("scrub", 1), ("bare", 0.4)),
            dry=(0.0, 0.8), soils=(("brown", 4), ("tan", 2), ("red", 2), ("grey", 1.5)), alley=0.0,
            unpaved=0.6, banks=0.55,
            stands=(("hardwood", 3), ("mixed", 3), ("spruce", 3), ("pine", 3), ("aspen", 1)),
        ),
        Style(
            name="us-highway", network="rural", markings="us", drives_on_left=False,
            main_width_m=(7.5, 13), side_width_m=(5.5, 8.5), block_m=(120, 300), median=0.72,
            unmarked=0.15, dead_end=0.1, roundabout=0.0, kerb=0.06, pavement=0.0,
            pavement_width_m=(1.5, 1.6), verge_m=(2, 7), setback_m=(18, 45), lot_m=(45, 110),
            lots=0.3, buildings=(("house", 3), ("farm", 2), ("shop", 2), ("warehouse", 2)),
            street_trees_m=(0, 0), yard_trees=2.0, woods=0.4, species=_US_TREES, parked=0.0,
            moving=0.9, wires=0.4,
            open_land=(("field", 4), ("woods", 4), ("meadow", 4), ("bare", 1), ("scrub", 2)),
            dry=(0.0, 0.95), soils=(("brown", 4), ("tan", 3), ("red", 2), ("grey", 1)), alley=0.0,
            unpaved=0.25, banks=0.3,
        ),
        Style(
            name="countryside", network="rural", markings="uk", drives_on_left=True,
            main_width_m=(4.5, 7.5), side_width_m=(3, 5.5), block_m=(90, 220), median=0.0,
            unmarked=0.6, dead_end=0.15, roundabout=0.04, kerb=0.1, pavement=0.15,
            pavement_width_m=(1.2, 1.6), verge_m=(0.8, 3.0), setback_m=(6, 25), lot_m=(30, 90),
            lots=0.35, buildings=(("cottage", 5), ("barn", 2), ("farm", 2)),
            street_trees_m=(0, 0), yard_trees=3.0, woods=0.4, species=_EU_TREES, parked=0.02,
            moving=0.3, wires=0.3,
            open_land=(("field", 4), ("meadow", 4), ("woods", 4)),
            dry=(0.0, 0.5), soils=(("brown", 4), ("grey", 2), ("tan", 1)), alley=0.0,
            unpaved=0.5, banks=0.25,
        ),
        Style(
            name="london", network="grid", markings="uk", drives_on_left=True,
            main_width_m=(7.5, 15), side_width_m=(5.5, 9), block_m=(45, 100), median=0.12,
            unmarked=0.4, dead_end=0.1, roundabout=0.06, kerb=1.0, pavement=1.0,
            pavement_width_m=(2.0, 4.5), verge_m=(0.0, 0.1), setback_m=(2.5, 6.5), lot_m=(14, 45),
            lots=0.99, buildings=(("terrace", 6), ("block", 4), ("office", 1.0), ("lowrise", 2)),
            street_trees_m=(0, 35), yard_trees=0.7, woods=0.1, species=_EU_TREES, parked=0.5,
            moving=1.6, wires=0.0, open_land=(("lawn", 2), ("paved", 2), ("woods", 1)),
            dry=(0.0, 0.4), soils=(("brown", 3), ("grey", 2)), alley=0.15,
        ),
        Style(
            name="eu-town", network="organic", markings="eu", drives_on_left=False,
            main_width_m=(6.0, 12), side_width_m=(4.5, 8), block_m=(40, 95), median=0.06,
            unmarked=0.55, dead_end=0.2, roundabout=0.2, kerb=0.95, pavement=0.9,
            pavement_width_m=(1.4, 3.0), verge_m=(0.0, 1.5), setback_m=(2.0, 7), lot_m=(13, 26),
            lots=0.96, buildings=(("house", 4), ("terrace", 3), ("apartment", 2.5), ("shop", 0.7)),
            street_trees_m=(0, 26), yard_trees=2.4, woods=0.2, species=_EU_TREES, parked=0.35,
            moving=0.9, wires=0.1, open_land=(("lawn", 3), ("woods", 2), ("field", 1)),
            dry=(0.0, 0.5), soils=(("brown", 3), ("grey", 2), ("tan", 1)), alley=0.1,
        ),
        Style(
            name="city", network="grid", markings="us", drives_on_left=False,
            main_width_m=(10, 21), side_width_m=(8, 14), block_m=(70, 130), median=0.25,
            unmarked=0.15, dead_end=0.02, roundabout=0.03, kerb=1.0, pavement=1.0,
            pavement_width_m=(2.5, 6.0), verge_m=(0.0, 0.1), setback_m=(3.0, 8), lot_m=(18, 50),
            lots=0.96, buildings=(("block", 6), ("office", 6), ("shop", 1.5), ("carpark", 1)),
            street_trees_m=(0, 22), yard_trees=0.5, woods=0.1, species=_US_TREES, parked=0.45,
            moving=1.6, wires=0.1, open_land=(("paved", 3), ("lawn", 2)),
            dry=(0.0, 0.6), soils=(("brown", 3), ("tan", 2)), alley=0.3,
        ),
        Style(
            name="industrial", network="grid", markings="eu", drives_on_left=False,
            main_width_m=(7.5, 16), side_width_m=(7, 12), block_m=(80, 170), median=0.2,
            unmarked=0.35, dead_end=0.2, roundabout=0.12, kerb=0.85, pavement=0.6,
            pavement_width_m=(1.3, 2.2), verge_m=(0.0, 3.5), setback_m=(9, 28), lot_m=(35, 80),
            lots=0.85, buildings=(("warehouse", 6), ("shop", 3), ("lowrise", 2), ("carpark", 3)),
            street_trees_m=(0, 30), yard_trees=1.0, woods=0.3, species=_US_TREES, parked=0.08,
            moving=0.9, wires=0.3, open_land=(("meadow", 3), ("bare", 2), ("woods", 1)),
            dry=(0.0, 0.8), soils=(("brown", 3), ("tan", 2), ("grey", 2)), alley=0.05,
        ),
    )
}  # fmt: skip
"""Every style by name. Roughly equal shares when none is asked for."""
