"""The loop: it learns, stops with names, counts failures, resumes and divides exactly."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from loc2.errors import InputError, WeightsError
from loc2.training.cells import Cells
from loc2.training.distributed import Processes
from loc2.training.loop import TrainingError
from loc2.training.running import RunningStatistics
from loc2.training.sampler import StepSampler
from tests.training_run import InventedSet, make_trainer, small_config

ROOT = Path(__file__).parents[1]
TIMES = ("seconds", "seconds_left")


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes that are compared with
    yield
    torch.set_num_threads(before)


def _log(folder: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in r.items() if k not in TIMES} for r in records]


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    saved = torch.load(folder / "last.pt", weights_only=True)
    return {**saved["weights"], **{f"average {k}": v for k, v in saved["average"].items()}}


def _start(
    folder: Path, micro: int = 2, pause_s: float = 0.0, **env: str
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training_run", str(folder), str(micro), str(pause_s)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}", "OMP_NUM_THREADS": "1", **env},
        stderr=subprocess.PIPE,
    )


def test_it_learns_and_keeps_the_best(tmp_path: Path) -> None:
    config = small_config(epochs=12, learning_rate=5e-3, validate_every_epochs=6)
    records: list[dict[str, Any]] = []
    state = make_trainer(config, tmp_path, validation=True, report=records.append).run()
    losses = [r["loss"] for r in records if "loss" in r]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert state.step == 12 * 4
    assert (tmp_path / "model.safetensors").is_file()
    assert json.loads((tmp_path / "config.json").read_text()) == config.model_dump(mode="json")
    assert next(r for r in records if "validation" in r)["n"] == 2.0


def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    make_trainer(small_config(), tmp_path / "whole").run()
    folder = tmp_path / "killed"
    kills = 0
    for patience_s in (0.1, 0.6, 60.0):
        process = _start(folder, pause_s=0.03)
        log = folder / "log.jsonl"
        before = log.stat().st_size if log.exists() else 0
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if log.exists() and log.stat().st_size > before:
                break
            time.sleep(0.01)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    assert kills == 2
    assert process.returncode == 0, process.stderr and process.stderr.read().decode()
    assert _log(folder) == _log(tmp_path / "whole")
    expected, found = _weights(tmp_path / "whole"), _weights(folder)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_two_processes_give_the_result_of_one(tmp_path: Path) -> None:
    make_trainer(small_config(), tmp_path / "one").run()
    env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29517", "WORLD_SIZE": "2"}
    both = [_start(tmp_path / "two", RANK=str(rank), **env) for rank in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    for one, two in zip(_log(tmp_path / "one"), _log(tmp_path / "two"), strict=True):
        for name, value in one.items():
            assert two[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    expected, found = _weights(tmp_path / "one"), _weights(tmp_path / "two")
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-5)


def test_a_loss_that_is_no_number_stops_with_names(tmp_path: Path) -> None:
    trainer = make_trainer(small_config(), tmp_path, InventedSet(13, nan=(5,)))
    with pytest.raises(TrainingError, match=r"not a number at step \d+ for invented_5 \(in "):
        trainer.run()


def test_broken_samples_are_counted_and_stop_the_run_past_a_share(tmp_path: Path) -> None:
    some = make_trainer(
        small_config(max_failed_share=0.2), tmp_path / "some", InventedSet(13, broken=(3, 8))
    )
    state = some.run()
    assert state.failed.keys() == {"invented_3", "invented_8"}
    assert _log(tmp_path / "some")[-1]["failed"] == 2
    many = make_trainer(
        small_config(max_failed_share=0.1), tmp_path / "many", InventedSet(13, broken=(3, 8))
    )
    with pytest.raises(InputError, match="2 of 13 training pairs are missing or broken"):
        many.run()


def test_a_step_without_any_pair_keeps_the_running_statistics() -> None:
    layer = torch.nn.BatchNorm1d(3)
    layer(torch.rand(4, 3))
    before = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    statistics = RunningStatistics(dict(layer.named_buffers()))
    statistics.settle(Processes(torch.device("cpu")))
    for name, buffer in layer.named_buffers():
        torch.testing.assert_close(buffer, before[name], rtol=0, atol=0)


@pytest.mark.parametrize("decay_vectors", [True, False])
def test_weight_decay_counts_for_what_the_configuration_says(
    tmp_path: Path, decay_vectors: bool
) -> None:
    config = small_config()
    optim = config.optim.model_copy(update={"decay_vectors": decay_vectors, "betas": (0.8, 0.95)})
    trainer = make_trainer(config.model_copy(update={"optim": optim}), tmp_path)
    groups = trainer.optimizer.param_groups
    assert all(group["betas"] == (0.8, 0.95) for group in groups)
    without = [p for group in groups if not group["weight_decay"] for p in group["params"]]
    assert bool(without) != decay_vectors
    assert all(p.ndim <= 1 for p in without)


@pytest.mark.parametrize("depth_dim", [0, 8])
def test_learning_depth_alone_computes_the_same_depth_and_nothing_else(
    tmp_path: Path, depth_dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(max_steps=2)
    head = config.model.head.model_copy(update={"depth_dim": depth_dim, "dropout": 0.0})
    config = config.model_copy(update={"model": config.model.model_copy(update={"head": head})})
    alone = config.objective.model_copy(update={"correspondence": 0.0, "voting": 0.0})
    both = make_trainer(config, tmp_path / "both").step()
    only = make_trainer(config.model_copy(update={"objective": alone}), tmp_path / "only")
    if depth_dim:
        monkeypatch.setattr(only.objective.model, "describe_ground", None)
    monkeypatch.setattr(only.objective.model, "describe_aerial", None)
    told = only.step()
    assert {"depth", "validity"} < told.keys() and "correspondence" not in told
    assert {"depth", "validity", "correspondence", "voting"} < both.keys()
    for name in ("depth", "validity"):
        assert told[name] == pytest.approx(both[name], rel=1e-5)


def test_early_stopping(tmp_path: Path) -> None:
    config = small_config(epochs=30, patience=1, learning_rate=1e-7, validation_pairs=1)
    state = make_trainer(config, tmp_path, validation=True).run()
    assert state.step < 30 * 4
    assert state.stale == 1


def test_another_configuration_in_the_folder_is_refused(tmp_path: Path) -> None:
    make_trainer(small_config(max_steps=2), tmp_path).run()
    with pytest.raises(InputError, match="another configuration"):
        make_trainer(small_config(max_steps=2, seed=1), tmp_path)
    (tmp_path / "last.pt").write_bytes(b"torn")
    with pytest.raises(WeightsError, match="not a readable checkpoint"):
        make_trainer(small_config(max_steps=2), tmp_path)


@pytest.mark.parametrize("micro", [1, 2, 5])
def test_gradient_accumulation_only_changes_rounding(
    tmp_path: Path, micro: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Micro-batches of a step weigh by their samples, an uneven last one included."""
    config = small_config(batch_size=10, micro_batch_size=micro, clip_norm=1e9)
    trainer = make_trainer(config, tmp_path, InventedSet(5))
    name, parameter = next(iter(trainer.named.items()))

    def losses(cells: Cells, seed: int) -> dict[str, torch.Tensor]:
        del seed
        worth = torch.tensor([float(label.removeprefix("invented_")) ** 2 for label in cells.ids])
        return {"loss": worth * parameter.sum()}

    monkeypatch.setattr(trainer, "_losses", losses)
    before = float(parameter.detach().sum())
    record = trainer.step()
    assert parameter.grad is not None, name
    torch.testing.assert_close(parameter.grad, torch.full_like(parameter, (0 + 1 + 4 + 9 + 16) / 5))
    assert record["loss"] == pytest.approx(6.0 * before, rel=1e-5)


