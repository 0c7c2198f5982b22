"""Time and memory of the published network at published sizes, stage by stage.

Random weights serve: they change neither. Usage:

    python benchmarks/published_sizes.py --config loc2-vigor --dtype float32 --device cpu --repeat 3
"""

import argparse
import json
import resource
import statistics

import torch

from loc2.cameras import Camera, Equirectangular, Pinhole
from loc2.depth import DepthMap
from loc2.features import VARIANTS, VisionTransformer
from loc2.published.compat import Compatibility
from loc2.published.config import CONFIGS
from loc2.published.localizer import PublishedLocalizer
from loc2.published.model import PublishedModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", choices=sorted(CONFIGS), default="loc2-vigor")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--solver", choices=["procrustes", "ransac", "voting"], default=None)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()

    config = CONFIGS[arguments.config].model_copy(
        update={"compatibility": Compatibility.released()}
    )
    dtype = getattr(torch, arguments.dtype)
    with torch.device(arguments.device):
        backbone = VisionTransformer(VARIANTS[config.backbone]).to(dtype)
        model = PublishedModel(config, backbone)
    localizer = PublishedLocalizer(model, "random", {})
    height, width = config.ground_size_px
    camera: Camera = Equirectangular(width, height)
    if config.projection == "pinhole":
        camera = Pinhole(width, height, 0, 0, 715.7, 700.4, 604.7, 167.8)
    depth = torch.rand(height, width) * 30 + 2
    depth_map = DepthMap(depth, camera.depth_kind, True, depth > 0, "random")
    ground = torch.rand(3, height, width)
    aerial = torch.rand(3, config.aerial_size_px, config.aerial_size_px)

    runs: list[dict[str, float]] = []
    for _ in range(arguments.repeat):
        answer = localizer.localize(
            ground, aerial, camera=camera, meters_per_pixel=0.115, depth=depth_map,
            solver=arguments.solver,
        )  # fmt: skip
        if arguments.device.startswith("cuda"):
            torch.cuda.synchronize()
        runs.append(answer.timings_s)
    stages = {name: round(statistics.median(r[name] for r in runs), 3) for name in runs[0]}
    report = {
        "config": config.name,
        "backbone": config.backbone,
        "dtype": arguments.dtype,
        "device": arguments.device,
        "threads": torch.get_num_threads(),
        "seconds_median": stages,
        "total_s": round(sum(stages.values()), 3),
        "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }
    if arguments.device.startswith("cuda"):
        report["peak_gpu_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
