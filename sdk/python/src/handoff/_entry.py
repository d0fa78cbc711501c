"""Imports the suite while its component is built."""

import importlib
import importlib.machinery
import os
import pkgutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from handoff import _outcome, _rewrite
from handoff._registry import registry

BEGIN, END = "<<<handoff\n", "\nhandoff>>>"
"""What encloses the words of a failed import in the output of componentize-py."""


def load(name: str, shown: str) -> None:
    """Imports the suite's module, and all modules in it if it is a package. Its files are called by
    their paths below `shown`."""
    try:
        spec = importlib.machinery.PathFinder.find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"no module {name}", name=name)
        directory = os.path.dirname(spec.origin)
        if spec.submodule_search_locations is not None:
            directory = os.path.dirname(directory)
        _rewrite.install(directory, shown)
        registry.main = name
        with _no_sockets():
            module = importlib.import_module(name)
            if spec.submodule_search_locations is not None:
                for found in pkgutil.walk_packages(module.__path__, f"{name}."):
                    importlib.import_module(found.name)
        registry.check()
    except BaseException as raised:
        # `handoff.build` finds this in what componentize-py prints.
        print(f"{BEGIN}{_outcome.message(raised)}{END}")
        raise


@contextmanager
def _no_sockets() -> Iterator[None]:
    """Refuses sockets, which some libraries try out when they are imported. What the C library
    keeps of the first one would be part of the component, and every later one would then trap."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise PermissionError("there is no network while a suite is built")

    made, resolved = socket.socket.__init__, socket.getaddrinfo
    try:
        socket.socket.__init__ = socket.getaddrinfo = refuse  # type: ignore[method-assign]
        yield
    finally:
        socket.socket.__init__, socket.getaddrinfo = made, resolved  # type: ignore[method-assign]
