"""How photographs of generated scenes are developed: families of cameras and of orthophotos.

The mean lightness, contrast and sharpness of each family follow what street panoramas and
orthophotos of several countries show; within a family everything varies.
"""

from __future__ import annotations

import numpy as np

from loc2.scenes.sensor import Development


def _balance(rng: np.random.Generator, warmth: float, tint: float) -> tuple[float, float, float]:
    """Return white balance factors from normal errors of the given sizes."""
    w, t = float(rng.normal() * warmth), float(rng.normal() * tint)
    return float(np.exp(w)), float(np.exp(t)), float(np.exp(-w))


def draw_ground_look(rng: np.random.Generator, panorama: bool) -> Development:
    """Draw the development of a street photo."""
    sharp = rng.random() < 0.6
    return Development(
        exposure_ev=float(np.clip(rng.normal(0.08, 0.38), -1.0, 0.9)),
        white_balance=_balance(rng, 0.06, 0.02),
        veil=float(rng.exponential(0.01)),
        vignetting=0.0 if panorama else float(rng.uniform(0.0, 0.45)),
        blur_px=float(rng.uniform(0.15, 0.5) if sharp else rng.uniform(0.4, 1.0)),
        resolution=float(rng.uniform(0.5, 1.0)) if rng.random() < 0.25 else 1.0,
        noise=float(rng.exponential(0.008)),
        contrast=float(rng.uniform(0.95, 1.45)),
        saturation=float(rng.uniform(0.6, 1.2)),
        sharpening=float(rng.uniform(0.3, 1.3)) if sharp else 0.0,
        jpeg_quality=int(rng.integers(55, 95)),
    )


def draw_aerial_look(rng: np.random.Generator) -> Development:
    """Draw the development of an orthophoto.

    Crisp and dark, plain, from a satellite, with shadows that are nearly black, or hazy.
    """
    families = ["crisp", "plain", "satellite", "deep", "hazy"]
    family = str(rng.choice(families, p=[0.34, 0.28, 0.17, 0.12, 0.09]))
    noise, quality = float(rng.exponential(0.008)), int(rng.integers(45, 95))
    if family == "crisp":
        return Development(
            exposure_ev=float(np.clip(rng.normal(-0.85, 0.45), -2.0, 0.3)),
            white_balance=_balance(rng, 0.08, 0.03), veil=float(rng.uniform(0.0, 0.015)),
            blur_px=float(rng.uniform(0.15, 0.5)), contrast=float(rng.uniform(1.15, 1.75)),
            saturation=float(rng.uniform(0.5, 1.05)), sharpening=float(rng.uniform(0.6, 2.2)),
            noise=noise, jpeg_quality=quality,
        )  # fmt: skip
    if family == "satellite":
        return Development(
            exposure_ev=float(np.clip(rng.normal(-0.7, 0.45), -2.0, 0.3)),
            white_balance=_balance(rng, 0.12, 0.05), veil=float(rng.uniform(0.0, 0.03)),
            veil_rgb=(0.7, 0.85, 1.3), blur_px=float(rng.uniform(0.6, 1.3)),
            resolution=float(rng.uniform(0.2, 0.7)), contrast=float(rng.uniform(1.3, 2.0)),
            saturation=float(rng.uniform(0.6, 1.2)), sharpening=float(rng.uniform(0.4, 1.8)),
            noise=noise, jpeg_quality=quality,
        )  # fmt: skip
    if family == "deep":
        cold = float(rng.uniform(0.0, 0.12))
        return Development(
            exposure_ev=float(np.clip(rng.normal(-0.75, 0.4), -1.7, 0.2)),
            white_balance=(float(np.exp(-cold)), 1.0, float(np.exp(cold))),
            veil=float(rng.uniform(0.005, 0.03)), veil_rgb=(0.6, 0.75, 1.6),
            blur_px=float(rng.uniform(0.3, 1.1)), resolution=float(rng.uniform(0.3, 1.0)),
            contrast=float(rng.uniform(1.5, 2.3)), saturation=float(rng.uniform(0.6, 1.1)),
            sharpening=float(rng.uniform(0.3, 1.5)), noise=noise, jpeg_quality=quality,
        )  # fmt: skip
    hazy = family == "hazy"
    return Development(
        exposure_ev=float(np.clip(rng.normal(-0.65, 0.4), -1.8, 0.5)),
        white_balance=_balance(rng, 0.09, 0.03),
        veil=float(rng.uniform(0.04, 0.14) if hazy else rng.uniform(0.0, 0.02)),
        veil_rgb=(0.75, 0.9, 1.1), blur_px=float(rng.uniform(0.3, 1.0)),
        resolution=float(rng.uniform(0.35, 1.0)) if rng.random() < 0.35 else 1.0,
        contrast=float(rng.uniform(1.1, 1.7)), saturation=float(rng.uniform(0.6, 1.15)),
        sharpening=float(rng.uniform(0.0, 1.2)), noise=noise, jpeg_quality=quality,
    )  # fmt: skip
