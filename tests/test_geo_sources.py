"""Kinds of aerial imagery: sample types, bands, nodata, folders, huge files, archives."""

from __future__ import annotations

import gzip
import math
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from PIL import Image
from rasterio.enums import ColorInterp, Resampling

from loc2.errors import InputError
from loc2.geo.opening import AerialOptions, open_aerial
from tests.geo_pair import write_mbtiles
from tests.geo_scenes import write_raster

UTM = "EPSG:32632"
AT = (48.1, 9.0)  # on the central meridian: the grid is true north


def utm_affine(width: int, height: int, pixel_m: float = 1.0) -> Affine:
    import pyproj

    x, y = pyproj.Transformer.from_crs("EPSG:4326", UTM, always_xy=True).transform(AT[1], AT[0])
    return Affine(pixel_m, 0, x - width * pixel_m / 2, 0, -pixel_m, y + height * pixel_m / 2)


def middle_colour(path: Path, options: AerialOptions | None = None) -> torch.Tensor:
    source = open_aerial(path, options)
    window = source.read(*source.around(*AT, 5.0))
    assert bool(window.valid.all())
    return window.image.mean(dim=(1, 2))


def flat(colour: tuple[float, ...], dtype: str, size: int = 64) -> np.ndarray:
    return np.ones((len(colour), size, size), dtype) * np.array(colour, dtype)[:, None, None]


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
def test_band_counts(tmp_path: Path, bands: int) -> None:
    pixels = flat((200, 100, 50, 255, 9)[:bands], "uint8")
    options = {"photometric": "RGB", "alpha": "YES"} if bands == 4 else {}
    if bands == 2:
        pixels[1] = 255
        options = {"alpha": "YES"}
    path = write_raster(tmp_path / "a.tif", pixels, UTM, utm_affine(64, 64), **options)
    expected = [200, 200, 200] if bands < 3 else [200, 100, 50]
    assert middle_colour(path) * 255 == pytest.approx(expected, abs=0.6)


def test_bands_follow_their_colour_or_the_option(tmp_path: Path) -> None:
    path = tmp_path / "bgrn.tif"
    write_raster(path, flat((50, 100, 200, 9), "uint8"), UTM, utm_affine(64, 64))
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [
            ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined
        ]  # fmt: skip
    assert middle_colour(path) * 255 == pytest.approx([200, 100, 50], abs=0.6)
    chosen = middle_colour(path, AerialOptions(bands=(4, 1, 2)))
    assert chosen * 255 == pytest.approx([9, 50, 100], abs=0.6)
    with pytest.raises(InputError, match="bands must be one or three"):
        open_aerial(path, AerialOptions(bands=(1, 9, 2)))


def test_palette(tmp_path: Path) -> None:
    path = tmp_path / "palette.tif"
    write_raster(path, flat((3,), "uint8"), UTM, utm_affine(64, 64), photometric="palette")
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {3: (10, 20, 30, 255), 0: (1, 1, 1, 255)})
    assert middle_colour(path) * 255 == pytest.approx([10, 20, 30], abs=0.6)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "float64", "uint32"])
def test_wide_samples_are_stretched_alike_in_every_window(tmp_path: Path, dtype: str) -> None:
    ramp = np.tile(np.linspace(100, 3000, 512), (512, 1))
    pixels = np.stack([ramp, ramp * 0.5, ramp * 0.25]).astype(dtype)
    path = write_raster(tmp_path / "wide.tif", pixels, UTM, utm_affine(512, 512))
    source = open_aerial(path)
    frame, _ = source.around(*AT, 10.0)
    from loc2.geo.frame import MetricArea

    left = source.read(frame, MetricArea(-100.0, 0.0, 100.0, 50.0))
    whole = source.read(frame, MetricArea(-50.0, 0.0, 200.0, 50.0))
    assert torch.allclose(left.image[..., 5:95], whole.image[..., 5:95], atol=2e-3)
    red, green, blue = whole.image.mean(dim=(1, 2)).tolist()
    assert 0.05 < blue < green < red < 0.9


