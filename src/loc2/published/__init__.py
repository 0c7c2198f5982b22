"""The published method: network, configurations, and import of its released checkpoints."""

from loc2.published.checkpoint import import_checkpoint
from loc2.published.compat import Compatibility
from loc2.published.config import CONFIGS, PublishedConfig
from loc2.published.model import PublishedModel, load_matcher, load_published
from loc2.published.network import Matcher

__all__ = [
    "CONFIGS",
    "Compatibility",
    "Matcher",
    "PublishedConfig",
    "PublishedModel",
    "import_checkpoint",
    "load_matcher",
    "load_published",
]
