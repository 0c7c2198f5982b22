"""``loc2 weights``: import with every key accounted for, and what the other commands say."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from loc2.errors import WeightsError
from loc2.features import VARIANTS, VisionTransformer, VitConfig
from loc2.published import (
    Compatibility,
    Matcher,
    PublishedModel,
    load_matcher,
    load_published,
)
from tests.conftest import CliResult
from tests.recipe import published_matcher_state

Cli = Callable[..., CliResult]
FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="module")
def full_state() -> dict[str, Tensor]:
    return published_matcher_state(own_names=False)


@pytest.fixture(scope="module")
def small_state() -> dict[str, Tensor]:
    return published_matcher_state(own_names=False, in_channels=384)


@pytest.fixture
def small_checkpoint(small_state: dict[str, Tensor], tmp_path: Path) -> Path:
    torch.save(small_state, tmp_path / "model.pt")
    return tmp_path / "model.pt"


def test_an_imported_checkpoint_reproduces_the_reference(
    cli: Cli, full_state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(full_state, tmp_path / "model.pt")
    output = tmp_path / "vigor.safetensors"
    result = cli("weights", "import", tmp_path / "model.pt", "--as", "vigor", "--output", output)
    assert result.code == 0, result.err
    assert result.out.count("AGPL-3.0") == 1

    def probabilities(matcher: Matcher) -> Tensor:
        matcher.aerial_cells = 9  # the fixture's grid
        with torch.inference_mode():
            ground = matcher.ground_descriptors(f1["grd"].float())
            aerial = matcher.aerial_descriptors(f1["sat"].float())
            return matcher.probabilities(matcher.scores(ground, aerial, f1["mask"]))

    f1 = {name: torch.from_numpy(a) for name, a in np.load(FIXTURES / "f1_matcher.npz").items()}
    alone, config = load_matcher(output)
    assert config.compatibility == Compatibility.released()
    torch.testing.assert_close(probabilities(alone), f1["matching_score"], atol=1e-6, rtol=1e-4)

    # The backbone is no part of the checkpoint; a shallow stand-in of its width serves.
    shallow = VitConfig(embed_dim=1024, depth=1, num_heads=16)
    monkeypatch.setitem(VARIANTS, "dinov2_vitl14", shallow)
    monkeypatch.setenv("LOC2_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="loc2 weights fetch dinov2_vitl14"):
        load_published(output)
    torch.save(VisionTransformer(shallow).state_dict(), tmp_path / "dinov2_vitl14_pretrain.pth")
    model, metadata = load_published(output)
    assert isinstance(model, PublishedModel)
    assert metadata["source"] == "model.pt" and metadata["licence"] == "AGPL-3.0"
    whole = probabilities(model.matcher)
    torch.testing.assert_close(whole, f1["matching_score"], atol=1e-6, rtol=1e-4)


def test_import_puts_a_backbone_inside(cli: Cli, small_checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "kitti.safetensors"
    result = cli(
        "weights", "import", small_checkpoint, "--as", "kitti", "--output", output,
        "--backbone", "dinov2_vits14", "--temperature", 0.05, "--quiet",
    )  # fmt: skip
    assert (result.code, result.out) == (0, ""), result.err
    model, metadata = load_published(output)
    assert (model.config.name, model.config.backbone) == ("loc2-kitti", "dinov2_vits14")
    assert model.config.temperature == model.matcher.temperature == 0.05
    assert len(metadata["source_sha256"]) == len(metadata["backbone_sha256"]) == 64
    assert model.backbone.cls_token.abs().sum() > 0
    info = cli("weights", "info", output)
    assert info.code == 0
    for part in ("loc2-kitti", "AGPL-3.0", "model.pt", "sha256"):
        assert part in info.out


def test_without_a_backbone_it_is_found_by_name(
    cli: Cli, small_checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "vigor.safetensors"
    assert cli("weights", "import", small_checkpoint, "--as", "vigor", "--output", output).code == 0
    assert output.stat().st_size < 80e6
    model, _ = load_published(output)
    assert model.backbone.cls_token.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        (lambda s: s.pop("dustbin_score"), ("1 missing", "dustbin_score")),
        (lambda s: s.update(extra=torch.ones(1)), ("1 unknown", "extra")),
        (lambda s: s.update(dustbin_score=torch.ones(2)), ("of another shape", "dustbin_score")),
        (lambda s: s.update(dustbin_score=torch.tensor(torch.nan)), ("not finite", "dustbin")),
        (lambda s: s.clear(), ("163 missing", "grd_projector.resblocks.0.conv1.weight")),
    ],
)
def test_every_key_is_accounted_for(
    cli: Cli,
    small_state: dict[str, Tensor],
    tmp_path: Path,
    change: Callable[[dict[str, Tensor]], object],
    fragments: tuple[str, ...],
) -> None:
    state = dict(small_state)
    change(state)
    torch.save(state, tmp_path / "model.pt")
    output = tmp_path / "out.safetensors"
    result = cli("weights", "import", tmp_path / "model.pt", "--as", "vigor", "--output", output)
    result.assert_one_line_error("model.pt", *fragments)
    assert not output.exists()


def test_bad_input(cli: Cli, small_checkpoint: Path, tmp_path: Path) -> None:
    words = ("weights", "import", small_checkpoint, "--as", "vigor", "--output")
    cli(*words, tmp_path / "out.pt").assert_one_line_error("end in .safetensors")
    output = tmp_path / "out.safetensors"
    cli(*words, output, "--temperature", 0).assert_one_line_error("temperature")
    cli(*words, output, "--backbone", "dinov9").assert_one_line_error("dinov9", "dinov2_vitl14")
    (tmp_path / "text.pt").write_text("no weights")
    cli("weights", "import", tmp_path / "text.pt", "--as", "vigor", "--output", output
        ).assert_one_line_error("text.pt")  # fmt: skip
    cli("weights", "import", tmp_path / "no.pt", "--as", "vigor", "--output", output
        ).assert_one_line_error("no.pt", "no such")  # fmt: skip
    cli("weights", "info", "nothing").assert_one_line_error("known:")
    cli("weights", "info", tmp_path / "text.pt").assert_one_line_error("text.pt")
    cli("weights", "fetch", "nothing").assert_one_line_error("known:")
    assert not output.exists()


def test_code_in_a_checkpoint_is_not_run(cli: Cli, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.mkdir, (tmp_path / "ran",))  # type: ignore[return-value]

    torch.save({"dustbin_score": Evil()}, tmp_path / "model.pt")
    output = tmp_path / "out.safetensors"
    result = cli("weights", "import", tmp_path / "model.pt", "--as", "vigor", "--output", output)
    result.assert_one_line_error("model.pt", "not readable")
    assert not (tmp_path / "ran").exists()


def test_list_and_info_name_what_is_known(cli: Cli) -> None:
    listed = cli("weights", "list")
    assert listed.code == 0
    for part in ("default", "dinov2_vitl14", "Apache-2.0"):
        assert part in listed.out
    described = cli("weights", "info", "dinov2_vitl14")
    assert "1217.6 MB" in described.out and "not here yet" in described.out
    assert "comes with the package" in cli("weights", "info", "default").out