@pytest.mark.parametrize("how", ["nodata", "nan", "alpha", "mask"])
def test_missing_pixels_are_invalid(tmp_path: Path, how: str) -> None:
    pixels = flat((120, 130, 140), "float32" if how == "nan" else "uint8")
    options: dict[str, object] = {}
    if how == "nodata":
        pixels[:, :, :32] = 7
        options["nodata"] = 7
    elif how == "nan":
        pixels[:, :, :32] = np.nan
    elif how == "alpha":
        alpha = np.full((1, 64, 64), 255, "uint8")
        alpha[..., :32] = 0
        pixels, options = np.concatenate((pixels, alpha)), {"alpha": "YES", "photometric": "RGB"}
    path = write_raster(tmp_path / "holes.tif", pixels, UTM, utm_affine(64, 64), **options)
    if how == "mask":
        with rasterio.open(path, "r+") as dataset:
            mask = np.full((64, 64), 255, "uint8")
            mask[:, :32] = 0
            dataset.write_mask(mask)
    source = open_aerial(path)
    window = source.read(*source.around(*AT, 20.0))
    columns = window.valid.float().mean(dim=0)
    middle = len(columns) // 2
    assert columns[: middle - 1].max() == 0 and columns[middle + 1 :].min() == 1
    assert window.image[:, :, : middle - 1].max() == 0


def test_overviews_and_reduction_average(tmp_path: Path) -> None:
    """A fine checkerboard read at 8 m per pixel is grey, with and without overviews."""
    board = (np.indices((1024, 1024)).sum(0) % 2 * 255).astype("uint8")[None].repeat(3, 0)
    path = write_raster(
        tmp_path / "board.tif", board, UTM, utm_affine(1024, 1024), tiled=True, blockxsize=256,
        blockysize=256,
    )  # fmt: skip
    for step in range(2):
        source = open_aerial(path)
        frame, area = source.around(*AT, 400.0)
        window = source.read(frame, area, 8.0)
        inner = window.image[:, 5:-5, 5:-5]
        assert inner.mean() == pytest.approx(0.5, abs=0.01) and inner.std() < 0.02
        if step == 0:
            with rasterio.open(path, "r+") as dataset:
                dataset.build_overviews([2, 4, 8], Resampling.average)


def test_no_georeference_says_what_to_do(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "plain.png")
    with pytest.raises(InputError, match="metres per pixel") as error:
        open_aerial(tmp_path / "plain.png")
    assert "\n" not in str(error.value)
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        write_raster(tmp_path / "none.tif", flat((1, 2, 3), "uint8"), UTM, Affine.identity())
    with pytest.raises(InputError, match="metres per pixel"):
        open_aerial(tmp_path / "none.tif")
    write_raster(tmp_path / "nocrs.tif", flat((1, 2, 3), "uint8"), None, utm_affine(64, 64))
    with pytest.raises(InputError, match="coordinate system"):
        open_aerial(tmp_path / "nocrs.tif")
    assert open_aerial(tmp_path / "nocrs.tif", AerialOptions(crs=UTM)).georeferenced
    with pytest.raises(InputError, match="unknown coordinate system"):
        open_aerial(tmp_path / "nocrs.tif", AerialOptions(crs="EPSG:999999"))
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(InputError, match="cannot be read as a raster"):
        open_aerial(tmp_path / "text.tif")


def test_world_file(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (100, 80), (200, 100, 50)).save(path)
    t = utm_affine(100, 80, 0.5)
    world = [t.a, t.d, t.b, t.e, t.c + t.a / 2, t.f + t.e / 2]
    (tmp_path / "photo.jgw").write_text("\n".join(map(repr, world)))
    plain = open_aerial(path)
    assert not plain.georeferenced and plain.whole()[1].width_m == 50.0
    named = open_aerial(path, AerialOptions(crs=UTM))
    frame, area = named.whole()
    assert (frame.latitude_deg, frame.longitude_deg) == pytest.approx(AT, abs=1e-7)
    assert area.width_m == pytest.approx(50.0, abs=0.1)
    for text in ("1 2 3", "a b c d e f", "1 0 0 2 0 0", "1e-6 0 0 -1e-6 0 0", "nan 0 0 1 0 0"):
        (tmp_path / "photo.jgw").write_text(text)
        with pytest.raises(InputError, match=r"photo\.jgw"):
            open_aerial(path)


