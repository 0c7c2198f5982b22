"""What the ground is made of: surfaces with their texture, colours and mottling."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from loc2.scenes.mesh import SemanticClass
from loc2.scenes.styles import Style, choose

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Surface:
    """One kind of ground. Colours are sRGB, 0 to 255.

    Attributes:
        pattern: name of its texture.
        color: mean colour where the ground is as it was laid or grown.
        other: colour that it is mottled with.
        semantic: its class.
        soft: true when its border is ragged (grass against soil, gravel against grass).
        mottle_m: size of the tile of mottling noise; blotches are about a tenth of it.
        mottle: strength of the mottling.
        grain: strength of the texture.
        straw: colour when dry, for plants; None for surfaces that do not change.
        dry: share of straw, 0 to 1.
        rows_m: distance between plough lines, mower stripes or deck boards; 0 for none.
        rows_deg: direction of the rows, degrees.
        rows: strength of the rows.
    """

    pattern: str
    color: Rgb
    other: Rgb
    semantic: SemanticClass
    soft: bool = False
    mottle_m: float = 30.0
    mottle: float = 0.5
    grain: float = 1.0
    straw: Rgb | None = None
    dry: float = 0.0
    rows_m: float = 0.0
    rows_deg: float = 0.0
    rows: float = 0.0


def jitter(rng: np.random.Generator, color: Rgb, light: float = 0.12, hue: float = 0.04) -> Rgb:
    """Return a colour with random lightness and a little hue."""
    scale = float(np.exp(rng.normal() * light)) * np.exp(rng.normal(size=3) * hue)
    r, g, b = np.clip(np.array(color) * scale, 4, 250)
    return float(r), float(g), float(b)


def mix(a: Rgb, b: Rgb, share: float) -> Rgb:
    """Return the colour between two."""
    return (
        a[0] + (b[0] - a[0]) * share,
        a[1] + (b[1] - a[1]) * share,
        a[2] + (b[2] - a[2]) * share,
    )


_SOILS: dict[str, Rgb] = {
    "brown": (118, 99, 80),
    "tan": (170, 150, 122),
    "red": (152, 109, 86),
    "grey": (138, 131, 119),
}
_GREENS: tuple[Rgb, ...] = ((84, 97, 56), (94, 105, 62), (72, 88, 50), (102, 110, 72), (88, 92, 62))
_STRAWS: tuple[Rgb, ...] = ((164, 149, 114), (146, 131, 99), (176, 161, 126), (132, 122, 96))


class Palette:
    """The surfaces of one world, drawn from its style; each call draws a new variant.

    Attributes:
        soil_rgb: colour of the bare soil here.
        dry: how dry the grass is here.
    """

    def __init__(self, rng: np.random.Generator, style: Style) -> None:
        """Draw what the whole world shares: soil, dryness, greens, the age of its asphalt."""
        self._rng = rng
        self.soil_rgb = jitter(rng, _SOILS[choose(rng, style.soils)])
        self.dry = float(rng.uniform(*style.dry))
        self._green = jitter(rng, _GREENS[int(rng.integers(len(_GREENS)))], 0.1, 0.05)
        self._straw = jitter(rng, _STRAWS[int(rng.integers(len(_STRAWS)))], 0.08, 0.03)
        self._asphalt = float(rng.uniform(88, 162))
        self._asphalt_tone = np.exp(rng.normal(size=3) * np.array([0.03, 0.008, 0.035]))
        self._concrete = jitter(rng, (176, 170, 158), 0.1, 0.02)

    def asphalt(self, semantic: SemanticClass = SemanticClass.ROAD) -> Surface:
        """Bitumen of some age."""
        rng = self._rng
        level = float(np.clip(self._asphalt * np.exp(rng.normal() * 0.13), 58, 176))
        r, g, b = level * self._asphalt_tone
        color = (float(r), float(g), float(b))
        return Surface(
            "asphalt", color, mix(color, (150, 142, 130), float(rng.uniform(0.1, 0.45))), semantic,
            mottle_m=float(rng.uniform(25, 60)), mottle=float(rng.uniform(0.25, 0.8)),
            grain=float(rng.uniform(0.3, 0.9)),
        )  # fmt: skip

    def concrete(self, semantic: SemanticClass = SemanticClass.PAVEMENT) -> Surface:
        """Cast concrete or slabs, as for pavements and drives."""
        rng = self._rng
        color = jitter(rng, self._concrete, 0.07, 0.015)
        pattern = "concrete" if semantic == SemanticClass.ROAD or rng.random() < 0.5 else "slabs"
        return Surface(
            pattern, color, mix(color, (120, 112, 98), float(rng.uniform(0.2, 0.6))), semantic,
            mottle_m=24, mottle=0.4,
        )  # fmt: skip

    def paving(self) -> Surface:
        """The material of this world's pavements."""
        rng = self._rng
        kind = rng.random()
        if kind < 0.6:
            return self.concrete()
        if kind < 0.8:
            return replace(self.asphalt(SemanticClass.PAVEMENT), grain=0.7)
        color = jitter(rng, (150, 112, 96) if rng.random() < 0.6 else (150, 144, 136), 0.12, 0.05)
        return Surface("brick_paving", color, mix(color, (120, 112, 100), 0.4),
                       SemanticClass.PAVEMENT, mottle_m=22)  # fmt: skip

    def drive(self) -> Surface:
        """A drive to a house."""
        kind = self._rng.random()
        if kind < 0.5:
            return self.concrete()
        if kind < 0.75:
            return self.asphalt(SemanticClass.PAVEMENT)
        if kind < 0.88:
            return self.paving()
        return self.gravel(SemanticClass.PAVEMENT)

    def kerb(self) -> Surface:
        """Kerbstones."""
        color = jitter(self._rng, (176, 172, 162), 0.1, 0.015)
        return Surface("concrete", color, mix(color, (110, 104, 94), 0.5), SemanticClass.KERB,
                       mottle_m=14, mottle=0.6)  # fmt: skip

    def gravel(self, semantic: SemanticClass = SemanticClass.TERRAIN) -> Surface:
        """Loose stone, its colour near the soil's."""
        rng = self._rng
        color = jitter(rng, mix((168, 160, 146), self.soil_rgb, float(rng.uniform(0, 0.6))), 0.1)
        return Surface("gravel", color, mix(color, self.soil_rgb, 0.5), semantic, soft=True,
                       mottle_m=26, mottle=0.5, grain=0.8)  # fmt: skip

    def dirt_road(self) -> Surface:
        """An unpaved carriageway."""
        return replace(self.gravel(SemanticClass.ROAD), soft=True)

    def lawn(self, spread: float = 0.15) -> Surface:
        """Mown grass; neighbours differ in how much they water."""
        rng = self._rng
        dry = float(np.clip(self.dry + rng.normal() * spread, 0, 1))
        color = jitter(rng, self._green, 0.09, 0.04)
        striped = rng.random() < 0.15
        return Surface(
            "grass", color, mix(color, self._straw, float(rng.uniform(0.2, 0.7))),
            SemanticClass.TERRAIN, soft=True, mottle_m=float(rng.uniform(18, 60)),
            mottle=float(rng.uniform(0.5, 1.3)), straw=jitter(rng, self._straw, 0.06), dry=dry,
            rows_m=float(rng.uniform(0.9, 1.6)) if striped else 0.0,
            rows_deg=float(rng.uniform(0, 180)), rows=0.07,
        )  # fmt: skip

    def meadow(self) -> Surface:
        """Rough grass with soil showing through."""
        rng = self._rng
        dry = float(np.clip(self.dry + rng.normal() * 0.2 + 0.1, 0, 1))
        color = jitter(rng, self._green, 0.12, 0.05)
        return Surface(
            "grass", color, mix(self._straw, self.soil_rgb, float(rng.random())),
            SemanticClass.TERRAIN, soft=True, mottle_m=float(rng.uniform(30, 120)),
            mottle=float(rng.uniform(0.6, 1.4)), grain=1.3, straw=self._straw, dry=dry,
        )  # fmt: skip

    def bare(self) -> Surface:
        """Bare earth with some grass."""
        rng = self._rng
        color = jitter(rng, self.soil_rgb, 0.12)
        return Surface(
            "soil", color, mix(mix(self._green, self._straw, self.dry), color, float(rng.random())),
            SemanticClass.TERRAIN, soft=True, mottle_m=float(rng.uniform(30, 90)), mottle=1.0,
        )  # fmt: skip

    def mulch(self) -> Surface:
        """Flower beds, bark, and the ground under shrubs."""
        color = jitter(self._rng, mix((104, 80, 60), self.soil_rgb, 0.4), 0.15)
        return Surface("litter", color, mix(color, (150, 130, 100), 0.4), SemanticClass.TERRAIN,
                       soft=True, mottle_m=20)  # fmt: skip

    def forest_floor(self) -> Surface:
        """Litter under trees."""
        rng = self._rng
        color = jitter(rng, mix((108, 92, 66), self.soil_rgb, float(rng.uniform(0, 0.6))), 0.15)
        grown = mix(self._green, self._straw, self.dry)
        return Surface(
            "litter", color, mix(grown, color, float(rng.random())),
            SemanticClass.TERRAIN, soft=True, mottle_m=40, mottle=1.1, grain=0.7,
        )  # fmt: skip

    def field(self) -> Surface:
        """Arable land: ploughed, sown, in crop, stubble, or pasture."""
        rng = self._rng
        kind = rng.random()
        rows_m, rows = float(rng.choice([0.8, 1.5, 3.0, 6.0])), float(rng.uniform(0.04, 0.22))
        deg, blotch_m = float(rng.uniform(0, 180)), float(rng.uniform(60, 220))
        if kind < 0.35:
            color = jitter(rng, self.soil_rgb, 0.15)
            return Surface(
                "soil", color, mix(color, self._straw, 0.4), SemanticClass.TERRAIN, soft=True,
                mottle_m=blotch_m, mottle=1.0, rows_m=rows_m, rows_deg=deg, rows=rows,
            )  # fmt: skip
        green = jitter(rng, (74, 98, 50) if kind < 0.65 else self._green, 0.18, 0.05)
        if kind > 0.85:
            green = jitter(rng, self._straw, 0.12)
        return Surface(
            "grass", green, mix(green, self._straw, 0.35), SemanticClass.TERRAIN, soft=True,
            mottle_m=blotch_m, mottle=0.9, grain=0.8, straw=self._straw,
            dry=float(np.clip(self.dry - 0.1 + rng.normal() * 0.2, 0, 1)),
            rows_m=rows_m, rows_deg=deg, rows=rows,
        )  # fmt: skip

    def water(self) -> Surface:
        """Ponds, rivers, pools."""
        rng = self._rng
        color = jitter(rng, (64, 78, 74), 0.2, 0.08)
        return Surface("water", color, mix(color, (96, 96, 76), 0.5), SemanticClass.WATER,
                       mottle_m=90, mottle=0.3, grain=0.7)  # fmt: skip

    def pool(self) -> Surface:
        """A swimming pool."""
        color = jitter(self._rng, (96, 176, 192), 0.1, 0.05)
        return Surface("water", color, mix(color, (60, 130, 170), 0.5), SemanticClass.WATER,
                       mottle_m=20)  # fmt: skip
