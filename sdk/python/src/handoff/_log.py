"""Log lines with a level, through Python's own `logging`."""

import logging
from typing import Any

from handoff import _wit

TRACE = 5
"""The level below `logging.DEBUG`."""

logging.addLevelName(TRACE, "TRACE")


class Log(logging.LoggerAdapter):  # type: ignore[type-arg]
    """The suite's logger: that of `logging`, with a level more."""

    def trace(self, message: object, *args: Any, **kwargs: Any) -> None:
        """Logs at level `trace`."""
        self.log(TRACE, message, *args, **kwargs)


log = Log(logging.getLogger("suite"), {})


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            _wit.context.log(_level(record.levelno), self.format(record))
        except Exception:
            self.handleError(record)


def _level(number: int) -> Any:
    levels = _wit.vocabulary.Level
    for least, level in [
        (logging.ERROR, levels.ERROR),
        (logging.WARNING, levels.WARN),
        (logging.INFO, levels.INFO),
        (logging.DEBUG, levels.DEBUG),
    ]:
        if number >= least:
            return level
    return levels.TRACE


def install() -> None:
    """Sends what is logged to the host, which keeps every level. The suite and its libraries may
    still set levels of their own."""
    root = logging.getLogger()
    root.addHandler(_Handler())
    root.setLevel(logging.NOTSET + 1)
