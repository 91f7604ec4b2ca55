"""Models of the Hugging Face hub: their descriptions and weights, from a local cache folder or over the network.

Only `config.json` and `model.safetensors` (or else `pytorch_model.bin`) of a repository are read. `checkpoints` reads the weights and
executes nothing in them.
"""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import RemoteEntryNotFoundError
from timm.models import load_model_config_from_hf

from classlens.errors import InputError, first_line, printable
from classlens.models import arguments, transformers_config

WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Architecture:
    """What timm needs to build a model.

    Attributes:
        name: name in timm.
        kwargs: arguments of `timm.create_model` from its repository.
        pretrained_cfg: description of weights and images from its repository; None for timm's own description.
        repository: repository of its weights on the hub, or None.
        facts: description of the pretrained weights from timm or the repository: `num_classes`, `label_names`, `notes`.
        transform: image transform of a repository of Hugging Face transformers, or None for timm's.
    """

    name: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    pretrained_cfg: dict[str, Any] | None = None
    repository: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    transform: dict[str, Any] | None = None


@dataclass(frozen=True)
class Hub:
    """Where to look for a repository's files.

    Args:
        cache: cache folder of the hub client; None for its default folder (`HF_HOME`).
        offline: whether to read the cache only, without network access.
    """

    cache: Path | None = None
    offline: bool = False

    def architecture(self, arch: str) -> Architecture:
        """Return the architecture that a config names: a name in timm, or `hf-hub:` and a repository.

        Raises:
            InputError: the repository's description is not available, or describes no model of timm or transformers that is supported.
        """
        if not arch.startswith(arguments.HUB):
            known = _known(arch)
            return Architecture(arch, repository=known.get("hf_hub_id"), facts=known)
        repository = arch.removeprefix(arguments.HUB)
        folder = self.file(repository, "config.json").parent
        if transformers_config.is_transformers(content := json_of(folder / "config.json")):
            return self._of_transformers(arch, repository, content)
        try:
            # A cached file named by its commit is read without asking the network.
            cfg, name, kwargs = load_model_config_from_hf(f"{repository.partition('@')[0]}@{folder.name}", self.cache)
            classes = {"num_classes": cfg["num_classes"]} if "num_classes" in cfg else {}
            size = {"img_size": cfg["input_size"][1:]} if cfg.get("fixed_input_size") else {}
            facts = {**_known(f"{name}.{cfg.get('tag')}"), **cfg}
            architecture = Architecture(name, {**classes, **size, **kwargs}, {**cfg, "source": "", "hf_hub_id": None}, repository, facts)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            problem = f"{type(error).__name__}: {printable(first_line(error))}"
            raise InputError(f"config.json of {arch} does not describe a timm model ({problem})") from None
        if refused := arguments.refusal(architecture.kwargs):
            raise InputError(f"config.json of {arch}: `model_args`: {refused}")
        return architecture

    def _of_transformers(self, arch: str, repository: str, content: dict[str, Any]) -> Architecture:
        """Return the architecture of a repository of Hugging Face transformers."""
        preprocessor = None
        with suppress(InputError):  # not every repository has one
            preprocessor = json_of(self.file(repository, transformers_config.PREPROCESSOR))
        found = transformers_config.describe(content, preprocessor, arch)
        return Architecture(found.arch, found.kwargs, None, repository, content, found.transform)

    def weights(self, architecture: Architecture) -> Path:
        """Return the path of an architecture's weights.

        Raises:
            InputError: the weights are not available.
        """
        if architecture.repository is None:
            raise InputError(
                f"arch {architecture.name!r} has no pretrained weights on the hub: give its full name in timm, or a checkpoint"
            )
        return self.file(architecture.repository, *WEIGHTS)

    def file(self, repository: str, *names: str) -> Path:
        """Return the path of the first of several files that a repository has; a cached file needs no network access.

        Args:
            repository: `OWNER/NAME`, or `OWNER/NAME@REVISION`.
            names: file names in order of preference.

        Raises:
            InputError: no file is in the cache, and none can be downloaded.
        """
        name_of, _, revision = repository.partition("@")
        where: dict[str, Any] = {"repo_id": name_of, "revision": revision or None, "cache_dir": self.cache}
        for name in names:
            if isinstance(cached := try_to_load_from_cache(filename=name, **where), str):
                return Path(cached)
        reason = "the config sets `offline`"
        for name in () if self.offline else names:
            try:
                # Without a network, this request fails at once and says why; the download would try again for half a minute.
                get_hf_file_metadata(hf_hub_url(name_of, name, revision=revision or None))
                return Path(hf_hub_download(filename=name, **where))
            except Exception as error:  # the client, its HTTP library and name resolution raise many types of errors
                reason = first_line(error)
                if not isinstance(error, RemoteEntryNotFoundError):
                    break
        raise InputError(
            f"{names[0]} of {repository} is not in the hub's cache {self.cache or HF_HUB_CACHE} and cannot be downloaded ({reason}): "
            f"run `hf download {name_of}` on a machine with a network and copy its cache, or set `weights` to a local checkpoint"
        )


def _known(name: str) -> dict[str, Any]:
    """Return timm's description of the pretrained weights with a name; empty if timm knows no such model or weights."""
    try:
        found = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    except RuntimeError:  # timm knows the model, but not these weights of it
        return {}
    return found.to_dict() if found else {}


def json_of(path: Path) -> Any:
    """Return the content of a JSON file, or None if it is missing or damaged."""
    with suppress(OSError, ValueError, RecursionError):
        return json.loads(path.read_text(encoding="utf-8"))
    return None
