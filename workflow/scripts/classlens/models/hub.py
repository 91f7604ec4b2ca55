"""Models of the Hugging Face hub: what they are and their weights, from a local cache folder, or over the network where there is one.

Only `config.json` and `model.safetensors` (or else `pytorch_model.bin`) of a repository are read, the latter by `checkpoints`, which
executes nothing.
"""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import RemoteEntryNotFoundError
from timm.models._hub import load_model_config_from_path

from classlens.errors import InputError, first_line, printable
from classlens.models import arguments

WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Architecture:
    """What timm needs to build a model.

    Attributes:
        name: its name in timm.
        kwargs: arguments that its repository gives.
        pretrained_cfg: what its repository says of weights and images; None for what timm knows by name.
        repository: where its weights are on the hub; None if nowhere.
        facts: what timm, or its repository, says of the pretrained weights: `num_classes`, `label_names`, `notes`.
    """

    name: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    pretrained_cfg: dict[str, Any] | None = None
    repository: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


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
            InputError: the repository's description cannot be had, or is not one of a timm model.
        """
        if not arch.startswith(arguments.HUB):
            known = _known(arch)
            return Architecture(arch, repository=known.get("hf_hub_id"), facts=known)
        repository = arch.removeprefix(arguments.HUB)
        folder = self.file(repository, "config.json").parent
        try:
            cfg, name, kwargs = load_model_config_from_path(folder)
            classes = {"num_classes": cfg["num_classes"]} if "num_classes" in cfg else {}
            size = {"img_size": cfg["input_size"][1:]} if cfg.get("fixed_input_size") else {}
            facts = {**_known(f"{name}.{cfg.get('tag')}"), **cfg}
            architecture = Architecture(name, {**classes, **size, **kwargs}, {**cfg, "source": "", "file": None}, repository, facts)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"config.json of {arch} does not describe a model of timm ({_not_timms(folder, error)})") from None
        if problem := arguments.refused(architecture.kwargs):
            raise InputError(f"config.json of {arch}: `model_args`: {problem}")
        return architecture

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


def _known(name: str) -> dict[str, Any]:
    """Return what timm knows of the pretrained weights of a name; empty where it knows neither."""
    try:
        found = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    except RuntimeError:  # a model of timm, and weights that are not
        return {}
    return found.to_dict() if found else {}


def _not_timms(folder: Path, error: Exception) -> str:
    """What a config.json is instead, or what is wrong with it."""
    with suppress(ValueError, OSError, RecursionError):
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if isinstance(content, dict) and {"model_type", "transformers_version"} & content.keys():
            return "it is a model of Hugging Face transformers: give timm's version of it, by its full name in timm"
    return f"{type(error).__name__}: {printable(first_line(error))}"
