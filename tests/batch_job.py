"""A tiny network and a manifest of tiny photos; as a program, the command line that knows them."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from loc2.cli import main
from loc2.features import VARIANTS, VitConfig
from loc2.matching import HeadConfig
from loc2.model import Loc2Model, ModelConfig, save_model

VARIANT = "test_batch"
VARIANTS[VARIANT] = VitConfig(embed_dim=16, depth=2, num_heads=2)
METERS_PER_PIXEL = 0.5


def known() -> None:
    """Do nothing: importing this module made the tiny network known."""


def write_weights(path: Path) -> Path:
    """Write a network that answers in milliseconds, with all parts that those that ship have."""
    torch.manual_seed(5)
    head = HeadConfig(hidden_dim=16, num_layers=1, descriptor_dim=8, depth_dim=8)
    config = ModelConfig(
        backbone=VARIANT,
        blocks=(0, 1),
        panorama_cell_deg=22.5,
        aerial_cell_m=4.0,
        head=head,
        default_depth="flat",
        photo_depth="ground",
        far_share=0.5,
    )
    model = Loc2Model(config)
    for parameter in model.parameters():  # the class token and the heads' outputs start at zero
        torch.nn.init.normal_(parameter, std=0.2)
    save_model(model, path, {})
    return path


def write_manifest(folder: Path, photos: int, tiles: int, damaged: int = 0) -> Path:
    """Write photos, aerial images and a manifest; every ``damaged``-th photo is no image."""
    rng = np.random.default_rng(11)
    for tile in range(tiles):
        _noise(rng, 8, 8, (80, 80)).save(folder / f"aerial_{tile}.png")
    path = folder / "photos.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ("id", "ground", "aerial", "meters_per_pixel", "heading_prior_deg", "heading_range_deg")
        )
        for i in range(photos):
            name = f"photo_{i:05d}.png"
            if damaged and i % damaged == damaged - 1:
                (folder / name).write_bytes(b"no image")
            else:
                _noise(rng, 4, 8, (64, 32)).save(folder / name)
            aerial = f"aerial_{i * tiles // photos}.png"
            writer.writerow((f"p{i}", name, aerial, METERS_PER_PIXEL, i * 7 % 360, 30))
    return path


def _noise(rng: np.random.Generator, rows: int, cols: int, size: tuple[int, int]) -> Image.Image:
    coarse = rng.integers(0, 255, (rows, cols, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(sys.argv[1:]))
