"""torch's compiler (`torch._dynamo`), imported only if it is used.

Only `torch.compile` needs the compiler, and its import takes a second. torchvision imports it to ask whether it may compile, and timm to
mark a function as not to be compiled. While a program imports its libraries, stand-ins do for both.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

_COMPILER, _UTILS = "torch._dynamo", "torch._dynamo.utils"


class _StandIn(ModuleType):
    """A module that ends all stand-ins, and imports what it stands for, when it is asked for what it does not have."""

    def __getattr__(self, name: str) -> Any:
        # The import system asks every module for such names, and a package for its path if one of its other modules is imported.
        if name.startswith("__") and (self.__name__, name) != (_COMPILER, "__path__"):
            raise AttributeError(name)
        allow()
        return getattr(import_module(self.__name__), name)


def postpone() -> None:
    """Put stand-ins in the place of the compiler, unless it is imported already."""
    if _COMPILER in sys.modules:
        return
    compiler, utils = _StandIn(_COMPILER), _StandIn(_UTILS)
    compiler.__dict__.update(utils=utils, disable=_disable)
    utils.__dict__.update(is_compile_supported=_is_compile_supported)
    sys.modules.update({_COMPILER: compiler, _UTILS: utils})


def allow() -> None:
    """Remove the stand-ins: whatever imports the compiler from now on gets the compiler."""
    for name in (_COMPILER, _UTILS):
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]


def _disable(fn: Callable[..., Any] | None = None, recursive: bool = True, **options: Any) -> Callable[..., Any]:
    """Return a function as it is, or a decorator that does so, because nothing is compiled."""
    return fn or (lambda function: function)


def _is_compile_supported(device_type: str) -> bool:
    """Ask the compiler, which is imported now."""
    allow()
    return bool(import_module(_UTILS).is_compile_supported(device_type))
