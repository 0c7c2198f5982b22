"""Locating many photos: imagery and windows shared, reading and solving at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from loc2.geo.frame import LocalFrame, MetricArea
from loc2.geo.locate import Located, carry_out
from loc2.geo.opening import AerialOptions, open_aerial
from loc2.geo.plan import SearchPlan, Windows, plan_search, windows_cache
from loc2.geo.source import AerialSource, NoImageryError, PlainSource
from loc2.geo.warp import AerialWindow
from loc2.localizer import Localizer
from loc2.pipeline import staged
from loc2.request import PhotoRequest
from loc2.sharing import SharedCache

Asked = TypeVar("Asked")

_SOURCE_BYTES = 1 << 20  # of a source that reads its pixels as they are needed


class SharedSource:
    """An aerial source that several threads use in turns; implements ``AerialSource``.

    Databases, PROJ objects and a server's rate limit bear one user at a time.

    Args:
        source: what is shared.
    """

    def __init__(self, source: AerialSource) -> None:
        self._source, self._lock = source, threading.Lock()
        self.name, self.attribution = source.name, source.attribution
        self.georeferenced = source.georeferenced
        self.nbytes = source.nbytes if isinstance(source, PlainSource) else _SOURCE_BYTES

    def whole(self) -> tuple[LocalFrame | None, MetricArea]:
        """Return the frame at the middle of everything there is, and its extent."""
        with self._lock:
            frame, area = self._source.whole()
        return None if frame is None else replace(frame), area

    def around(
        self, latitude_deg: float, longitude_deg: float, radius_m: float
    ) -> tuple[LocalFrame, MetricArea]:
        """Return a frame of the caller's own at a position, and the square around it."""
        with self._lock:
            frame, area = self._source.around(latitude_deg, longitude_deg, radius_m)
        return replace(frame), area

    def native_meters_per_pixel(self, frame: LocalFrame | None, area: MetricArea) -> float:
        """Return the source's own resolution at the middle of an area."""
        with self._lock:
            return self._source.native_meters_per_pixel(frame, area)

    def read(
        self, frame: LocalFrame | None, area: MetricArea, meters_per_pixel: float | None = None
    ) -> AerialWindow:
        """Read one window."""
        with self._lock:
            return self._source.read(frame, area, meters_per_pixel)


class Imagery:
    """Aerial sources and windows that photos share, within a memory limit.

    Args:
        limit_bytes: three quarters are for windows with their features, the rest for images that
            are read as a whole.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.windows: Windows = windows_cache(limit_bytes * 3 // 4)
        self._sources = SharedCache[SharedSource](limit_bytes // 4, lambda source: source.nbytes)

    def source(self, location: str, options: AerialOptions) -> SharedSource:
        """Open aerial imagery, or return what is open.

        Raises:
            InputError: it cannot be opened.
        """
        return self._sources.get(
            (location, options), lambda: SharedSource(open_aerial(location, options))
        )


def locate_many(
    localizer: Localizer,
    asked: Iterable[Asked],
    request: Callable[[Asked], PhotoRequest],
    *,
    imagery: Imagery,
    batch_size: int,
    readers: int = 2,
    solvers: int = 1,
) -> Iterator[Located | Exception]:
    """Locate photos, with the results of :func:`loc2.geo.locate.locate`, in their order.

    Args:
        localizer: the model.
        asked: any number of photos, taken as they are needed.
        request: what is asked about each; may raise, which is then its result.
        imagery: what photos share.
        batch_size: most images that go through the network together.
        readers: threads that read and resample images.
        solvers: threads that match and solve.

    Yields:
        Each photo's answer, or the error for which it has none.
    """

    def prepare(item: Asked) -> tuple[PhotoRequest, SearchPlan]:
        wanted = request(item)
        options = wanted.aerial_options()
        search = wanted.search_options()
        plan = plan_search(
            localizer,
            wanted.ground,
            imagery.source(wanted.aerial, options),
            windows=imagery.windows,
            source_key=(wanted.aerial, options),
            **search,
        )
        if len(plan.pieces) == 1:
            with contextlib.suppress(NoImageryError):  # it is met again, and told, in its turn
                plan.window(localizer, plan.pieces[0])
        return wanted, plan

    def describe(prepared: Sequence[tuple[PhotoRequest, SearchPlan]]) -> None:
        views = []
        for _, plan in prepared:
            if len(plan.pieces) == 1:
                with contextlib.suppress(NoImageryError):
                    views.append(plan.window(localizer, plan.pieces[0])[1])
        localizer.describe([plan.view for _, plan in prepared], views, batch_size)

    def finish(prepared: tuple[PhotoRequest, SearchPlan]) -> Located:
        wanted, plan = prepared
        return carry_out(localizer, plan, **wanted.depth_options())

    return staged(
        asked, prepare, describe, finish, batch_size=batch_size, readers=readers, solvers=solvers
    )
