"""The backbone: numeric parity, sizes, precisions, and the two naming schemes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from loc2.errors import WeightsError
from loc2.features import VARIANTS, VisionTransformer, VitConfig, dinov2, load_state_dict, load_vit
from loc2.features.checkpoints import pack
from loc2.model import Loc2Model, ModelConfig
from loc2.training.cache import cell_features
from loc2.training.cells import Cells
from tests.recipe import recipe_state
from tests.training_run import invented_cells

FIXTURE = Path(__file__).parent / "fixtures" / "f7_vit.npz"
TINY = VitConfig(embed_dim=64, depth=2, num_heads=2)


@pytest.fixture(scope="module")
def vit() -> VisionTransformer:
    model = VisionTransformer(TINY)
    model.load_state_dict(recipe_state(model))
    return model.eval()


@pytest.mark.parametrize(
    ("height", "width", "stride"),
    [(84, 168, 1), (70, 70, 1), (112, 112, 1), (364, 1232, 17), (518, 518, 17)],
)
def test_tokens_equal_the_reference(
    vit: VisionTransformer, height: int, width: int, stride: int
) -> None:
    fixture = np.load(FIXTURE)
    key = f"{height}x{width}"
    rng = np.random.default_rng(1100000 + 1000 * height + width)
    image = torch.from_numpy(rng.random((1, 3, height, width)).astype(np.float32))
    suffix = f"_every{stride}" if stride > 1 else ""
    with torch.inference_mode():
        (tokens,), class_token = vit.forward_with_class_token(image)
        embedding = vit.position_embedding(height // 14, width // 14)
    flat = tokens.flatten(2).transpose(1, 2)[:, ::stride]
    np.testing.assert_allclose(flat, fixture[f"{key}/x_norm_patchtokens{suffix}"], atol=5e-5)
    np.testing.assert_allclose(class_token, fixture[f"{key}/x_norm_clstoken"], atol=5e-5)
    np.testing.assert_allclose(
        embedding[:, ::stride].detach(), fixture[f"{key}/pos_embed_interpolated{suffix}"], atol=1e-5
    )


@pytest.mark.parametrize(("height", "width"), [(714, 1428), (630, 630), (504, 504)])
def test_position_embedding_at_published_sizes(
    vit: VisionTransformer, height: int, width: int
) -> None:
    expected = np.load(FIXTURE)[f"{height}x{width}/pos_embed_interpolated_every97"]
    with torch.inference_mode():
        embedding = vit.position_embedding(height // 14, width // 14)[:, ::97]
    np.testing.assert_allclose(embedding, expected, atol=1e-5)


def test_sizes_are_cropped_to_whole_patches(vit: VisionTransformer) -> None:
    image = torch.rand(1, 3, 75, 100)
    with torch.inference_mode():
        (cropped,) = vit(image)
        (exact,) = vit(image[..., :70, :98])
    assert cropped.shape == (1, 64, 5, 7)
    assert torch.equal(cropped, exact)
    with pytest.raises(ValueError, match="smaller than one"):
        vit(torch.rand(1, 3, 13, 100))


def test_intermediate_blocks_and_their_bounds(vit: VisionTransformer) -> None:
    image = torch.rand(2, 3, 56, 56)
    with torch.inference_mode():
        first, last = vit(image, blocks=(0, 1))
        (only_last,) = vit(image)
    assert torch.equal(last, only_last)
    assert not torch.allclose(first, last, atol=0.1)
    with pytest.raises(ValueError, match="blocks"):
        vit(image, blocks=(2,))


@pytest.mark.parametrize(
    ("dtype", "tolerance", "amx", "filled_from"),
    [
        (torch.bfloat16, 0.1, True, 0),  # tokens filled up to tiles
        (torch.bfloat16, 0.1, True, 768),
        (torch.bfloat16, 0.1, False, 768),  # a few rows at a time
        (torch.float16, 0.02, False, 768),
    ],
)
def test_half_precision_stays_near(
    vit: VisionTransformer,
    dtype: torch.dtype,
    tolerance: float,
    amx: bool,
    filled_from: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("loc2.features.dinov2.has_amx", lambda: amx)
    monkeypatch.setattr("loc2.features.dinov2._MANY", filled_from)
    monkeypatch.setattr("loc2.features.dinov2._ROWS", 7)
    image = torch.rand(1, 3, 56, 84)
    half = load_vit(vit.state_dict(), TINY, dtype)
    with torch.inference_mode():
        (reference,), (result,) = vit(image), half(image.to(dtype))
    assert result.dtype == dtype
    assert (result.float() - reference).abs().max() < tolerance


@settings(max_examples=25)
@given(
    batch=st.integers(1, 2),
    length=st.integers(1, 40),
    rows=st.integers(1, 50),
    amx=st.booleans(),
    seed=st.integers(0, 99),
)
def test_attention_in_half_precision_is_attention(
    batch: int, length: int, rows: int, amx: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(3, batch, 2, length, 64, generator=generator).bfloat16().requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loc2.features.dinov2.has_amx", lambda: amx)
        patch.setattr("loc2.features.dinov2._MANY", 0)
        patch.setattr("loc2.features.dinov2._ROWS", rows)
        seen = dinov2._attend_in_half(*drawn)
        (gradient,) = torch.autograd.grad(seen.square().sum(), drawn)
    exact = drawn.detach().double().requires_grad_()
    expected = torch.nn.functional.scaled_dot_product_attention(*exact)
    (expected_gradient,) = torch.autograd.grad(expected.square().sum(), exact)
    assert (seen - expected).abs().max() < 0.04
    assert (gradient - expected_gradient).abs().max() < 0.2


def test_features_take_the_precision_that_surrounds_them() -> None:
    model = Loc2Model(ModelConfig()).eval()
    image = torch.rand(1, 3, 56, 84)
    with torch.inference_mode():
        full = model.features(image)
        with torch.autocast("cpu", torch.bfloat16):
            around = model.features(image)
        model.reduced_precision = True
        asked = model.features(image)
    assert torch.equal(around, asked)
    assert not torch.equal(around, full)
    assert torch.nn.functional.cosine_similarity(around, full).min() > 0.99


@pytest.mark.parametrize("bfloat16", [True, False])
def test_a_cache_holds_features_of_the_precision_it_names(bfloat16: bool) -> None:
    model = Loc2Model(ModelConfig()).eval()
    with torch.inference_mode():
        full = model.features(invented_images().ground[None])[0]
    kept = cell_features(model, invented_images(), bfloat16).ground
    assert torch.equal(kept, full) != bfloat16
    assert torch.nn.functional.cosine_similarity(kept, full, dim=0).min() > 0.99


def invented_images() -> Cells:
    cells = invented_cells(0)
    generator = torch.Generator().manual_seed(0)
    ground, aerial = (torch.rand(3, 56, side, generator=generator) for side in (84, 56))
    return replace(cells, ground=ground, aerial=aerial)


def _to_hugging_face(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    renames = {
        "cls_token": "embeddings.cls_token",
        "mask_token": "embeddings.mask_token",
        "pos_embed": "embeddings.position_embeddings",
        "register_tokens": "embeddings.register_tokens",
        "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
        "norm.weight": "layernorm.weight",
        "norm.bias": "layernorm.bias",
    }
    out: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        if name in renames:
            out[renames[name]] = tensor
            continue
        _, index, rest = name.split(".", 2)
        prefix = f"encoder.layer.{index}."
        part = rest.split(".")[-1]
        if rest.startswith("attn.qkv."):
            for label, chunk in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                out[f"{prefix}attention.attention.{label}.{part}"] = chunk.clone()
        elif rest.startswith("attn.proj."):
            out[f"{prefix}attention.output.dense.{part}"] = tensor
        elif rest.endswith("gamma"):
            out[f"{prefix}layer_scale{rest[2]}.lambda1"] = tensor
        elif rest.startswith("mlp.w12"):
            out[f"{prefix}mlp.weights_in.{part}"] = tensor
        elif rest.startswith("mlp.w3"):
            out[f"{prefix}mlp.weights_out.{part}"] = tensor
        else:
            out[prefix + rest] = tensor
    return out


@pytest.mark.parametrize(
    "config",
    [TINY, VitConfig(64, 2, 2, num_registers=4), VitConfig(64, 2, 2, swiglu=True)],
    ids=["plain", "registers", "swiglu"],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_both_naming_schemes_load_alike(tmp_path: Path, config: VitConfig, suffix: str) -> None:
    model = VisionTransformer(config)
    state = recipe_state(model)
    image = torch.rand(1, 3, 42, 56)
    outputs = []
    for name, tensors in (("official", state), ("hf", _to_hugging_face(state))):
        path = tmp_path / f"{name}{suffix}"
        if suffix == ".pth":
            torch.save(tensors, path)
        else:
            save_file(tensors, path)
        with torch.inference_mode():
            outputs.append(load_vit(path, config)(image)[0])
    assert torch.equal(outputs[0], outputs[1])


def test_published_parameter_counts() -> None:
    counts = {}
    for name in ("dinov2_vits14", "dinov2_vitl14", "dinov2_vitg14"):
        with torch.device("meta"):
            counts[name] = sum(p.numel() for p in VisionTransformer(VARIANTS[name]).parameters())
    # ViT-L/14: the published count; S and g: 22.1 M and 1.1 G in the official model card.
    assert counts["dinov2_vitl14"] == 304_368_640
    assert round(counts["dinov2_vits14"] / 1e6, 1) == 22.1
    assert round(counts["dinov2_vitg14"] / 1e9, 1) == 1.1


def test_eight_bits_keep_every_weight_within_half_a_step_of_its_row(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(2)
    sizes = torch.logspace(-3, 1, 200)[:, None]
    state = {
        "matrix": torch.randn(200, 160, generator=generator) * sizes,
        "zero_rows": torch.zeros(128, 128),
        "narrow": torch.randn(200, 12, generator=generator),
        "vector": torch.randn(300, generator=generator),
    }
    save_file(pack(state), tmp_path / "packed.safetensors")
    loaded = load_state_dict(tmp_path / "packed.safetensors")
    assert loaded.keys() == state.keys()
    assert (tmp_path / "packed.safetensors").stat().st_size < 0.35 * 4 * sum(
        tensor.numel() for tensor in state.values()
    )
    step = state["matrix"].abs().amax(1, keepdim=True) / 127
    # Scales are in half precision: 2**-11 of up to 127 steps comes on top.
    assert ((loaded["matrix"] - state["matrix"]).abs() <= step * (0.5 + 127 / 2**11)).all()
    assert not loaded["zero_rows"].any()
    for name in ("narrow", "vector"):
        torch.testing.assert_close(loaded[name].float(), state[name], atol=0, rtol=1e-3)


@pytest.mark.parametrize("scale", [None, torch.ones(3)])
def test_eight_bits_without_their_scales_are_refused(
    tmp_path: Path, scale: torch.Tensor | None
) -> None:
    packed = pack({"matrix": torch.ones(128, 128)})
    del packed["matrix.scale"]
    if scale is not None:
        packed["matrix.scale"] = scale
    save_file(packed, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="matrix is stored in 8 bits without"):
        load_state_dict(tmp_path / "w.safetensors")


def test_parameters_that_are_called_scale_are_kept(tmp_path: Path) -> None:
    state = {"norm": torch.ones(3), "norm.scale": torch.full((3,), 2.0)}
    save_file(state, tmp_path / "plain.safetensors")
    assert load_state_dict(tmp_path / "plain.safetensors").keys() == state.keys()


def test_wrong_weights_are_named(tmp_path: Path) -> None:
    state = recipe_state(VisionTransformer(TINY))
    with pytest.raises(WeightsError, match="no published DINOv2 variant has width 64"):
        load_vit(state)
    with pytest.raises(WeightsError, match=r"missing: norm\.bias; unknown: extra"):
        load_vit(
            {**{k: v for k, v in state.items() if k != "norm.bias"}, "extra": state["norm.bias"]},
            TINY,
        )
    with pytest.raises(WeightsError, match="no such weights file"):
        load_state_dict(tmp_path / "none.safetensors")
    for name in ("broken.safetensors", "broken.pth"):
        (tmp_path / name).write_bytes(b"not weights at all")
        with pytest.raises(WeightsError, match="not readable as weights"):
            load_state_dict(tmp_path / name)
    torch.save({"a": object}, tmp_path / "pickled.pth")
    with pytest.raises(WeightsError, match="not readable as weights"):
        load_state_dict(tmp_path / "pickled.pth")
