"""Photos near each other share aerial windows, on purpose by a lattice, and a Ray cluster works."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from loc2.batch.manifest import Row
from loc2.batch.work import Setup, Worker
from tests.batch_job import write_manifest, write_weights
from tests.conftest import CliResult

ROOT = Path(__file__).resolve().parents[1]


def test_windows_on_a_lattice_are_described_once(tmp_path: Path) -> None:
    pyproj = pytest.importorskip("pyproj")
    write_manifest(tmp_path, photos=8, tiles=1)
    worker = Worker(Setup(weights=write_weights(tmp_path / "w.safetensors")))
    rng = np.random.default_rng(2)
    geod = pyproj.Geod(ellps="WGS84")
    places = [
        geod.fwd(11.5, 48.1, float(rng.uniform(0, 360)), float(rng.uniform(0, 4)))[:2]
        for _ in range(8)
    ]

    def rows(**more: float) -> list[Row]:
        return [
            Row(i, str(i), {
                "ground": tmp_path / f"photo_{i:05d}.png", "aerial": str(tmp_path / "aerial_0.png"),
                "meters_per_pixel": 0.5, "aerial_latitude_deg": 48.1, "aerial_longitude_deg": 11.5,
                "latitude_deg": latitude, "longitude_deg": longitude, "radius_m": 8.0, **more,
            })
            for i, (longitude, latitude) in enumerate(places)
        ]  # fmt: skip

    answers = worker.run(rows(snap_m=20.0))
    assert all(answer["status"] == "ok" for answer in answers), answers[0]["error"]
    assert worker.windows_made <= 4  # at most the four lattice points around
    # The window holds the one that was asked for.
    for (longitude, latitude), answer in zip(places, answers, strict=True):
        _, _, distance_m = geod.inv(
            longitude, latitude, answer["longitude_deg"], answer["latitude_deg"]
        )
        assert distance_m < np.hypot(40, 40) + 20
    shared = worker.windows_made
    worker.run(rows())
    assert worker.windows_made == shared + 8


def test_a_ray_cluster_that_loses_a_worker_gives_the_same(
    cli: Callable[..., CliResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="the extra loc2[ray] is not installed")
    utilities = pytest.importorskip("ray.cluster_utils")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # or a busy machine starves the workers
    manifest = write_manifest(tmp_path, photos=120, tiles=4, damaged=50)
    weights = write_weights(tmp_path / "weights.safetensors")
    common = ("batch", manifest, "--weights", weights, "--part-rows", 5, "--quiet")
    assert cli(*common, "--output", tmp_path / "here.csv", "--workers", 1).code == 3
    cluster = utilities.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        lost = cluster.add_node(num_cpus=1)
        ray.init(
            address=cluster.address,
            log_to_driver=False,
            runtime_env={
                "env_vars": {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
                "worker_process_setup_hook": "tests.batch_job.known",
            },
        )
        nodes: list[int] = []
        output = tmp_path / "there.csv"

        def lose_one() -> None:
            folder = output.with_name("there.csv.job")
            while len(list(folder.rglob("part-*.jsonl"))) < 6:
                time.sleep(0.05)
            nodes.append(sum(node["Alive"] for node in ray.nodes()))
            cluster.remove_node(lost, allow_graceful=False)
            nodes.append(len(list(folder.rglob("part-*.jsonl"))))

        watcher = threading.Thread(target=lose_one, daemon=True)
        watcher.start()
        result = cli(*common, "--output", output, "--engine", "ray", "--workers", 2)
        watcher.join(timeout=60)
        assert result.code == 3, result.err
        assert nodes[0] == 2 and nodes[1] < 24  # lost in the middle
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert output.read_bytes() == (tmp_path / "here.csv").read_bytes()
