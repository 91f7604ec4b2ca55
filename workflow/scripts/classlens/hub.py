"""Models of the Hugging Face hub: what they are and their weights, from a local cache folder, or over the network where there is one.

Only `config.json` and `model.safetensors` (or else `pytorch_model.bin`) of a repository are read, the latter by `checkpoints`, which
executes nothing.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import RemoteEntryNotFoundError
from timm.models._hub import load_model_config_from_path

from classlens.errors import InputError, first_line

PREFIX = "hf-hub:"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Architecture:
    """What timm needs to build a model.

    Attributes:
        name: its name in timm.
        kwargs: arguments that its repository gives.
        pretrained_cfg: what its repository says of weights and images; None for what timm knows by name.
        repository: where its weights are on the hub; None if nowhere.
    """

    name: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    pretrained_cfg: dict[str, Any] | None = None
    repository: str | None = None


@dataclass(frozen=True)
class Hub:
    """Where to look for a repository's files.

    Args:
        cache: the hub client's cache folder; None for its own (`HF_HOME`).
        offline: never ask the network.
    """

    cache: Path | None = None
    offline: bool = False

    def architecture(self, arch: str) -> Architecture:
        """The architecture that a config names: a name in timm, or `hf-hub:` and a repository.

        Raises:
            InputError: the repository's description cannot be had.
        """
        if not arch.startswith(PREFIX):
            known = timm.get_pretrained_cfg(arch) if timm.is_model(arch) else None
            return Architecture(arch, repository=known.hf_hub_id if known else None)
        repository = arch.removeprefix(PREFIX)
        folder = self.file(repository, "config.json").parent
        try:
            cfg, name, kwargs = load_model_config_from_path(folder)
        except (ValueError, KeyError) as error:
            raise InputError(f"config.json of {arch} does not describe a model of timm ({first_line(error)})") from None
        classes = {"num_classes": cfg["num_classes"]} if "num_classes" in cfg else {}
        return Architecture(name, {**classes, **kwargs}, {**cfg, "source": "", "file": None}, repository)

    def weights(self, architecture: Architecture) -> Path:
        """The file of an architecture's weights.

        Raises:
            InputError: it cannot be had.
        """
        if architecture.repository is None:
            raise InputError(
                f"arch {architecture.name!r} has no pretrained weights on the hub: give its full name in timm, or a checkpoint"
            )
        return self.file(architecture.repository, *WEIGHTS)

    def file(self, repository: str, *names: str) -> Path:
        """The first of some files that a repository has; one in the cache is taken without asking the network.

        Args:
            repository: `OWNER/NAME`, or `OWNER/NAME@REVISION`.
            names: file names, the best first.

        Raises:
            InputError: none is in the cache, and none can be fetched.
        """
        name_of, _, revision = repository.partition("@")
        where: dict[str, Any] = {"repo_id": name_of, "revision": revision or None, "cache_dir": self.cache}
        for name in names:
            if isinstance(cached := try_to_load_from_cache(filename=name, **where), str):
                return Path(cached)
        reason = "the config says `offline`"
        for name in () if self.offline else names:
            try:
                return Path(hf_hub_download(filename=name, **where))
            except Exception as error:  # whatever the client, its transport and the name resolution raise
                reason = first_line(error)
                if not isinstance(error, RemoteEntryNotFoundError):
                    break
        raise InputError(
            f"{names[0]} of {repository} is not in the hub's cache {self.cache or HF_HUB_CACHE} and cannot be fetched ({reason}): "
            f"run `hf download {name_of}` where there is a network and copy the cache, or set `weights` to a local checkpoint"
        )