@pytest.mark.parametrize("east_of_row_and_column", [
    (0.0, -0.5, -0.5, 0.0), (0.5, 0.0, 0.0, 0.5), (-0.5, 0.0, 0.0, -0.5), (-0.5, 0.0, 0.0, 0.5),
    (0.4, 0.3, 0.3, -0.4), (0.4999, -0.01, -0.01, -0.4999),
])  # fmt: skip
def test_a_rotated_or_mirrored_world_file_needs_the_coordinate_system(
    tmp_path: Path, east_of_row_and_column: tuple[float, float, float, float]
) -> None:
    path = tmp_path / "photo.png"
    pixels = np.zeros((80, 100, 3), "uint8")
    pixels[20:30, 60:80] = 255
    Image.fromarray(pixels).save(path)
    a, d, b, e = east_of_row_and_column
    north_up = utm_affine(0, 0)
    c, f = north_up.c - a * 70 - b * 25, north_up.f - d * 70 - e * 25  # the spot lies at AT
    world = [a, d, b, e, c + (a + b) / 2, f + (d + e) / 2]
    (tmp_path / "photo.pgw").write_text("\n".join(map(repr, world)))
    with pytest.raises(
        InputError, match=r"photo\.pgw: .*rotated or mirrored.*--aerial-crs"
    ) as error:
        open_aerial(path)
    assert "\n" not in str(error.value)
    source = open_aerial(path, AerialOptions(crs=UTM))
    spot = source.read(*source.around(*AT, 1.5))
    assert float(spot.image.min()) > 0.9
    assert source.read(*source.around(*AT, 15.0)).image.mean() < 0.3


def write_mercator_png(folder: Path) -> Path:
    """Write a PNG of 90 m of web Mercator, with its world file and its system beside it."""
    import pyproj

    to_mercator = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True)
    x, y = to_mercator.transform(AT[1], AT[0])
    transform = Affine(0.5, 0, x - 45, 0, -0.5, y + 45)
    path = folder / "mercator.png"
    write_raster(
        path, flat((200, 100, 50), "uint8", 180), "EPSG:3857", transform, driver="PNG",
        WORLDFILE="YES",
    )  # fmt: skip
    assert {p.suffix for p in folder.iterdir()} == {".png", ".wld", ".xml"}
    return path


def test_a_world_file_whose_coordinate_system_is_known(tmp_path: Path) -> None:
    path = write_mercator_png(tmp_path)
    source = open_aerial(path)
    assert source.georeferenced
    frame, area = source.whole()
    assert frame is not None
    assert (frame.latitude_deg, frame.longitude_deg) == pytest.approx(AT, abs=1e-7)
    assert area.width_m == pytest.approx(90.0 * math.cos(math.radians(AT[0])), rel=0.004)
    # Metres per pixel that are given are taken at their word.
    assert open_aerial(path, AerialOptions(meters_per_pixel=0.3)).whole()[1].width_m == 54.0


def test_a_world_file_without_the_extra_is_metres_per_pixel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.png"
    Image.new("RGB", (100, 80)).save(path)
    (tmp_path / "photo.pgw").write_text("0.5 0 0 -0.5 1000 2000")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert open_aerial(path).whole()[1].width_m == 50.0


def test_folder_and_vrt_of_tiles(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 255, (3, 120, 160), "uint8")
    t = utm_affine(160, 120, 0.5)
    one = write_raster(tmp_path / "one.tif", pixels, UTM, t)
    folder = tmp_path / "tiles"
    folder.mkdir()
    sources = []
    for row in (0, 60):
        for column in (0, 80):
            part = Affine(t.a, 0, t.c + column * t.a, 0, t.e, t.f + row * t.e)
            name = folder / f"{row}_{column}.tif"
            write_raster(name, pixels[:, row : row + 60, column : column + 80], UTM, part)
            sources.append((row, column, name))
    whole, mosaic = open_aerial(one), open_aerial(folder)
    expected = whole.read(*whole.around(*AT, 25.0)).image
    found = mosaic.read(*mosaic.around(*AT, 25.0))
    assert bool(found.valid.all())
    assert torch.allclose(found.image, expected, atol=1e-5)
    # At this window's resolution a column of pixels has its centres on the seam.
    found = mosaic.read(*mosaic.around(*AT, 25.0), 50.0 / 101)
    assert bool(found.valid.all())

    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}">'
        + "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{name.name}</SourceFilename>'
            f'<SourceBand>{band}</SourceBand><SrcRect xOff="0" yOff="0" xSize="80" ySize="60"/>'
            f'<DstRect xOff="{column}" yOff="{row}" xSize="80" ySize="60"/></SimpleSource>'
            for row, column, name in sources
        )
        + "</VRTRasterBand>"
        for band in (1, 2, 3)
    )
    (folder / "all.vrt").write_text(
        f'<VRTDataset rasterXSize="160" rasterYSize="120"><SRS>{UTM}</SRS><GeoTransform>'
        f"{t.c}, {t.a}, 0, {t.f}, 0, {t.e}</GeoTransform>{bands}</VRTDataset>"
    )
    for location in (folder, folder / "all.vrt"):  # a folder with a VRT is that VRT
        vrt = open_aerial(location)
        assert torch.allclose(vrt.read(*vrt.around(*AT, 25.0)).image, expected, atol=1e-5)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="holds no raster"):
        open_aerial(empty)


