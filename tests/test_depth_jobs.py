"""loc2 depth: whole folders, resume after a kill, checks; adapters with the real libraries."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from loc2.cameras import Camera, Equirectangular, Pinhole
from loc2.depth import DepthMap, DepthModelInfo, load_depth
from loc2.depth.check import check_depth, find_depth_files
from loc2.depth.jobs import DepthOptions, find_jobs, make_depth
from loc2.depth.record import DepthRecord, camera_spec, read_record
from loc2.depth.registry import make_depth_model
from loc2.depth.store import write_depth
from loc2.errors import DatasetNotFoundError, InputError
from loc2.inputs import CameraSpec
from tests.conftest import CliResult, PairFiles
from tests.depth_scenes import SLOPE, Box, Scene, picture, pixel_rays

Cli = Callable[..., CliResult]
INFO = DepthModelInfo("constant", "1", "metric", "range", "MIT")
STREET = Scene(
    height_m=1.8,
    boxes=(
        Box((-9.0, 3.0, -1.8), (-4.0, 20.0, 6.0)),
        Box((2, 6, -1.8), (4, 10, 0)),
        Box((5, -20, -1.8), (12, -6, 9)),
    ),
)
PANO = Equirectangular(360, 180)
PHOTO = Pinhole.from_hfov(320, 240, 90.0, pitch_deg=-6.0)


def save_picture(image: Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    Image.fromarray(array).save(path)


def constant(image: Tensor, camera: Camera) -> DepthMap:
    depth = torch.full((camera.height, camera.width), 5.0)
    return DepthMap(depth, "range", True, depth > 0, "constant")


def folder_of_images(folder: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    for index in range(count):
        pixels = rng.integers(40, 255, (16, 32, 3), dtype=np.uint8)
        (folder / f"{index % 3}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{index % 3}" / f"pano.{index:03d}.png")
    return folder


# ------------------------------------------------------------------ whole folders


def test_killed_and_resumed_every_file_is_whole_and_once(tmp_path: Path) -> None:
    count = 500
    images = folder_of_images(tmp_path / "images", count)
    output = tmp_path / "depth"
    words = [sys.executable, "-m", "loc2", "depth", images, "--model", "flat", "--output", output]
    process = subprocess.Popen(
        [str(w) for w in [*words, "--camera-height", "2", "--format", "png-mm", "--quiet"]],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")},
    )
    deadline = time.monotonic() + 120
    # What the kill leaves half-written has a hidden name.
    while len(list(output.rglob("[!.]*.json"))) < 60 and time.monotonic() < deadline:
        assert process.poll() is None, "finished before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {p: p.stat().st_mtime_ns for p in output.rglob("[!.]*.json")}
    assert 60 <= len(before) < count
    (output / "0" / ".pano.000-abandon.png").write_bytes(b"half a fi")
    (output / "0" / "pano.000.json").unlink()  # as if killed between the two files
    kept = len(before) - 1
    again = subprocess.run(
        [str(w) for w in [*words, "--camera-height", "2", "--format", "png-mm"]],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"{count - kept} made, {kept} were there" in again.stdout
    depth = sorted(output.rglob("*.png"))
    assert len(depth) == count == len(list(output.rglob("*.json")))
    assert not list(output.rglob(".*"))
    camera = Equirectangular(32, 16)
    for path in depth:
        assert load_depth(path, camera).metric
        assert path.with_suffix(".json") in before or read_record(path) is not None
    for path, stamp in before.items():
        if path.name != "pano.000.json":
            assert path.stat().st_mtime_ns == stamp  # not made a second time
    assert len(list((output / "previews").rglob("*.jpg"))) == count


def test_memory_stays_flat(tmp_path: Path) -> None:
    """Reading ahead is bounded: 240 images take no more than the first 40 did."""
    rng = np.random.default_rng(0)
    (tmp_path / "i").mkdir()
    for index in range(240):
        pixels = rng.integers(40, 255, (128, 256, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "i" / f"{index}.png", compress_level=0)
    jobs = find_jobs([tmp_path / "i"], CameraSpec())
    options = DepthOptions(previews=False, workers=4)
    peaks: list[int] = []

    def note(done: int) -> None:
        if done in (40, 240):
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    summary = make_depth(jobs, lambda h: constant, INFO, tmp_path / "o", options, note)
    assert summary.made == 240
    # Pixels of 200 images as float32 are 79 MB.
    assert peaks[-1] - peaks[0] < 20_000


def test_a_bad_image_is_named_and_does_not_stop_the_others(tmp_path: Path) -> None:
    images = folder_of_images(tmp_path / "i", 5)
    (images / "1" / "broken.jpg").write_bytes(b"no image")
    jobs = find_jobs([images], CameraSpec())
    summary = make_depth(jobs, lambda h: constant, INFO, tmp_path / "o", DepthOptions())
    assert summary.made == 5 and len(summary.failed) == 1
    assert "broken.jpg" in summary.failed[0][0]


def test_depth_of_other_settings_is_not_mixed_in(tmp_path: Path) -> None:
    jobs = find_jobs([folder_of_images(tmp_path / "i", 2)], CameraSpec())
    make_depth(jobs, lambda h: constant, INFO, tmp_path / "o", DepthOptions())
    other = replace(INFO, name="other")
    with pytest.raises(InputError, match="overwrite"):
        make_depth(jobs, lambda h: constant, other, tmp_path / "o", DepthOptions())
    summary = make_depth(
        jobs, lambda h: constant, other, tmp_path / "o", DepthOptions(overwrite=True)
    )
    assert summary.made == 2


def test_inputs_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="no such image"):
        find_jobs([tmp_path / "none.jpg"], CameraSpec())
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetNotFoundError, match="no image"):
        find_jobs([tmp_path / "empty"], CameraSpec())
    for name in ("a.jpg", "a.png"):
        save_picture(torch.ones(3, 16, 32), tmp_path / "twice" / name)
    with pytest.raises(InputError, match="both become"):
        find_jobs([tmp_path / "twice"], CameraSpec())


def test_command_line(cli: Cli, tmp_path: Path) -> None:
    image = tmp_path / "street.png"
    save_picture(picture(STREET, PHOTO), image)
    made = cli(
        "depth", image, "--model", "flat", "--hfov", 90, "--pitch", -6, "--camera-height", 1.8,
        "--output", tmp_path / "o", "--format", "png-256", "--quiet", "--far-limit", 25,
    )  # fmt: skip
    assert made.code == 0, made.err
    record = json.loads((tmp_path / "o" / "street.json").read_text())
    assert record["model"] == "flat" and record["unit"] == "m/256" and record["kind"] == "z"
    assert record["far_limit_m"] == 25.0
    assert (tmp_path / "o" / "previews" / "street.jpg").is_file()
    again = ("depth", image, "--model", "flat", "--hfov", 90, "--output", tmp_path / "o", "--quiet")
    for other in (("--camera-height", 1.8), ("--camera-height", 2, "--format", "png-256")):
        cli(*again, "--far-limit", 25, *other).assert_one_line_error("another --output")
    inside = cli(
        "depth", tmp_path, "--model", "flat", "--hfov", 90, "--camera-height", 1.8, "--pitch", -6,
        "--output", tmp_path / "o", "--format", "png-256", "--far-limit", 25,
    )  # fmt: skip
    assert inside.code == 0 and "0 made, 1 were there" in inside.out  # not its own previews
    checked = cli("depth", "check", tmp_path / "o", "--images", tmp_path, "--quiet")
    assert checked.code == 0, (checked.out, checked.err)
    assert (tmp_path / "o" / "check_sheet.png").is_file()
    told = cli("depth", "models")
    assert "depth-anything-v2-large" in told.out and "CC-BY-NC-4.0 (non-commercial)" in told.out
    cli("depth", image, "--model", "nothing", "--output", tmp_path / "p").assert_one_line_error(
        "nothing", "depth-anything-v2-small"
    )
    cli(
        "depth", image, "--model", "flat", "--output", tmp_path / "p", "--format", "exr"
    ).assert_one_line_error("--format")
    wrong = cli("depth", image, "--model", "flat", "--output", tmp_path / "p", "--quiet")
    assert wrong.code == 1 and "--hfov" in wrong.err  # no camera is known


def test_own_depth_masked_by_its_head_is_localized_without_a_unit(
    cli: Cli, pair_files: PairFiles, tmp_path: Path
) -> None:
    made = cli(
        "depth", pair_files.ground, "--output", tmp_path, "--format", "png-mm", "--quiet",
        "--mask-head", "--mask-sky", "--mask-below", -60, "--camera-height", 2,
    )  # fmt: skip
    assert made.code == 0, made.err
    record = read_record(tmp_path / "ground.png")
    assert record is not None and record.model.startswith(("own", "flat"))
    assert record.masks == ["black borders", "sky by colour", "below -60.0 deg", "validity head"]
    answer = cli(
        "localize", pair_files.ground, "--aerial", pair_files.aerial, "--meters-per-pixel", 0.25,
        "--depth", tmp_path / "ground.png", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    cli(
        "localize", pair_files.ground, "--aerial", pair_files.aerial, "--meters-per-pixel", 0.25,
        "--depth", tmp_path / "ground.png", "--depth-unit", "cm",
    ).assert_one_line_error("the file says 'mm'")  # fmt: skip
    # What the head has estimated is no second opinion on the head's answer, from a file neither.
    panorama = Equirectangular(320, 160)
    for model, from_head in (("own", True), ("flat", False)):
        cli(
            "depth", pair_files.ground, "--output", tmp_path / model, "--model", model, "--quiet"
        )  # fmt: skip
        assert load_depth(tmp_path / model / "ground.npz", panorama).from_head == from_head


# ------------------------------------------------------------------ checks


def truth_folder(folder: Path, camera: Camera, change: Callable[[Tensor], Tensor]) -> Path:
    """Depth files of two scenes as ``loc2 depth`` lays them out, changed."""
    for number, scene in enumerate((STREET, replace(SLOPE, slope_deg=1.0, height_m=1.8))):
        save_picture(picture(scene, camera), folder / "images" / f"{number}.png")
        distance = scene.range_m(pixel_rays(camera))
        known = distance < 200
        uv_px = torch.stack(
            torch.meshgrid(
                torch.arange(camera.width) + 0.5, torch.arange(camera.height) + 0.5, indexing="xy"
            ),
            -1,
        )
        depth = distance / camera.range_per_depth(uv_px, camera.depth_kind)
        depth = change(torch.where(known, depth, torch.zeros_like(depth)))
        record = DepthRecord(
            image=f"{number}.png", model="truth", version="1", licence="none",
            kind=camera.depth_kind, unit="m", camera=camera_spec(camera, 1.8),
            camera_height_m=1.8, valid_percent=0, software="test",
        )  # fmt: skip
        (folder / "depth").mkdir(exist_ok=True)
        full = DepthMap(depth, camera.depth_kind, True, depth > 0, "truth")
        write_depth(folder / "depth" / f"{number}.npz", full, camera, "npz", record)
    return folder / "depth"


def inverse(depth: Tensor) -> Tensor:
    return torch.where(depth > 0, 1 / depth.clamp_min(1e-3) + 0.05, 0.0)


def verdicts(folder: Path) -> dict[str, bool | None]:
    files = find_depth_files(folder, folder.parent / "images")
    return {finding.what: finding.ok for finding in check_depth(files)[0]}


@pytest.mark.parametrize("camera", [PANO, PHOTO], ids=["panorama", "photo"])
def test_true_depth_passes_every_check(camera: Camera, tmp_path: Path) -> None:
    found = verdicts(truth_folder(tmp_path, camera, lambda d: d))
    assert set(found.values()) == {True} and len(found) == 5


@pytest.mark.parametrize("camera", [PANO, PHOTO], ids=["panorama", "photo"])
@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("unit", lambda d: d * 1000),
        ("unit", lambda d: d / 1000),
        ("unit", lambda d: d * 256),
        ("depth or inverse depth", inverse),
        ("mirrored or turned", lambda d: d.flip(1)),
    ],
    ids=["millimetres", "metres as millimetres", "1/256", "inverse", "mirrored"],
)
def test_mistakes_are_caught(
    what: str, change: Callable[[Tensor], Tensor], camera: Camera, tmp_path: Path
) -> None:
    found = verdicts(truth_folder(tmp_path, camera, change))
    assert [name for name, ok in found.items() if ok is False] == [what]


def test_z_for_range_is_caught(tmp_path: Path) -> None:
    to_z = pixel_rays(PANO).abs().amax(-1)
    assert verdicts(truth_folder(tmp_path / "a", PANO, lambda d: d * to_z))["range or z"] is False
    uv_px = torch.stack(
        torch.meshgrid(torch.arange(320) + 0.5, torch.arange(240) + 0.5, indexing="xy"), -1
    )
    length = PHOTO.range_per_depth(uv_px, "z")
    found = verdicts(truth_folder(tmp_path / "b", PHOTO, lambda d: d * length))
    assert found["range or z"] is False


def test_turned_panoramas_are_caught(tmp_path: Path) -> None:
    folder = truth_folder(tmp_path, PANO, lambda d: d.roll(90, 1))
    files = find_depth_files(folder, tmp_path / "images")
    found = [f for f in check_depth(files)[0] if f.what == "mirrored or turned"]
    assert found[0].ok is False and "90 degrees" in found[0].detail


def test_check_tells_on_the_command_line(cli: Cli, tmp_path: Path) -> None:
    folder = truth_folder(tmp_path, PANO, lambda d: d * 1000)
    told = cli("depth", "check", folder, "--images", tmp_path / "images")
    assert told.code == 1
    assert "WRONG" in told.out and "millimetres" in told.out
    (folder / "0.npz").write_bytes(b"broken")
    assert "cannot be read" in cli("depth", "check", folder).out
    cli("depth", "check", tmp_path / "images").assert_one_line_error("record")


# ------------------------------------------------------------------ adapters


@pytest.mark.parametrize("kind", ["relative", "metric"])
def test_depth_anything_with_a_tiny_network(kind: str, tmp_path: Path, cli: Cli) -> None:
    """The library's own classes, saved and loaded as a published model is."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    backbone = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=56, patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False,
        apply_layernorm=True,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, patch_size=14, reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, head_hidden_size=8,
        depth_estimation_type=kind, max_depth=40 if kind == "metric" else 1,
    )  # fmt: skip
    network = transformers.DepthAnythingForDepthEstimation(config)
    with torch.no_grad():  # an untrained head returns zeros
        network.head.conv3.bias.fill_(0.5)
    network.save_pretrained(tmp_path / "model")
    image = tmp_path / "pano.png"
    save_picture(picture(STREET, PANO), image)
    made = cli(
        "depth", image, "--model", f"depth-anything-v2:{tmp_path / 'model'}",
        "--output", tmp_path / "o",
    )  # fmt: skip
    assert made.code == 0, made.err
    record = read_record(tmp_path / "o" / "pano.npz")
    assert record is not None
    assert record.kind == "range" and record.model == "depth-anything-v2:model"
    assert record.unit == ("m" if kind == "metric" else "relative")
    assert record.far_limit_m == (40.0 if kind == "metric" else None)
    found = load_depth(tmp_path / "o" / "pano.npz", PANO)
    assert bool(torch.isfinite(found.depth).all()) and float(found.valid.float().mean()) > 0.1


