"""Batches: the same answers as one by one, nothing lost, failures as rows."""

from __future__ import annotations

import csv
import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loc2.batch.ledger import Ledger, Part
from loc2.batch.manifest import Row, open_manifest
from loc2.batch.rows import COLUMNS, result_row
from loc2.batch.run import Batch
from loc2.batch.work import give_back_memory
from loc2.errors import InputError
from loc2.localization import Localization
from loc2.localizer import Localizer
from loc2.matching import GroundDescription
from loc2.pipeline import staged
from loc2.query import Query
from loc2.sharing import SharedCache
from loc2.views import AerialFeatures, AerialView, GroundView
from tests.batch_job import METERS_PER_PIXEL, write_manifest, write_weights
from tests.conftest import CliResult

Cli = Callable[..., CliResult]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights and a manifest of twelve photos, the sixth and twelfth damaged."""
    folder = tmp_path_factory.mktemp("job")
    write_weights(folder / "weights.safetensors")
    write_manifest(folder, photos=12, tiles=3, damaged=6)
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def words(job: Path, output: Path, *more: object) -> tuple[object, ...]:
    weights = job / "weights.safetensors"
    return ("batch", job / "photos.csv", "--output", output, "--weights", weights, "--quiet",
            "--workers", 1, *more)  # fmt: skip


def test_rows_are_the_answers_of_localize(cli: Cli, job: Path, tmp_path: Path) -> None:
    output = tmp_path / "results.csv"
    result = cli(*words(job, output, "--part-rows", 5))
    assert result.code == 3, result.err
    rows = rows_of(output)
    assert [int(row["row"]) for row in rows] == list(range(1, 13))
    assert [row["id"] for row in rows] == [f"p{i}" for i in range(12)]
    assert [row["id"] for row in rows if row["status"] == "failed"] == ["p5", "p11"]
    assert "photo_00005.png" in rows[5]["error"] and rows[5]["east_m"] == ""
    for index in (0, 4, 7):
        single = cli(
            "localize", job / f"photo_{index:05d}.png",
            "--aerial", job / f"aerial_{index * 3 // 12}.png",
            "--meters-per-pixel", METERS_PER_PIXEL, "--heading-prior", index * 7,
            "--heading-range", 30, "--weights", job / "weights.safetensors", "--json",
        )  # fmt: skip
        record = json.loads(single.out)
        for name in ("east_m", "north_m", "heading_deg", "confidence", "u_px"):
            assert float(rows[index][name]) == pytest.approx(record[name], abs=1e-5), name
    summary = json.loads((tmp_path / "results.csv.summary.json").read_text())
    assert (summary["rows"], summary["ok"], summary["failed"]) == (12, 10, 2)
    assert not (tmp_path / "results.csv.job").exists()
    # The same command again has nothing to do, and says the same.
    output.touch()
    before = output.stat().st_mtime_ns
    assert cli(*words(job, output, "--part-rows", 5)).code == 3
    assert output.stat().st_mtime_ns == before


def test_outputs_of_all_kinds_hold_the_same(cli: Cli, job: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    for kind in ("csv", "parquet", "geojson"):
        assert cli(*words(job, tmp_path / f"r.{kind}", "--part-rows", 7)).code == 3
    table = parquet.read_table(tmp_path / "r.parquet").to_pylist()
    features = json.loads((tmp_path / "r.geojson").read_text())["features"]
    assert list(table[0]) == list(COLUMNS)
    for row, record, feature in zip(rows_of(tmp_path / "r.csv"), table, features, strict=True):
        shown = {name: "" if value is None else str(value) for name, value in record.items()}
        assert shown == row
        assert {k: v for k, v in record.items() if v is not None} == feature["properties"]
        assert feature["geometry"] is None  # plain aerial images are nowhere on the earth


def test_a_folder_with_one_georeferenced_image_for_all(cli: Cli, job: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyproj")
    photos = tmp_path / "photos"
    (photos / "deeper").mkdir(parents=True)
    (photos / "b.png").write_bytes((job / "photo_00000.png").read_bytes())
    (photos / "deeper" / "a.png").write_bytes((job / "photo_00001.png").read_bytes())
    (photos / "notes.txt").write_text("no photo")
    result = cli(
        "batch", photos, "--aerial", job / "aerial_0.png", "--meters-per-pixel", 0.5,
        "--aerial-center", "48.1,11.5", "--output", tmp_path / "r.geojson", "--workers", 1,
        "--weights", job / "weights.safetensors", "--attribution", "© Example",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "2 localized, 0 failed" in result.out
    features = json.loads((tmp_path / "r.geojson").read_text())["features"]
    assert [f["properties"]["id"] for f in features] == ["b.png", "deeper/a.png"]
    for feature in features:
        longitude, latitude = feature["geometry"]["coordinates"]
        assert abs(latitude - 48.1) < 0.001 and abs(longitude - 11.5) < 0.001
        assert feature["properties"]["attribution"] == "© Example"


def test_exit_codes_of_nothing_right_and_of_misuse(cli: Cli, job: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("ground,aerial,hfov_deg\nnone.png,none.png,x\nnone.png,none.png,\n,,\n")
    common = ("--weights", job / "weights.safetensors", "--workers", 1, "--quiet")
    assert cli("batch", bad, "--output", tmp_path / "r.csv", *common).code == 4
    errors = [row["error"] for row in rows_of(tmp_path / "r.csv")]
    assert "hfov_deg" in errors[0] and "none.png" in errors[1] and "ground" in errors[2]
    manifest, output = job / "photos.csv", tmp_path / "o.csv"

    def refused(*given: object) -> CliResult:
        return cli("batch", *common, *given)

    refused(manifest, "--output", tmp_path / "o.xlsx").assert_one_line_error("must end in")
    refused(tmp_path / "no.csv", "--output", output).assert_one_line_error("no such file")
    refused(job, "--output", output).assert_one_line_error("needs --aerial")
    refused(tmp_path, "--output", output, "--aerial", "x").assert_one_line_error("no photos")
    refused(manifest, "--output", output, "--hfov", 200).assert_one_line_error("hfov_deg")
    refused(manifest, "--output", output, "--address", "x").assert_one_line_error("--engine ray")
    refused(manifest, "--output", output, "--workers", 0).assert_one_line_error("workers")
    refused(
        manifest, "--output", output, "--aerial", "no.png", "--meters-per-pixel", 1
    ).assert_one_line_error("no.png")
    cli("batch", manifest, "--output", output, "--weights", "no.safetensors").assert_one_line_error(
        "no such weights"
    )
    (tmp_path / "head.csv").write_text("photo\nx.png\n")
    refused(tmp_path / "head.csv", "--output", output).assert_one_line_error("column: ground")
    (tmp_path / "head.csv").write_text("ground\n")
    refused(tmp_path / "head.csv", "--output", output).assert_one_line_error("no rows")
    assert not output.exists() and not list(tmp_path.glob("*.job"))
    output.write_text("somebody's")
    refused(manifest, "--output", output).assert_one_line_error("exists already")
    assert output.read_text() == "somebody's"


def test_parts_of_another_job_are_not_continued(cli: Cli, job: Path, tmp_path: Path) -> None:
    folder = tmp_path / "r.csv.job"
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps({"content": "another"}))
    (folder / "00000").mkdir()
    (folder / "00000" / "part-00000000.jsonl").write_text("{}\n")
    cli(*words(job, tmp_path / "r.csv")).assert_one_line_error("another job", "content")
    assert not (tmp_path / "r.csv").exists()
    assert (folder / "00000" / "part-00000000.jsonl").exists()


def alive(session: int) -> list[Path]:
    """Return the processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(stat.parent)
    return found


