"""Localizing many images: the network, reading and solving at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from loc2.localization import Localization
from loc2.pipeline import staged
from loc2.query import Query
from loc2.sharing import SharedCache
from loc2.views import AerialFeatures, AerialView, GroundView

if TYPE_CHECKING:
    from loc2.localizer import Localizer


def localize_many(
    localizer: Localizer,
    queries: Iterable[Query],
    *,
    batch_size: int,
    readers: int,
    solvers: int | None,
    aerial_cache_bytes: int,
) -> Iterator[Localization | Exception]:
    """Localize queries, see :meth:`loc2.localizer.Localizer.localize_batch`."""
    # On the CPU, several photos at a time with a thread each: threads that work on one photo wait
    # for each other after every operation. Elsewhere the device does the work.
    side_by_side = batch_size == 1 and localizer.model.device.type == "cpu"
    threads = torch.get_num_threads()
    if solvers is None:
        solvers = threads if side_by_side else 1
    each = max(threads // solvers, 1)
    aerials = SharedCache[AerialView](aerial_cache_bytes, lambda view: view.nbytes)

    def prepare(query: Query) -> Query:
        changes: dict[str, Any] = {}
        ground = query.ground
        if not isinstance(ground, GroundView):
            ground = localizer.ground_view(ground, query.camera, query.camera_height_m)
            changes |= {"ground": ground, "camera": None, "camera_height_m": None}
        aerial, mpp, photo = query.aerial, query.meters_per_pixel, ground.is_photo
        if not isinstance(aerial, (AerialFeatures, AerialView)):
            if isinstance(aerial, (str, Path)):
                path = aerial
                view = aerials.get(
                    (str(aerial), mpp, photo),
                    lambda: localizer.aerial_view(path, mpp, photo=photo),
                )
            else:
                view = localizer.aerial_view(aerial, mpp, photo=photo)
            if side_by_side:  # ahead of the photos that share it, or they would wait for it
                localizer.describe((), (view,))
            changes |= {"aerial": view, "meters_per_pixel": None}
        return replace(query, **changes)

    def describe(prepared: Sequence[Query]) -> None:
        localizer.describe(
            [q.ground for q in prepared if isinstance(q.ground, GroundView)],
            [q.aerial for q in prepared if isinstance(q.aerial, AerialView)],
            batch_size,
        )

    def answer(query: Query) -> Localization:
        return localizer.localize(**{f.name: getattr(query, f.name) for f in fields(query)})

    try:
        yield from staged(
            queries,
            prepare,
            describe,
            answer,
            batch_size=batch_size,
            readers=readers,
            solvers=solvers,
            begin=(lambda: torch.set_num_threads(each)) if side_by_side else None,
        )
    finally:
        if side_by_side:  # PyTorch also notes the number for threads that are yet to start
            torch.set_num_threads(threads)
