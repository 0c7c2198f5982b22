r"""Fit the confidence of a weights file, and judge it on data that the fit has not seen.

    loc2 scenes render MESH --output mesh --split high --count 60 --window 76 76 --offset 0
    python benchmarks/fit_confidence.py collect --textures DIR --mesh mesh/pairs.csv \
        --rows rows.json
    python benchmarks/fit_confidence.py fit --rows rows.json --output default.safetensors \
        --results benchmarks/results/confidence.json
    python benchmarks/fit_confidence.py judge --rows rows.json --weights default.safetensors \
        --results benchmarks/results/confidence.json

``judge`` fits nothing: it judges what is in a weights file. Rounds are further mixes of the same
kind: those of 0 and 1 have helped to choose what the confidence looks at, so ``collect
--judge-rounds 2`` (or 3, ...) is the stricter test.

The mix, for fitting and, with other seeds, for judging: generated panoramas with unknown heading,
windows of 60 m (turned ones, of tilted cameras, are 43 to 58 m) and shifts of 10 m; narrow photos
with unknown heading and with heading known within 20 degrees; and panoramas paired with the aerial
image of another scene of the same style, whose only right answer is a low confidence. Those are
half as many in the fit as in what is judged: with more of them the confidence of real photos, most
of which are of the right place, comes out too low. What is judged also holds renders of a
photogrammetry mesh, which nothing is fitted on.
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from loc2.data.pairs import read_pairs
from loc2.errors import Loc2Error
from loc2.evaluation.calibration import calibration_summary
from loc2.evaluation.metrics import Errors, summarize
from loc2.evaluation.pairs import Protocol, Sample, load_pair, prepare_trial
from loc2.evaluation.scenes import scene_sources
from loc2.frames import heading_error_deg
from loc2.localizer import HeadingPrior, Localizer
from loc2.pose.confidence import ConfidenceModel, Statistics, fit_confidence
from loc2.scenes.pairs import SceneOptions

FIT_SEED, JUDGE_SEED, ROUND = 910_000_000, 920_000_000, 1_000_000
STYLES = 10  # scenes of seeds 2k and 2k + 1 have one style
CANDIDATES = ("peak_mass", "azimuth_spread", "other_evidence", "other_far_lead")
"""With all eighteen statistics to choose from, a fit on a few hundred cases is worse on others."""


@dataclass(frozen=True)
class Case:
    """One localization: what it is counted under, and how to get the sample."""

    part: str
    kind: str
    name: str
    seed: int
    heading_range_deg: float
    pinhole: bool = False
    elsewhere: bool = False
    mesh_row: int | None = None


def cases(part: str, first_seed: int, scale: float, mesh_rows: int) -> list[Case]:
    """List a mix; ``scale`` multiplies all counts. Cases of one scene stand side by side."""
    listed = []

    def add(kind: str, seed: int, heading_range_deg: float, **more: bool) -> None:
        name = f"{part} {kind} {seed}"
        listed.append(Case(part, kind, name, seed, heading_range_deg, **more))

    every = 4 if part == "fit" else 2
    panoramas, narrow = round(60 * scale), round(40 * scale)
    for seed in range(first_seed, first_seed + 2 * panoramas, 2):
        add("panorama", seed, 180.0)
        if (seed - first_seed) % every == 0:
            add("another place", seed, 180.0, elsewhere=True)
        add("panorama", seed + 1, 180.0)
    for seed in range(first_seed + 2 * panoramas, first_seed + 2 * panoramas + narrow):
        add("narrow, unknown heading", seed, 180.0, pinhole=True)
        add("narrow, heading within 20", seed, 20.0, pinhole=True)
    for row in range(mesh_rows):
        listed.append(Case(part, "mesh", f"{part} mesh {row}", row, 180.0, mesh_row=row))
    return listed


@functools.cache
def _localizer(weights: Path | None) -> Localizer:
    torch.set_num_threads(1)
    return Localizer.from_pretrained(weights)


@functools.lru_cache(maxsize=4)
def _scene(seed: int, pinhole: bool, textures: Path | None) -> Sample:
    least = (60.0 + 2 * 10.0) * 1.02 / 672
    options = SceneOptions(
        textures=textures,
        pinhole_share=float(pinhole),
        meters_per_pixel=(least, 1.25 * least),
        max_offset=0.0,
    )
    options = replace(options, styles=(options.styles[seed // 2 % STYLES],))
    return scene_sources(seed, 1, options)[0].load()


def run(case: Case, textures: Path | None, mesh: Path | None, weights: Path | None) -> Any:
    """Localize one case and keep what the fit needs."""
    if case.mesh_row is not None:
        assert mesh is not None
        sample = replace(load_pair(read_pairs(mesh)[case.mesh_row]), depth=None)
        shift_m = 6.0
    else:
        sample = _scene(case.seed, case.pinhole, textures)
        shift_m = 10.0
    if case.elsewhere:
        other = _scene(case.seed ^ 1, case.pinhole, textures)
        sample = replace(sample, aerial=other.aerial, meters_per_pixel=other.meters_per_pixel)
    protocol = Protocol(case.heading_range_deg, 60.0, shift_m)
    trial, depth = prepare_trial(sample, case.name, protocol, 0)
    prior = None
    if case.heading_range_deg < 180:
        prior = HeadingPrior(trial.expected_heading_deg, case.heading_range_deg)
    try:
        answer = _localizer(weights).localize(
            trial.ground,
            trial.aerial,
            camera=sample.camera,
            meters_per_pixel=sample.meters_per_pixel,
            heading_prior=prior,
            depth=depth,
            camera_height_m=sample.camera_height_m,
        )
    except Loc2Error as error:
        return {**asdict(case), "failure": str(error)}
    assert answer.statistics is not None
    away = (answer.pose.east_m - trial.truth.east_m, answer.pose.north_m - trial.truth.north_m)
    position_m = (away[0] ** 2 + away[1] ** 2) ** 0.5
    turn_deg = heading_error_deg(answer.pose.heading_deg, trial.truth.heading_deg)
    return {
        **asdict(case),
        "statistics": asdict(answer.statistics),
        "position_error_m": None if case.elsewhere else position_m,
        "heading_error_deg": None if case.elsewhere else turn_deg,
        "correct": not case.elsewhere and position_m < 5.0 and turn_deg < 10.0,
        "uncalibrated": answer.confidence,
    }


def collect(arguments: argparse.Namespace) -> None:
    """Localize the whole mix and write a row for each case."""
    rows_mesh = 0 if arguments.mesh is None else len(read_pairs(arguments.mesh))
    listed = []
    for part in arguments.fit_rounds:
        listed += cases("fit", FIT_SEED + part * ROUND, arguments.scale, 0)
    for part in arguments.judge_rounds:
        mesh = 0 if part else rows_mesh
        listed += cases("judge", JUDGE_SEED + part * ROUND, arguments.scale, mesh)
    work = functools.partial(
        run, textures=arguments.textures, mesh=arguments.mesh, weights=arguments.weights
    )
    rows = []
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        for row in pool.map(work, listed, chunksize=6):
            rows.append(row)
            if len(rows) % 40 == 0:
                print(f"{len(rows)} of {len(listed)}", flush=True)
    arguments.rows.write_text(json.dumps(rows))


def fit(arguments: argparse.Namespace) -> None:
    """Fit on one part, judge on the other, write the model into the weights file."""
    rows = json.loads(arguments.rows.read_text())
    done = [row for row in rows if "failure" not in row]
    used = [row for row in done if row["part"] == "fit"]
    model = fit_confidence(
        [Statistics(**row["statistics"]) for row in used],
        [row["correct"] for row in used],
        [row["position_error_m"] for row in used],
        fitted_on="generated scenes: panoramas, narrow photos, photos of other places",
        groups=[row["seed"] for row in used],
        candidates=CANDIDATES,
    )
    about = {"fitted": len(used), "fitted_wrong": sum(not row["correct"] for row in used)}
    _report(model, rows, about, arguments.results)
    if arguments.output is not None:
        _store(model, arguments.output)


def judge(arguments: argparse.Namespace) -> None:
    """Judge the confidence that a weights file holds."""
    with safe_open(arguments.weights, framework="pt") as file:
        model = ConfidenceModel.from_json(file.metadata()["confidence"])
    _report(
        model, json.loads(arguments.rows.read_text()), {"fitted": model.samples}, arguments.results
    )


def _report(
    model: ConfidenceModel, rows: Sequence[dict[str, Any]], about: dict[str, int], path: Path
) -> None:
    """Judge a confidence on the part of the rows that is for that; print and write the figures."""
    done = [row for row in rows if "failure" not in row]
    judged = [row for row in done if row["part"] == "judge"]
    kinds = sorted({row["kind"] for row in judged})
    results = {
        "machine": platform.processor() or platform.machine(),
        **about,
        "failures": len(rows) - len(done),
        "judged": _judge(model, judged),
        "by_kind": {k: _judge(model, [r for r in judged if r["kind"] == k]) for k in kinds},
        "poses": _poses(rows),  # of all cases: poses do not depend on what is fitted here
    }
    path.write_text(json.dumps(results, indent=1) + "\n")
    for name, summary in results["poses"].items():
        shown = ("n", "recall_2m_5deg", "recall_5m_10deg", "flip_rate", "position_median_m")
        print(name, {key: summary[key] for key in (*shown, "heading_median_deg")})
    for name, figures in (("judged", results["judged"]), *results["by_kind"].items()):
        shown = ("n", "wrong", "auroc", "expected_calibration_error", "radius_coverage")
        print(name, {key: figures.get(key) for key in shown})


def _judge(model: ConfidenceModel, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found = [Statistics(**row["statistics"]) for row in rows]
    placed = [k for k, row in enumerate(rows) if row["position_error_m"] is not None]
    summary = calibration_summary(
        [model.confidence(f) for f in found],
        [row["correct"] for row in rows],
        radius_m=[model.radius_m(found[k]) for k in placed] or None,
        position_error_m=[rows[k]["position_error_m"] for k in placed] or None,
    )
    return {k: None if v != v else v for k, v in summary.items()}


def _poses(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Summarise the pose errors of each kind that has a true pose."""
    errors: dict[str, list[Errors]] = {}
    for row in rows:
        if not row["elsewhere"]:
            found = row.get("position_error_m"), row.get("heading_error_deg")
            errors.setdefault(row["kind"], []).append(Errors(str(row["seed"]), *found))
    return {kind: summarize(samples) for kind, samples in sorted(errors.items())}


def _store(model: ConfidenceModel, path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, metadata | {"confidence": model.to_json()})
    partial.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(required=True)
    action = actions.add_parser("collect")
    action.add_argument("--textures", type=Path)
    action.add_argument("--mesh", type=Path)
    action.add_argument("--weights", type=Path)
    action.add_argument("--rows", type=Path, required=True)
    action.add_argument("--scale", type=float, default=1.0)
    for name in ("--fit-rounds", "--judge-rounds"):
        action.add_argument(name, type=int, nargs="*", default=[0, 1], help="mixes to make")
    action.add_argument("--workers", type=int, default=2)
    action.set_defaults(run=collect)
    action = actions.add_parser("fit")
    action.add_argument("--rows", type=Path, required=True)
    action.add_argument("--output", type=Path)
    action.add_argument("--results", type=Path, required=True)
    action.set_defaults(run=fit)
    action = actions.add_parser("judge")
    action.add_argument("--rows", type=Path, required=True)
    action.add_argument("--weights", type=Path, required=True)
    action.add_argument("--results", type=Path, required=True)
    action.set_defaults(run=judge)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