def start(manifest: Path, output: Path, *more: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [
        sys.executable, str(ROOT / "tests" / "batch_job.py"), "batch", str(manifest),
        "--output", str(output), "--weights", str(manifest.parent / "weights.safetensors"),
        "--workers", "2", "--part-rows", "25", "--quiet", *more,
    ]  # fmt: skip
    return subprocess.Popen(command, env=environment, start_new_session=True)


def resident_mb(session: int) -> float:
    """Return the memory of a session's processes together."""
    total = 0
    for process in alive(session):
        try:
            total += int((process / "statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
    return total * os.sysconf("SC_PAGE_SIZE") / 1e6


def own_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.skipif(
    not (Path("/proc/self/statm").exists() and hasattr(ctypes.CDLL(None), "malloc_trim")),
    reason="needs /proc and a C library that gives memory back",
)
def test_freed_memory_goes_back_to_the_system() -> None:
    held = [bytearray(100_000) for _ in range(3000)]
    kept = held[::100]  # what is left in between keeps the heap from shrinking by itself
    del held
    before = own_pages()
    give_back_memory()
    assert (before - own_pages()) * os.sysconf("SC_PAGE_SIZE") > 100e6
    assert len(kept) == 30


def wait_for_parts(process: subprocess.Popen[bytes], output: Path, count: int) -> None:
    folder = output.with_name(output.name + ".job")
    while process.poll() is None and len(list(folder.rglob("part-*.jsonl"))) < count:
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc for processes and memory")
def test_two_thousand_photos_killed_three_times(tmp_path: Path) -> None:
    write_weights(tmp_path / "weights.safetensors")
    manifest = write_manifest(tmp_path, photos=2000, tiles=20, damaged=401)
    moments = random.Random()
    killed = tmp_path / "killed.csv"
    for count in (moments.randint(1, 20), moments.randint(25, 45), moments.randint(50, 75)):
        process = start(manifest, killed)
        wait_for_parts(process, killed, count)
        time.sleep(moments.uniform(0.0, 0.2))
        assert process.poll() is None
        if count % 2:  # only the parent, or its workers with it
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not killed.exists()
    process = start(manifest, killed)
    assert process.wait() == 3
    summary = json.loads((tmp_path / "killed.csv.summary.json").read_text())
    assert summary["resumed"] >= 50 * 25
    assert not killed.with_name("killed.csv.job").exists()

    whole = tmp_path / "whole.csv"
    process = start(manifest, whole)
    memory_mb: list[tuple[int, float]] = []
    while process.poll() is None:
        done = len(list(whole.with_name("whole.csv.job").rglob("part-*.jsonl")))
        memory_mb.append((done, resident_mb(process.pid)))
        time.sleep(0.1)
    assert process.returncode == 3
    early = max(mb for done, mb in memory_mb if 8 <= done < 24)
    late = max(mb for done, mb in memory_mb if done >= 64)
    assert late < early + 60, (early, late)

    assert [int(row["row"]) for row in rows_of(killed)] == list(range(1, 2001))
    assert sum(row["status"] == "failed" for row in rows_of(killed)) == 4
    assert killed.read_bytes() == whole.read_bytes()


def test_a_killed_worker_is_replaced(job: Path, tmp_path: Path) -> None:
    photos = write_manifest(tmp_path, photos=150, tiles=2)
    write_weights(tmp_path / "weights.safetensors")
    process = start(photos, tmp_path / "r.csv")
    wait_for_parts(process, tmp_path / "r.csv", 1)
    workers = [p for p in alive(process.pid) if b"spawn_main" in (p / "cmdline").read_bytes()]
    os.kill(int(workers[-1].name), signal.SIGKILL)
    assert process.wait() == 0
    rows = rows_of(tmp_path / "r.csv")
    assert [int(row["row"]) for row in rows] == list(range(1, 151))


def test_two_runs_do_not_share_an_output(job: Path, cli: Cli, tmp_path: Path) -> None:
    photos = write_manifest(tmp_path, photos=100, tiles=2)
    write_weights(tmp_path / "weights.safetensors")
    process = start(photos, tmp_path / "r.csv")
    wait_for_parts(process, tmp_path / "r.csv", 1)
    cli(
        "batch", photos, "--output", tmp_path / "r.csv", "--part-rows", 25, "--workers", 2,
        "--weights", tmp_path / "weights.safetensors",
    ).assert_one_line_error("another run")  # fmt: skip
    assert process.wait() == 0


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    poison=st.sets(st.integers(0, 35)),
    unlucky=st.sets(st.integers(0, 5)),
    workers=st.integers(1, 6),
)
def test_the_ledger_loses_nothing_and_blames_the_right_photo(
    sizes: list[int], poison: set[int], unlucky: set[int], workers: int
) -> None:
    numbers = iter(range(1, 1000))
    parts = [Part(i, [Row(next(numbers), "", {}) for _ in range(n)]) for i, n in enumerate(sizes)]
    ledger, finished, step = Ledger(iter(parts), workers), {}, 0
    while (task := ledger.next()) is not None:
        first_time = task.deaths == 0 and step in unlucky  # a worker that dies by itself
        step += 1
        if first_time or any(row.number in poison for row in task.rows):
            complete = ledger.died(task)
        else:
            complete = ledger.finished(
                task, [{"row": row.number, "status": "ok"} for row in task.rows]
            )
        if complete is not None:
            finished[complete[0]] = complete[1]
    assert finished.keys() == {part.index for part in parts}
    for part in parts:
        records = finished[part.index]
        assert [record["row"] for record in records] == [row.number for row in part.rows]
        failed = {record["row"] for record in records if record["status"] != "ok"}
        assert failed == {row.number for row in part.rows} & poison


def test_few_photos_are_shared_by_all_workers() -> None:
    def tasks(sizes: list[int], workers: int) -> list[int]:
        parts = [Part(i, [Row(1, "", {})] * n) for i, n in enumerate(sizes)]
        ledger = Ledger(iter(parts), workers)
        return [len(task.rows) for task in iter(ledger.next, None)]

    assert tasks([40], 16) == [3] * 13 + [1]
    assert tasks([100, 50], 4) == [38, 38, 24, 38, 12]
    assert tasks([100] * 4, 1) == [100] * 4
    assert tasks([100] * 4, 2) == [100] * 3 + [50, 50]


def test_manifests_are_read_as_they_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(
        "id,ground,aerial,projection,elevation_top_deg,depth,north_m\n"
        "a,x/1.jpg,t.tif,pinhole,40,flat,3\n"
        "b,2.jpg,,,,d.npy,\n"
        "c,3.jpg,https://t/{z}/{x}/{y}.png,,,,,more\n"
    )
    manifest = open_manifest(path)
    assert (manifest.rows, manifest.unused) == (3, ())
    first, second, third = manifest.read({"aerial": "all.tif", "hfov_deg": 70.0})
    assert first.fields == {
        "aerial": str(tmp_path / "t.tif"), "hfov_deg": 70.0, "ground": tmp_path / "x/1.jpg",
        "projection": "pinhole", "depth": "flat",
    }  # fmt: skip
    assert second.fields["aerial"] == "all.tif"
    assert second.fields["depth"] == str(tmp_path / "d.npy")
    with pytest.raises(InputError, match="more fields"):
        third.request()


@pytest.fixture(scope="module")
def localizer(job: Path) -> Localizer:
    return Localizer.from_pretrained(job / "weights.safetensors")


@pytest.mark.parametrize(("batch_size", "tolerance"), [(1, 0.0), (5, 1e-3)])
def test_localize_batch_is_localize_in_order(
    localizer: Localizer, job: Path, batch_size: int, tolerance: float
) -> None:
    queries = [
        Query(
            job / f"photo_{i:05d}.png", job / f"aerial_{i * 3 // 12}.png",
            meters_per_pixel=METERS_PER_PIXEL, heading_prior=(30.0 * i, 30.0),
        )
        for i in range(12)
    ]  # fmt: skip
    answers = list(localizer.localize_batch(iter(queries), batch_size=batch_size, solvers=2))
    assert len(answers) == 12
    for i, (query, answer) in enumerate(zip(queries, answers, strict=True)):
        if i % 6 == 5:
            assert isinstance(answer, InputError) and f"photo_{i:05d}.png" in str(answer)
            continue
        assert isinstance(answer, Localization)
        alone = localizer.localize(
            query.ground, query.aerial, meters_per_pixel=METERS_PER_PIXEL,
            heading_prior=query.heading_prior,
        )  # fmt: skip
        for name in ("east_m", "north_m", "heading_deg"):
            difference = abs(getattr(answer.pose, name) - getattr(alone.pose, name))
            assert difference <= tolerance, (i, name)


def test_localize_batch_divides_the_threads_and_leaves_them_as_they_were(
    localizer: Localizer, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aerial, ground = localizer._describe_aerial, localizer._describe_ground
    aerials: list[int] = []
    threads: dict[str, set[int]] = {}

    def noted(kind: str) -> None:
        threads.setdefault(kind, set()).add(torch.get_num_threads())

    def describe_aerial(views: Sequence[AerialView]) -> list[AerialFeatures]:
        noted("aerial")
        aerials.append(len(views))
        return aerial(views)

    def describe_ground(views: Sequence[GroundView]) -> GroundDescription:
        noted("ground")
        return ground(views)

    monkeypatch.setattr(localizer, "_describe_aerial", describe_aerial)
    monkeypatch.setattr(localizer, "_describe_ground", describe_ground)
    queries = [
        Query(job / f"photo_{i:05d}.png", job / "aerial_0.png", meters_per_pixel=METERS_PER_PIXEL)
        for i in (0, 1, 2, 3, 4, 6)
    ]

    def threads_of_a_new_thread() -> int:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(torch.get_num_threads).result()

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for solvers, each in ((None, 1), (1, 2)):
            aerials.clear()
            threads.clear()
            answers = list(localizer.localize_batch(iter(queries), solvers=solvers))
            assert not any(isinstance(answer, Exception) for answer in answers)
            assert aerials == [1]  # for all photos
            assert threads == {"aerial": {each}, "ground": {each}}
            assert torch.get_num_threads() == threads_of_a_new_thread() == 2
    finally:
        torch.set_num_threads(before)


def test_the_pipeline_keeps_order_and_takes_items_as_needed() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for i in range(1000):
            taken += 1
            yield i

    def prepare(item: int) -> int:
        time.sleep(0.001 * (item % 3))
        if item % 10 == 7:
            raise InputError(f"item {item}")
        return item

    def describe(batch: object) -> None:
        raise RuntimeError("what cannot be done together is done alone")

    results = staged(
        items(), prepare, describe, lambda i: i * 2, batch_size=4, readers=3, solvers=2
    )
    for i in range(100):
        result = next(results)
        assert str(result) == (f"item {i}" if i % 10 == 7 else str(2 * i))
        assert taken <= i + 2 * 4 + 3 + 2 + 1
    results.close()


def test_a_shared_value_is_made_once_and_dropped_for_newer_ones() -> None:
    cache = SharedCache[bytes](limit_bytes=25, size=len)
    made: list[str] = []

    def make(name: str) -> bytes:
        made.append(name)
        time.sleep(0.01)
        return b"x" * 10

    threads = [threading.Thread(target=cache.get, args=("a", lambda: make("a"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["a"]
    for name in "bacab":  # a was wanted after b when c comes
        cache.get(name, lambda name=name: make(name))
    assert made == ["a", "b", "c", "b"]
    with pytest.raises(InputError):
        cache.get("broken", lambda: (_ for _ in ()).throw(InputError("no")))
    assert cache.get("broken", lambda: b"now") == b"now"


def test_keys_of_addresses_are_in_no_result_and_no_description(job: Path) -> None:
    address = "https://bob:PASSWORD@tiles.example/{z}/{x}/{y}.png?key=SECRET"
    row = result_row(Row(1, "a", {"ground": "a.jpg", "aerial": address}), InputError("no"))
    assert row["aerial"] == "https://tiles.example/{z}/{x}/{y}.png?..."
    manifest, weights = open_manifest(job / "photos.csv"), job / "weights.safetensors"

    def described(aerial: str) -> str:
        batch = Batch(manifest, job / "out.csv", {"aerial": aerial}, weights)
        return json.dumps(batch.description())

    text = described(address)
    assert not any(part in text for part in ("bob", "PASSWORD", "SECRET"))
    assert described(address) == text != described(address.replace("SECRET", "OTHER"))
    assert "ortho.tif" in described("ortho.tif")
