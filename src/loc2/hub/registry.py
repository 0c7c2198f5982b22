"""The weights that have a name: where they come from, what they are, and where they lie here."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loc2.errors import WeightsError
from loc2.model import packaged_weights

_DINOV2_URL = "https://dl.fbaipublicfiles.com/dinov2"
_LVD = "LVD-142M (Oquab et al. 2023), images only"


@dataclass(frozen=True)
class WeightsEntry:
    """What is known of weights before they are opened.

    Attributes:
        name: name in the registry.
        kind: ``model`` localizes as it is; ``backbone`` serves models that need it;
            ``checkpoint`` is converted with ``loc2 weights import`` first.
        file: file name.
        url: where it can be fetched; None where it cannot.
        size_bytes: size of the file; None where it is not known.
        sha256: checksum of the file; None where it is not known.
        licence: licence of the weights.
        training_data: what they were trained on.
        packaged: the file comes with the package.
        note: what to do where it cannot be fetched.
    """

    name: str
    kind: Literal["model", "backbone", "checkpoint"]
    file: str
    url: str | None
    size_bytes: int | None
    sha256: str | None
    licence: str
    training_data: str
    packaged: bool = False
    note: str = ""

    @property
    def path(self) -> Path:
        """Where the file lies, or is expected, on this machine."""
        return packaged_weights(self.name) if self.packaged else cache_folder() / self.file


def _dinov2(size: str, size_bytes: int, sha256: str) -> WeightsEntry:
    name = f"dinov2_vit{size}14"
    file = f"{name}_pretrain.pth"
    url = f"{_DINOV2_URL}/{name}/{file}"
    return WeightsEntry(name, "backbone", file, url, size_bytes, sha256, "Apache-2.0", _LVD)


def _released(area: str, data: str) -> WeightsEntry:
    return WeightsEntry(
        name=f"released-{area}",
        kind="checkpoint",
        file="model.pt",
        url=None,
        size_bytes=None,
        sha256=None,
        licence="AGPL-3.0",
        training_data=data,
        note=(
            "no stable address is known: get model.pt from the reference implementation's "
            f"release (folder {area.replace('-', '/', 1)}) and run 'loc2 weights import model.pt'"
        ),
    )


_ENTRIES = (
    WeightsEntry(
        name="default",
        kind="model",
        file="default.safetensors",
        url=None,
        size_bytes=None,
        sha256=None,
        licence="Apache-2.0",
        training_data="see the file's metadata and its model card",
        packaged=True,
    ),
    _dinov2("s", 88_283_115, "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"),
    _dinov2("b", 346_378_731, "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73"),
    _dinov2("l", 1_217_586_395, "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"),
    _released("vigor-samearea-known_ori", "VIGOR same-area, heading known"),
    _released("vigor-samearea-unknown_ori", "VIGOR same-area, heading unknown"),
    _released("vigor-crossarea-known_ori", "VIGOR cross-area, heading known"),
    _released("vigor-crossarea-unknown_ori", "VIGOR cross-area, heading unknown"),
    _released("kitti-ori_noise10", "KITTI, heading within 10 degrees"),
    _released("kitti-ori_noise180", "KITTI, heading unknown"),
)

REGISTRY: dict[str, WeightsEntry] = {entry.name: entry for entry in _ENTRIES}
"""All entries by name."""


def cache_folder() -> Path:
    """Return the folder of fetched weights: ``$LOC2_WEIGHTS`` or the user's cache."""
    named = os.environ.get("LOC2_WEIGHTS")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "loc2" / "weights"


def find_entry(name: str) -> WeightsEntry:
    """Return an entry by name.

    Raises:
        WeightsError: no entry has that name.
    """
    if name not in REGISTRY:
        raise WeightsError(f"no weights are called {name!r}; known: {', '.join(REGISTRY)}")
    return REGISTRY[name]


def find_backbone(source: str | Path) -> Path:
    """Return the file of a backbone.

    Args:
        source: a file; a name of the registry, looked for among fetched files and then in the
            package; or a Hugging Face id such as ``facebook/dinov2-large``.

    Raises:
        WeightsError: it is not on this machine; the message says how to get it.
    """
    path = Path(source)
    if path.is_file():
        return path
    name = str(source)
    if name in REGISTRY and REGISTRY[name].kind == "backbone":
        entry = REGISTRY[name]
        packaged = packaged_weights(name)
        for candidate in (entry.path, packaged):
            if candidate.is_file():
                return candidate
        raise WeightsError(
            f"backbone {name} is not on this machine; run 'loc2 weights fetch {name}', "
            f"or place {entry.file} at {entry.path}"
        )
    if name.count("/") == 1 and not path.suffix:
        return _from_hugging_face(name)
    backbones = [entry.name for entry in _ENTRIES if entry.kind == "backbone"]
    raise WeightsError(
        f"backbone {name}: neither a file, nor a Hugging Face id, nor one of {', '.join(backbones)}"
    )


def _from_hugging_face(repository: str) -> Path:
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise WeightsError(
            f"backbone {repository}: Hugging Face ids need the extra 'hub' "
            "(pip install 'loc2[hub]')"
        ) from error
    try:
        return Path(hub.hf_hub_download(repository, "model.safetensors"))
    except (hub.errors.HfHubHTTPError, hub.errors.LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise WeightsError(f"backbone {repository}: not available ({reason})") from error
    except hub.errors.HFValidationError as error:
        raise WeightsError(f"backbone {repository}: not a Hugging Face id") from error