def test_a_stop_for_now_changes_nothing_else(tmp_path: Path) -> None:
    """Not the log, not what validation has seen, not the best weights."""
    make_trainer(small_config(), tmp_path / "whole", validation=True).run()
    for steps in (3, 5, 0):
        make_trainer(small_config(max_steps=steps), tmp_path / "parts", validation=True).run()
    assert _log(tmp_path / "parts") == _log(tmp_path / "whole")
    whole, parts = (load_file(tmp_path / n / "model.safetensors") for n in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_steps_of_the_sampler_hold_every_sample_once() -> None:
    sampler = StepSampler([()] * 7, 2, 2, seed=0)
    seen = [index for step in range(2) for micro in sampler.step(step) for index in micro]
    assert sorted(seen) == list(range(7))
    assert sampler.steps_per_epoch == 2
    assert sampler.step(0) != sampler.step(2)
    assert StepSampler([()] * 7, 2, 2, seed=0).step(3) == sampler.step(3)


def test_samples_of_one_shape_share_micro_batches() -> None:
    shapes = [(k % 3,) for k in range(30)]
    sampler = StepSampler(shapes, 4, 1, seed=1)
    micros = [sampler.step(k)[0] for k in range(sampler.steps_per_epoch)]
    assert sorted(index for micro in micros for index in micro) == list(range(30))
    mixed = [m for m in micros if len({shapes[i] for i in m}) > 1]
    assert len(mixed) <= 2  # what is left over of the groups
