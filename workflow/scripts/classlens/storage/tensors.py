"""Files of tensors that belong to a model, in safetensors format."""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from classlens.errors import InputError, first_line
from classlens.storage.atomic_write import atomic_write


def write_tensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors by name. Equal tensors and facts give equal bytes.

    Args:
        path: file to write.
        tensors: tensors by name.
        facts: further values, as JSON; `model_sha256` is the sha256 of the model's weights.
    """
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()}, {"facts": json.dumps(facts, sort_keys=True)})
    with atomic_write(path) as draft:
        draft.write_bytes(content)


def read_tensors(path: Path, model: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and facts that `write_tensors` wrote.

    Args:
        path: the file.
        model: required sha256 of the model's weights; None for any.

    Raises:
        InputError: the file is damaged, or belongs to other weights.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads(file.metadata()["facts"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        owner = facts["model_sha256"]
    except Exception as error:  # safetensors raises many types of errors for a damaged header
        raise InputError(f"{path} cannot be read ({first_line(error)}): delete it and run the workflow again") from None
    if model not in (None, owner):
        raise InputError(f"{path} belongs to other weights: delete it and run the workflow again")
    return tensors, facts
