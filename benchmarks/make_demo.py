"""Make the example pair that ships with the package, from a generated scene.

    python benchmarks/make_demo.py --textures DIR --style city --seed 7005

Photographic textures only colour the rendered images; the files themselves are not shipped.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from PIL import Image

from loc2.scenes.pairs import SceneOptions, generate_pair

DEMO = Path(__file__).parents[1] / "src" / "loc2" / "demo"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--textures", type=Path)
    parser.add_argument("--style", default="city")
    parser.add_argument("--seed", type=int, default=7005)
    arguments = parser.parse_args()
    pair = generate_pair(
        arguments.seed,
        SceneOptions(
            styles=(arguments.style,),
            textures=arguments.textures,
            cropped_share=0.0,
            ground_width=1024,
            meters_per_pixel=(0.1, 0.1),
            aerial_size=600,
            max_offset=0.2,
        ),
    )
    DEMO.mkdir(exist_ok=True)
    Image.fromarray(pair.ground).save(DEMO / "ground.jpg", quality=90)
    Image.fromarray(pair.aerial).save(DEMO / "aerial.jpg", quality=90)
    row = {
        "id": "demo_street",
        "ground": "ground.jpg",
        "aerial": "aerial.jpg",
        "meters_per_pixel": f"{pair.meters_per_pixel:g}",
        "east_m": f"{pair.pose.east_m:.3f}",
        "north_m": f"{pair.pose.north_m:.3f}",
        "heading_deg": f"{pair.pose.heading_deg:.3f}",
        "camera_height_m": f"{pair.camera_height_m:.3f}",
        "roll_deg": f"{pair.camera.roll_deg:.3f}",
        "pitch_deg": f"{pair.camera.pitch_deg:.3f}",
    }
    with (DEMO / "pair.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
