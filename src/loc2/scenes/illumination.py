"""The weather of one photograph: sun, sky and air, drawn at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from loc2.scenes.light import Light, Sky, procedural_sky
from loc2.scenes.texture import srgb_to_linear

DAY_SKIES = (
    "DaySkyHDRI041B", "OutdoorHDRI066", "aristea_wreck_puresky", "hilly_terrain_01",
    "immenstadter_horn", "kloppenheim_05", "noon_grass", "rooitou_park",
)  # fmt: skip
"""Sky photographs by day, looked for in the folder ``sky`` of the textures."""

PHOTO_SKY_SHARE = 0.35


class Skies:
    """Photographic skies of a texture folder, read once; none without a folder."""

    def __init__(self, folder: Path | None) -> None:
        """List the skies that are there."""
        paths = [] if folder is None else [folder / "sky" / f"{name}.jpg" for name in DAY_SKIES]
        self._paths = [p for p in paths if p.is_file()]
        self._read: dict[int, tuple[NDArray[np.float32], float, float, bool]] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._paths)

    def sky(self, index: int) -> tuple[NDArray[np.float32], float, float, bool]:
        """Return radiance, the sun's azimuth and elevation in degrees, and whether it shines."""
        if index not in self._read:
            with Image.open(self._paths[index]) as image:
                pixels = np.asarray(image.convert("RGB").resize((512, 256), Image.Resampling.BOX))
            linear = srgb_to_linear(pixels.astype(np.float32) / 255)
            upper = linear[:128].sum(2)
            row, col = np.unravel_index(int(np.argmax(upper)), upper.shape)
            peak = float(upper.max() / 3)
            mean = float(linear[:120].mean())
            radiance = linear * np.float32(0.75 / max(mean, 0.05))
            radiance = radiance + (linear.min(2, keepdims=True) > 0.93) * np.float32(1.2)
            radiance[128:] = radiance[118:127].mean((0, 1)) * 0.5
            azimuth = ((float(col) + 0.5) / 512 - 0.5) * 360
            elevation = (0.5 - (float(row) + 0.5) / 256) * 180
            self._read[index] = radiance, azimuth, elevation, peak > 0.93 and elevation > 12
        return self._read[index]


def draw_light(rng: np.random.Generator, skies: Skies, *, from_above: bool) -> Light:
    """Draw the illumination of a photograph.

    Args:
        rng: source.
        skies: photographic skies, taken for some ground photos.
        from_above: true for orthophotos, which are taken around noon on clear days.
    """
    azimuth = float(rng.uniform(0, 360))
    low_sun = from_above and rng.random() < 0.3
    elevation = float(
        rng.uniform(18, 34) if low_sun else rng.uniform(30, 66) if from_above
        else np.degrees(np.arcsin(rng.uniform(0.2, 0.95)))
    )  # fmt: skip
    clouds = float(rng.beta(0.6, 0.8)) * (0.3 if from_above else 1.0)
    haze = float(rng.exponential(0.0006))
    bounce = float(rng.uniform(0.12, 0.3))
    if not from_above and len(skies) and rng.random() < PHOTO_SKY_SHARE:
        radiance, azimuth, elevation, shines = skies.sky(int(rng.integers(len(skies))))
        turn = float(rng.uniform(0, 360))
        columns = round(turn / 360 * radiance.shape[1])
        sky = Sky(radiance * np.float32(rng.uniform(0.7, 1.1))).rotated(turn)
        azimuth = (azimuth + columns * 360 / radiance.shape[1]) % 360
        strength = float(rng.uniform(1.4, 2.8)) if shines else 0.0
    else:
        covered = clouds > 0.8
        sky = procedural_sky(
            rng, clouds=1.0 if covered else clouds, sun_azimuth_deg=azimuth,
            sun_elevation_deg=elevation, width=256 if from_above else 512,
        )  # fmt: skip
        sky = _paler(sky, float(rng.uniform(0.1, 0.75)))
        low, high = (2.2, 4.8) if from_above else (1.6, 3.6)
        strength = 0.0 if covered else float(rng.uniform(low, high)) * (1 - 0.4 * clouds)
        if covered and rng.random() < 0.4:
            strength = float(rng.uniform(0.1, 0.8))
    warm = float(np.clip((35 - elevation) / 35, 0, 1)) * float(rng.uniform(0.3, 1.0))
    color = (strength, strength * (0.95 - 0.15 * warm), strength * (0.87 - 0.35 * warm))
    return Light(sky, azimuth, elevation, color, bounce, haze)


def _paler(sky: Sky, share: float) -> Sky:
    """Return the sky with a share of its colour and of its darkness taken, as by thin haze."""
    grey = sky.radiance.mean(2, keepdims=True)
    pale = np.maximum(grey, 0.6 * float(np.median(grey[len(grey) // 4 : len(grey) // 2])))
    return Sky(sky.radiance + (pale - sky.radiance) * np.float32(share))
