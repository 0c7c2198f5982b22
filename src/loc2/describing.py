"""Images made ready for a network, and what it says of each before they are compared."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from loc2.cameras import Camera
from loc2.errors import InputError
from loc2.inputs import CameraSpec, ImageLike, load_image
from loc2.matching import GroundDescription
from loc2.model import Loc2Model
from loc2.query import camera_of
from loc2.views import (
    AerialFeatures,
    AerialView,
    GroundView,
    check_meters_per_pixel,
    describe_views,
    stacked,
)


class Describer:
    """Prepares images and runs the network on them.

    Args:
        model: the network.
    """

    def __init__(self, model: Loc2Model) -> None:
        self.model = model.eval()

    def aerial_input(self, longest_m: float, photo: bool = False) -> tuple[float, float]:
        """Return how a window is best shown to the network.

        Args:
            longest_m: longer side of the window, metres.
            photo: whether a perspective photo is looked for.

        Returns:
            The side of a window that is seen at full detail, metres, and the metres per pixel at
            which the network looks at this one.
        """
        config = self.model.config
        cells = self.model.aerial_cells(longest_m, photo)
        patch_px = self.model.backbone.config.patch_size
        return config.aerial_cell_m * config.max_aerial_cells, longest_m / cells / patch_px

    def aerial_view(
        self,
        aerial: ImageLike,
        meters_per_pixel: float | None,
        valid: Tensor | None = None,
        photo: bool = False,
    ) -> AerialView:
        """Prepare an aerial image for the network; the network itself does not run.

        Args:
            aerial: north-up aerial image.
            meters_per_pixel: its ground sampling distance, metres.
            valid: (H, W) bool, where there is imagery; everywhere by default. Cells that are
                mostly without are neutral in the search.
            photo: whether a perspective photo is looked for, which may take finer cells. Either
                kind of view serves either kind of image.

        Raises:
            InputError: the image or the ground sampling distance cannot be used.
        """
        mpp = check_meters_per_pixel(meters_per_pixel)
        image = load_image(aerial, "aerial image")
        side_m = max(image.shape[-2:]) * mpp
        if not 4.0 <= side_m <= 20000.0:
            raise InputError(
                f"aerial image: {side_m:.3g} m wide at {mpp:g} metres per pixel; "
                "check metres per pixel (4 m to 20 km can be used)"
            )
        with torch.inference_mode():
            grid = self.model.aerial_grid(image, mpp, photo)
            cover = None
            if valid is not None and not bool(valid.all()):
                shown = valid.float().expand(3, -1, -1)
                cover = self.model.aerial_grid(shown, mpp, photo).image[:1]
        return AerialView(image, mpp, grid.image, grid.cell_size_m, cover)

    def ground_view(
        self,
        ground: ImageLike,
        camera: Camera | CameraSpec | str | Path | None = None,
        camera_height_m: float | None = None,
    ) -> GroundView:
        """Prepare a ground image for the network; the network itself does not run.

        Args:
            ground: panorama or perspective photo.
            camera: its camera, what is known of it, or a JSON file of that; None for a full
                panorama (an image of 2:1).
            camera_height_m: height of the camera above the ground, metres; 2.5 for panoramas and
                1.6 for photos by default.

        Raises:
            InputError: the image or the camera cannot be used.
        """
        started_s = time.perf_counter()
        image = load_image(ground, "ground image")
        resolved, height_m = camera_of(camera, image, camera_height_m)
        with torch.inference_mode():
            view = self._ground_view(image, resolved, height_m)
        view.decode_s = time.perf_counter() - started_s
        return view

    def _ground_view(self, image: Tensor, camera: Camera, height_m: float) -> GroundView:
        grid = self.model.ground_grid(image, camera)
        return GroundView(image, camera, height_m, grid.image, grid)

    def aerial_features(
        self,
        aerial: ImageLike,
        meters_per_pixel: float | None,
        valid: Tensor | None = None,
        photo: bool = False,
    ) -> AerialFeatures:
        """Compute what localization needs of an aerial image; see :meth:`aerial_view`.

        Raises:
            InputError: the image or the ground sampling distance cannot be used.
        """
        return self._features(self.aerial_view(aerial, meters_per_pixel, valid, photo))

    def _features(self, view: AerialView) -> AerialFeatures:
        self.describe((), (view,))
        assert view.features is not None
        return view.features

    def describe(
        self,
        grounds: Sequence[GroundView],
        aerials: Sequence[AerialView],
        batch_size: int = 1,
    ) -> None:
        """Run the network on the views that it has not seen yet, alike ones together.

        Args:
            grounds: from :meth:`ground_view`.
            aerials: from :meth:`aerial_view`.
            batch_size: most images at a time.
        """
        with torch.inference_mode():
            describe_views(
                grounds, aerials, self._describe_ground, self._describe_aerial, batch_size
            )

    def _describe_ground(self, views: Sequence[GroundView]) -> GroundDescription:
        """Describe ground views of one shape and kind."""
        features = self.model.features(stacked(views))
        grids = [view.grid for view in views if view.grid is not None]
        rays = torch.stack([grid.cell_rays() for grid in grids]).to(features)
        return self.model.describe_ground(features, rays, grids[0].wrap)

    def _describe_aerial(self, views: Sequence[AerialView]) -> list[AerialFeatures]:
        """Describe aerial views of one shape."""
        descriptors = self.model.aerial_descriptors(stacked(views))
        size = (descriptors.shape[-2], descriptors.shape[-1])
        described = []
        for view, own in zip(views, descriptors, strict=True):
            seen = None
            if view.cover is not None:
                seen = functional.adaptive_avg_pool2d(view.cover, size)[0] > 0.5
            cell_size_m = view.cell_size_m / self.model.aerial_parts
            described.append(
                AerialFeatures(view.image, view.meters_per_pixel, own, cell_size_m, seen)
            )
        return described
