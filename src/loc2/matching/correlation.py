"""Similarities of descriptors: dual softmax with a dustbin, voting evidence, match sampling."""

from __future__ import annotations

import torch
from torch import Tensor


def dual_softmax(scores: Tensor, dustbin: Tensor | float, mask: Tensor | None = None) -> Tensor:
    """Turn scores into match probabilities by softmax both ways, with a dustbin on each side.

    A row and a column holding the dustbin's score are appended, the softmax over aerial cells and
    the softmax over ground points are multiplied, and the dustbin is dropped again. Source: the
    published method (Loc2, ICLR 2026), scores and matching.

    Args:
        scores: (B, A, G) similarity of aerial cell and ground point over the temperature.
        dustbin: score of "no match" (not divided by the temperature).
        mask: (B, G) bool, True for ground points that may be matched; all by default.

    Returns:
        (B, A, G) probabilities in [0, 1]; zero in masked columns.
    """
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, :], -torch.inf)
    bin_score = torch.as_tensor(dustbin, dtype=scores.dtype, device=scores.device)
    # Softmax with one more entry, without building the padded matrix.
    log_aerial = torch.logaddexp(scores.logsumexp(dim=1, keepdim=True), bin_score)
    log_ground = torch.logaddexp(scores.logsumexp(dim=2, keepdim=True), bin_score)
    return torch.exp(2 * scores - log_aerial - log_ground)


def evidence_map(ground: Tensor, aerial: Tensor, seen: Tensor | None = None) -> Tensor:
    """Compute how much more each ground point resembles a cell than the average cell.

    Zero is neutral, so a point that a pose moves out of the aerial window counts neither for nor
    against that pose.

    Args:
        ground: (..., G, D) unit descriptors of ground points.
        aerial: (..., D, h, w) unit descriptors of aerial cells.
        seen: (h, w) bool, the cells with imagery; the others are neutral. All by default.

    Returns:
        (..., G, h, w) cosine similarity minus its mean over the cells of the window.
    """
    cosine = torch.einsum("...gd,...dhw->...ghw", ground, aerial)
    if seen is None or bool(seen.all()):
        return cosine - cosine.mean(dim=(-2, -1), keepdim=True)
    mean = (cosine * seen).sum(dim=(-2, -1), keepdim=True) / seen.sum().clamp_min(1)
    return (cosine - mean) * seen


def sample_matches(
    probabilities: Tensor, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw matches without replacement, in proportion to their probability.

    Uses the exponential-race form of sampling without replacement (Efraimidis and Spirakis 2006),
    which has no limit on the number of categories.

    Args:
        probabilities: (B, A, G) match probabilities.
        count: matches to draw a sample (fewer if the matrix is smaller).
        generator: source of randomness, on the CPU.

    Returns:
        Aerial indices (B, K), ground indices (B, K) and probabilities (B, K), most probable draw
        first. Entries of zero probability are drawn only when nothing else is left.
    """
    batch, _, num_ground = probabilities.shape
    flat = probabilities.reshape(batch, -1)
    count = min(count, flat.shape[1])
    noise = torch.empty(flat.shape, dtype=torch.float32).exponential_(generator=generator)
    race = flat.float() / noise.to(flat.device).clamp_min(1e-30)
    index = race.topk(count, dim=1).indices
    drawn = flat.gather(1, index)
    order = drawn.argsort(dim=1, descending=True, stable=True)
    index, drawn = index.gather(1, order), drawn.gather(1, order)
    return index // num_ground, index % num_ground, drawn
