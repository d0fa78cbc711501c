"""The generated bindings, the one place that names them.

componentize-py makes the package `wit_world` when it builds a component. Elsewhere, such as in an
editor or a unit test, it is not there: then everything that needs the host says so when it is used.
"""

from typing import Any

__all__ = [
    "Err",
    "Ok",
    "context",
    "exports",
    "http_types",
    "monotonic_clock",
    "outgoing_handler",
    "poll",
    "store",
    "streams",
    "tests",
    "vocabulary",
]

try:
    from componentize_py_types import Err, Ok
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
    )
    from wit_world.imports import wasi_http_types as http_types
except ModuleNotFoundError as absent:
    if absent.name not in ("componentize_py_types", "wit_world"):
        raise

    class _Absent:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(
                "this works only in a running suite: build it with `python -m handoff.build` and "
                "run it with `handoff test`"
            )

    class Err(Exception):  # type: ignore[no-redef]
        value: Any

    class Ok:  # type: ignore[no-redef]
        value: Any

    exports = context = monotonic_clock = outgoing_handler = poll = store = streams = _Absent()
    vocabulary = http_types = tests = _Absent()
