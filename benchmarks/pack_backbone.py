"""Store a backbone as the package ships it, and say how far its features move.

    python benchmarks/pack_backbone.py WEIGHTS OUTPUT.safetensors --image PHOTO

WEIGHTS are DINOv2's under the official or the Hugging Face names. Matrices go into 8 bits with a
scale for each row. With ``--image`` it prints the cosines between the features of the photo before
and after.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional

from loc2.features import load_vit
from loc2.features.checkpoints import pack
from loc2.inputs import load_image

SIDE_PX = 504


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--image", type=Path)
    arguments = parser.parse_args()
    before = load_vit(arguments.weights)
    save_file(pack(before.state_dict()), arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.2f} MB")
    if arguments.image is None:
        return
    after = load_vit(arguments.output)
    image = load_image(arguments.image, "image")[None]
    image = functional.interpolate(image, (SIDE_PX, 2 * SIDE_PX), mode="bilinear")
    last = before.config.depth - 1
    with torch.inference_mode():
        for block in (last - 3, last):
            kept, moved = before(image, (block,))[0], after(image, (block,))[0]
            cosines = functional.cosine_similarity(kept, moved, dim=1)
            print(f"block {block}: cosine mean {cosines.mean():.5f}, least {cosines.min():.5f}")


if __name__ == "__main__":
    main()
