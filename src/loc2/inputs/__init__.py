"""What people give: image files in every common form, and descriptions of cameras."""

from loc2.inputs.camera_files import CameraSpec, read_camera_file, resolve_camera
from loc2.inputs.images import MIN_SIDE_PX, ImageLike, load_image

__all__ = [
    "MIN_SIDE_PX",
    "CameraSpec",
    "ImageLike",
    "load_image",
    "read_camera_file",
    "resolve_camera",
]
