"""An event loop for `async` tests on what WASI offers: timers, and waiting for many things at once.

asyncio's own needs sockets, and the one that componentize-py ships has no timers.
"""

import asyncio
from typing import Any

from handoff import _wit


class Loop(asyncio.BaseEventLoop):
    """asyncio's loop over `wasi:io/poll`. `BaseEventLoop` asks its selector to wait and to say what
    happened; everything else it does by itself."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[tuple[list[Any], asyncio.Future[None]]] = []
        self._selector = self

    async def wait(self, pollables: list[Any]) -> None:
        """Waits until one of these is ready."""
        ready = self.create_future()
        self._waiting.append((pollables, ready))
        await ready

    def select(self, timeout: float | None) -> list[asyncio.Future[None]]:
        """Waits until something is ready, at most so long. Part of asyncio's contract."""
        # A future that is done was cancelled, and its pollables are gone.
        self._waiting = [entry for entry in self._waiting if not entry[1].done()]
        waiting = [(pollable, future) for some, future in self._waiting for pollable in some]
        pollables = [pollable for pollable, _ in waiting]
        if timeout is None and not pollables:
            raise RuntimeError("this waits for something that will never happen")
        if timeout is None:
            ready = _wit.poll.poll(pollables)
        else:
            with _wit.monotonic_clock.subscribe_duration(max(0, int(timeout * 1e9))) as timer:
                ready = _wit.poll.poll([*pollables, timer])
        return [waiting[index][1] for index in ready if index < len(waiting)]

    def _process_events(self, ready: list[asyncio.Future[None]]) -> None:
        for future in ready:
            if not future.done():
                future.set_result(None)

    def _write_to_self(self) -> None:
        """Nothing: there are no other threads that could wake it."""


def install() -> None:
    """Makes this the loop of `asyncio.run`: asyncio's own cannot even be made here."""
    for module in (asyncio, asyncio.events):
        module.new_event_loop = Loop  # type: ignore[attr-defined]
