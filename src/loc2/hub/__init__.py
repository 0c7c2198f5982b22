"""Weights by name: the registry, the cache folder, downloads."""

from loc2.hub.fetch import fetch, sha256_of
from loc2.hub.registry import REGISTRY, WeightsEntry, cache_folder, find_backbone, find_entry

__all__ = [
    "REGISTRY",
    "WeightsEntry",
    "cache_folder",
    "fetch",
    "find_backbone",
    "find_entry",
    "sha256_of",
]
