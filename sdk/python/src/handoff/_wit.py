"""The generated bindings, the one place that names them.

componentize-py makes the package `wit_world` when it builds a component. Elsewhere, such as in an
editor or a unit test, it is not there. And while a component is built, it is there but the host is
not: asking it would end the interpreter. In both cases, what needs the host says so instead.
"""

from typing import Any

try:
    from componentize_py_types import Err
    from wit_world import exports
    from wit_world.exports import tests
    from wit_world.imports import (
        context,
        monotonic_clock,
        outgoing_handler,
        poll,
        store,
        streams,
        vocabulary,
        wasi_http_types,
    )

    _host: dict[str, Any] = {
        "context": context,
        "http_types": wasi_http_types,
        "monotonic_clock": monotonic_clock,
        "outgoing_handler": outgoing_handler,
        "poll": poll,
        "store": store,
    }
except ModuleNotFoundError as absent:
    if absent.name not in ("componentize_py_types", "wit_world"):
        raise

    class Err(Exception):  # type: ignore[no-redef]
        """Never raised."""

    exports = streams = tests = vocabulary = None
    _host = {}

__all__ = [
    "Err",
    "connect",
    "context",
    "exports",
    "http_types",
    "monotonic_clock",
    "outgoing_handler",
    "poll",
    "running",
    "store",
    "streams",
    "tests",
    "vocabulary",
]


class _Absent:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(
            "this works only while a test runs: call it in a test, and run the suite by "
            "`handoff test`"
        )


context: Any = _Absent()  # type: ignore[no-redef]
http_types = monotonic_clock = outgoing_handler = poll = store = context

running = False
"""Whether the host is there."""


def connect() -> None:
    """From now on the host is there. What a test changes here is gone with its instance."""
    global running
    running = True
    globals().update(_host)
