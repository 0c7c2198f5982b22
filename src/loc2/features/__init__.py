"""Image features: the DINOv2 backbone in plain PyTorch and the loading of its weights."""

from loc2.features.checkpoints import load_state_dict, load_vit
from loc2.features.dinov2 import VARIANTS, VisionTransformer, VitConfig

__all__ = [
    "VARIANTS",
    "VisionTransformer",
    "VitConfig",
    "load_state_dict",
    "load_vit",
]