def test_depth_anything_that_cannot_be_had(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    save_picture(picture(STREET, PANO), tmp_path / "a.png")
    cli(
        "depth", tmp_path / "a.png", "--model", f"depth-anything-v2:{tmp_path}",
        "--output", tmp_path / "o", "--quiet",
    ).assert_one_line_error("config.json")  # fmt: skip


def onnx_graph(path: Path, height: int, width: int) -> None:
    """Write a graph whose depth is 10 times the red channel plus 1, with a validity output."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weights = np.zeros((1, 3, 1, 1), np.float32)
    weights[0, 0] = 10.0
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["depth"]),
        helper.make_node("Sub", ["depth", "two"], ["sure"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "depth", [value("image", 1, ["batch", 3, height, width])],
        [value("depth", 1, ["batch", 1, height, width]),
         value("sure", 1, ["batch", 1, height, width])],
        [numpy_helper.from_array(weights, "w"),
         numpy_helper.from_array(np.ones(1, np.float32), "b"),
         numpy_helper.from_array(np.full(1, 2.0, np.float32), "two")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(path))


def describe(folder: Path, **fields: object) -> Path:
    known = {
        "file": "net.onnx", "name": "tiny", "licence": "CC-BY-NC-4.0", "non_commercial": True,
        "quantity": "metric", "kind": "z", "size": [32, 32], "valid_output": "sure",
    }  # fmt: skip
    path = folder / "net.json"
    path.write_text(json.dumps(known | fields))
    return path


def test_any_onnx_network_with_a_description(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx_graph(tmp_path / "net.onnx", 32, 32)
    red = torch.zeros(3, 64, 128)
    red[0] = 0.4
    red[0, :, :20] = 0.05
    save_picture(red, tmp_path / "a.png")
    toml = tmp_path / "net.toml"
    toml.write_text(
        'file = "net.onnx"\nname = "tiny"\nlicence = "CC-BY-NC-4.0"\nnon_commercial = true\n'
        'quantity = "metric"\nkind = "z"\nsize = [32, 32]\nvalid_output = "sure"\n'
    )
    made = cli("depth", tmp_path / "a.png", "--hfov", 90, "--model", toml, "--output",
               tmp_path / "o")  # fmt: skip
    assert made.code == 0, made.err
    assert "CC-BY-NC-4.0 (non-commercial use only)" in made.err
    found = load_depth(tmp_path / "o" / "a.npz", Pinhole.from_hfov(128, 64, 90.0))
    assert float(found.depth[32, 100]) == pytest.approx(5.0, abs=0.05)
    assert not found.valid[:, :16].any()  # the network's own validity
    pano = cli("depth", tmp_path / "a.png", "--model", toml, "--output", tmp_path / "p", "--quiet")
    assert pano.code == 0, pano.err
    assert load_depth(tmp_path / "p" / "a.npz", Equirectangular(128, 64)).kind == "range"


def test_a_network_is_loaded_once_while_its_files_stay_as_they_are(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx_graph(tmp_path / "net.onnx", 32, 32)
    name = str(describe(tmp_path))
    first = make_depth_model(name, 2.0)
    assert make_depth_model(name, 1.6) is first
    os.utime(tmp_path / "net.onnx", ns=(1, 1))
    assert make_depth_model(name, 2.0) is not first


def test_onnx_networks_for_whole_panoramas(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx_graph(tmp_path / "net.onnx", 32, 64)
    red = torch.full((3, 64, 128), 0.4)
    save_picture(red, tmp_path / "a.png")
    path = describe(tmp_path, projection="equirectangular", kind="range", size=[32, 64])
    made = cli("depth", tmp_path / "a.png", "--model", path, "--output", tmp_path / "o", "--quiet")
    assert made.code == 0, made.err
    found = load_depth(tmp_path / "o" / "a.npz", Equirectangular(128, 64))
    assert float(found.depth.mean()) == pytest.approx(5.0, abs=0.05)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"quantity": "disparity"}, "quantity"),
        ({"extra": 1}, "extra"),
        ({"kind": "range", "quantity": "inverse"}, "inverse"),
        ({"projection": "equirectangular"}, "range"),
        ({"file": "none.onnx"}, "none.onnx"),
        ({"output": "nope"}, "nope"),
    ],
)
def test_descriptions_that_cannot_be_used(
    fields: dict[str, object], message: str, cli: Cli, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    onnx_graph(tmp_path / "net.onnx", 32, 32)
    save_picture(torch.full((3, 32, 64), 0.4), tmp_path / "a.png")
    cli(
        "depth", tmp_path / "a.png", "--model", describe(tmp_path, **fields),
        "--output", tmp_path / "o", "--quiet",
    ).assert_one_line_error(message)  # fmt: skip
