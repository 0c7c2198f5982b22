"""Adapted blocks: the backbone's last blocks again, from stored features, with updates."""

import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import cosine_similarity

from loc2.features import VARIANTS, AdaptedBlocks, VisionTransformer
from loc2.matching import HeadConfig
from loc2.model import Loc2Model, ModelConfig, load_model, packaged_weights
from loc2.training.tuning import TuningConfig, apply_tuning, plain_state

BLOCKS = (8, 11)


@pytest.fixture(scope="module")
def model() -> Loc2Model:
    return load_model(packaged_weights("default"))[0]


@pytest.fixture(scope="module")
def features(model: Loc2Model) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 12, 16, generator=generator)
    image = torch.nn.functional.interpolate(coarse, size=(168, 224), mode="bicubic").clamp(0, 1)
    with torch.inference_mode():
        return model.features(image)


def _adapted(model: Loc2Model) -> AdaptedBlocks:
    torch.manual_seed(0)
    return AdaptedBlocks(model.backbone, BLOCKS, 4)


def test_without_training_the_last_level_is_nearly_the_backbones_own(
    model: Loc2Model, features: torch.Tensor
) -> None:
    with torch.no_grad():
        found = _adapted(model)(features, model.backbone)
    dim = model.backbone.config.embed_dim
    assert torch.equal(found[:, :dim], features[:, :dim])
    likeness = cosine_similarity(found[:, dim:], features[:, dim:], dim=1)
    assert float(likeness.mean()) > 0.9
    torch.testing.assert_close(found[:, dim:].norm(dim=1), torch.ones_like(likeness))


def test_updates_learn_and_the_backbone_does_not(model: Loc2Model, features: torch.Tensor) -> None:
    blocks = _adapted(model)
    before = {name: p.detach().clone() for name, p in model.backbone.named_parameters()}
    target = torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(blocks.parameters(), lr=0.02)
    losses = []
    for _ in range(8):
        loss = -(blocks(features.clone(), model.backbone) * target).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.1
    for name, parameter in model.backbone.named_parameters():
        assert torch.equal(parameter, before[name])


def test_only_depth_sees_its_own_blocks() -> None:
    """Other depth blocks change the depth, and nothing that is matched."""
    config = ModelConfig(blocks=BLOCKS, head=HeadConfig(hidden_dim=16, depth_dim=16, depth_rank=2))
    torch.manual_seed(0)
    model = Loc2Model(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    torch.nn.init.ones_(model.backbone.norm.weight)
    image = torch.rand(1, 3, 56, 56, generator=torch.Generator().manual_seed(2))
    rays = torch.nn.functional.normalize(torch.randn(1, 3, 4, 4), dim=1)
    with torch.no_grad():
        seen = model.features(image)
        first = model.describe_ground(seen, rays, wrap=False)
        assert model.depth_blocks is not None
        for parameter in model.depth_blocks.parameters():
            torch.nn.init.normal_(parameter, std=1.0)
        second = model.describe_ground(seen, rays, wrap=False)
        alone = model.tell_depth(seen, rays, wrap=False)
    assert alone is not None and second.depth is not None
    assert torch.equal(alone.log_range_ratio, second.depth.log_range_ratio)
    assert torch.equal(alone.valid_logit, second.depth.valid_logit)
    assert torch.equal(first.descriptors, second.descriptors)
    assert torch.equal(first.weight, second.weight)
    assert first.depth is not None and second.depth is not None
    assert not torch.allclose(first.depth.log_range_ratio, second.depth.log_range_ratio)


def test_a_rank_needs_a_network_for_depth() -> None:
    with pytest.raises(ValidationError, match="depth_dim"):
        HeadConfig(depth_rank=4)


def test_the_last_two_of_three_levels_count(model: Loc2Model, features: torch.Tensor) -> None:
    torch.manual_seed(0)
    three = AdaptedBlocks(model.backbone, (2, *BLOCKS), 4)
    with torch.no_grad():
        found = three(torch.cat((features[:, :384].flip(1), features), 1), model.backbone)
        expected = _adapted(model)(features, model.backbone)
    assert torch.equal(found[:, 384:], expected)


@torch.no_grad()
def test_a_backbone_that_learns_updates_has_them_in_these_blocks_too() -> None:
    torch.manual_seed(0)
    backbone = VisionTransformer(VARIANTS["dinov2_vits14"])
    blocks = AdaptedBlocks(backbone, BLOCKS, 2)
    features = torch.randn(1, 2 * 384, 3, 4)
    apply_tuning(backbone, TuningConfig(mode="adapters", rank=2), 0)
    for parameter in (*backbone.parameters(), *blocks.parameters()):
        torch.nn.init.normal_(parameter, std=0.1)
    found = blocks(features, backbone)
    plain = VisionTransformer(VARIANTS["dinov2_vits14"])
    plain.load_state_dict(plain_state(backbone))
    torch.testing.assert_close(found, blocks(features, plain), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_backbone_stays_itself_while_these_blocks_run(
    model: Loc2Model, features: torch.Tensor
) -> None:
    """Another thread may be using it: it is asked from within, at every layer."""
    blocks = _adapted(model)
    for parameter in blocks.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    block = model.backbone.blocks[-1]
    tokens = torch.randn(1, 5, 384, generator=torch.Generator().manual_seed(3))
    expected = block(tokens)
    during: list[torch.Tensor] = []
    asking: list[bool] = []

    def ask(*_: object) -> None:
        if not asking:  # the hook is on the way of what it asks, too
            asking.append(True)
            during.append(block(tokens))
            asking.clear()

    hooks = [layer.register_forward_pre_hook(ask) for layer in (block.attn.qkv, block.mlp.fc2)]
    adapted = blocks(features, model.backbone)
    for hook in hooks:
        hook.remove()
    assert len(during) == 2
    assert all(torch.equal(found, expected) for found in during)
    assert torch.equal(blocks(features, model.backbone), adapted)
    assert torch.equal(block(tokens), expected)


@pytest.mark.parametrize("blocks", [(11, 8), (11, 11), (8, 12), (-1, 11), ()])
def test_blocks_ascend_and_exist(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="blocks"):
        ModelConfig(blocks=blocks)


def test_a_rank_needs_blocks_between_two_levels() -> None:
    head = HeadConfig(depth_dim=16, depth_rank=4)
    with pytest.raises(ValidationError, match="two levels"):
        ModelConfig(blocks=(11,), head=head)