def test_outside_says_so_in_one_line(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", flat((1, 2, 3), "uint8"), UTM, utm_affine(64, 64))
    source = open_aerial(path)
    with pytest.raises(InputError, match="no imagery within"):
        source.read(*source.around(48.2, 9.0, 20.0))
    with pytest.raises(InputError, match="million pixels"):
        source.read(*source.around(*AT, 20.0), meters_per_pixel=0.001)
    partly = source.read(*source.around(AT[0] + 0.0003, AT[1], 20.0))
    assert 0.1 < partly.valid.float().mean() < 0.9


def big_tiff(path: Path, side: int, tile: int = 512) -> int:
    """Write a real BigTIFF of side x side RGB, uncompressed tiles, as a file with one hole.

    Only the header and one red tile in the middle take space on disk. Returns the file's size.
    """
    import pyproj

    across = -(-side // tile)
    tile_bytes = tile * tile * 3
    x, y = pyproj.Transformer.from_crs("EPSG:4326", UTM, always_xy=True).transform(AT[1], AT[0])
    pixel_m = 0.1
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)
    count = across * across
    arrays: list[tuple[int, int, int, bytes]] = [
        (256, 4, 1, struct.pack("<I", side)), (257, 4, 1, struct.pack("<I", side)),
        (258, 3, 3, struct.pack("<3H", 8, 8, 8)), (259, 3, 1, struct.pack("<H", 1)),
        (262, 3, 1, struct.pack("<H", 2)), (277, 3, 1, struct.pack("<H", 3)),
        (322, 4, 1, struct.pack("<I", tile)), (323, 4, 1, struct.pack("<I", tile)),
        (324, 16, count, b""), (325, 16, count, struct.pack("<Q", tile_bytes) * count),
        (33550, 12, 3, struct.pack("<3d", pixel_m, pixel_m, 0)),
        (33922, 12, 6, struct.pack("<6d", side / 2, side / 2, 0, x, y, 0)),
        (34735, 3, len(keys), struct.pack(f"<{len(keys)}H", *keys)),
    ]  # fmt: skip
    ifd_size = 8 + 20 * len(arrays) + 8
    extra_at = 16 + ifd_size
    sizes = [len(data) if tag != 324 else 8 * count for tag, _, _, data in arrays]
    data_at = extra_at + sum(s for s in sizes if s > 8) + 64
    offsets = data_at + np.arange(count, dtype="<u8") * tile_bytes
    with path.open("wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) + struct.pack("<Q", len(arrays)))
        blobs = b""
        for tag, kind, number, data in arrays:
            data = offsets.tobytes() if tag == 324 else data
            inline = len(data) <= 8
            value = data.ljust(8, b"\0") if inline else struct.pack("<Q", extra_at + len(blobs))
            file.write(struct.pack("<HHQ", tag, kind, number) + value)
            blobs += b"" if inline else data
        file.write(struct.pack("<Q", 0) + blobs)
        middle = (across // 2) * across + across // 2
        file.seek(int(offsets[middle]))
        file.write(bytes((250, 20, 20)) * (tile * tile))
        size = int(offsets[-1]) + tile_bytes
        file.truncate(size)
    return size


def test_a_50_gb_file_is_read_by_window(tmp_path: Path) -> None:
    path = tmp_path / "huge.tif"
    size = big_tiff(path, 131_072)
    assert size > 50e9
    assert path.stat().st_blocks * 512 < 20e6, "the file system has no sparse files"
    script = (
        "import resource, sys\n"
        "from loc2.geo.opening import open_aerial\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "io = lambda: int(open('/proc/self/io').read().split('rchar: ')[1].split()[0])\n"
        "source = open_aerial(sys.argv[1])\n"
        f"frame, area = source.around({AT[0]}, {AT[1]}, 40.0)\n"
        "start = io()\n"
        "window = source.read(frame, area)\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "red = float(window.image[0].max())\n"
        "print(io() - start, grown * 1024, red, *window.image.shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    read_bytes, grown_bytes, red, *shape = map(float, done.stdout.split())
    assert shape == [3, 800, 800]
    assert red > 0.9
    assert read_bytes < 60e6
    assert grown_bytes < 600e6


def tile_png(colour: tuple[int, int, int], size: int = 256) -> bytes:
    import io

    out = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(out, "PNG")
    return out.getvalue()


def write_pmtiles(path: Path, tiles: dict[tuple[int, int, int], bytes], attribution: str) -> Path:
    from pmtiles.tile import Compression, TileType, zxy_to_tileid
    from pmtiles.writer import Writer

    zooms = [z for z, _, _ in tiles]
    with path.open("wb") as file:
        writer = Writer(file)
        for key in sorted(tiles, key=lambda k: zxy_to_tileid(*k)):
            writer.write_tile(zxy_to_tileid(*key), tiles[key])
        header = {
            "tile_type": TileType.PNG, "tile_compression": Compression.NONE,
            "min_zoom": min(zooms), "max_zoom": max(zooms), "min_lon_e7": 0, "min_lat_e7": 0,
            "max_lon_e7": int(90e7), "max_lat_e7": int(66.5e7), "center_zoom": 1,
            "center_lon_e7": 0, "center_lat_e7": 0,
        }  # fmt: skip
        writer.finalize(header, {"attribution": attribution})
    return path


QUARTERS = {
    (1, 0, 0): tile_png((200, 0, 0)),
    (1, 1, 0): tile_png((0, 200, 0)),
    (1, 0, 1): tile_png((0, 0, 200)),
    (0, 0, 0): tile_png((9, 9, 9)),
}


@pytest.mark.parametrize("kind", ["mbtiles", "pmtiles"])
def test_archives(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "mbtiles":
        write_mbtiles(path, QUARTERS, attribution="© Someone", bounds="0,0,90,66.5")
    else:
        write_pmtiles(path, QUARTERS, "© Someone")
    source = open_aerial(path)
    assert source.attribution == "© Someone"
    assert open_aerial(path, AerialOptions(attribution="Me")).attribution == "Me"
    red = source.read(*source.around(40.0, -90.0, 2_000_000.0))
    assert red.image[:, 5, 5] * 255 == pytest.approx([200, 0, 0], abs=1)
    green = source.read(*source.around(40.0, 90.0, 2_000_000.0))
    assert green.image[:, 5, 5] * 255 == pytest.approx([0, 200, 0], abs=1)
    blue = source.read(*source.around(-40.0, -90.0, 2_000_000.0))
    assert blue.image[:, 5, 5] * 255 == pytest.approx([0, 0, 200], abs=1)
    with pytest.raises(InputError, match="no imagery"):  # the fourth quarter has no tile
        source.read(*source.around(-40.0, 90.0, 2_000_000.0))
    frame, _ = source.whole()
    assert frame.longitude_deg == pytest.approx(45.0)
    coarse = source.read(*source.around(40.0, -90.0, 2_000_000.0), meters_per_pixel=200_000.0)
    assert coarse.image[:, 5, 5] * 255 == pytest.approx([9, 9, 9], abs=1)  # from zoom 0


def test_damaged_archives_end_in_one_line(tmp_path: Path) -> None:
    good_mb = write_mbtiles(tmp_path / "good.mbtiles", QUARTERS).read_bytes()
    good_pm = write_pmtiles(tmp_path / "good.pmtiles", QUARTERS, "x").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(60):
        for kind, good in (("mbtiles", good_mb), ("pmtiles", good_pm)):
            data = bytearray(good)
            if number % 3 == 0:
                data = data[: rng.integers(0, len(data))]
            for _ in range(8):
                if data:
                    data[rng.integers(0, min(len(data), 400))] = rng.integers(0, 256)
            path = tmp_path / f"bad{number}.{kind}"
            path.write_bytes(bytes(data))
            try:
                source = open_aerial(path)
                source.read(*source.around(40.0, -90.0, 2_000_000.0))
            except InputError as error:
                refused += 1
                assert "\n" not in str(error)
    assert refused > 30
    vector = {(0, 0, 0): gzip.compress(b"vector")}
    with pytest.raises(InputError, match="vector tile"):
        open_aerial(write_mbtiles(tmp_path / "vector.mbtiles", vector))
    with pytest.raises(InputError, match="holds no tile"):
        open_aerial(write_mbtiles(tmp_path / "none.mbtiles", {}))
