"""Real maps: georeferenced aerial imagery, tiles, and answers in latitude and longitude.

Needs the extra ``geo`` (rasterio, pyproj). The way of the data::

    location -> open_aerial -> AerialSource -> read(frame, area) -> AerialWindow
    pose in the window's metric frame -> GeoAnswer -> GeoJSON, CSV, KML, GPX, EXIF, GeoTIFF
"""
