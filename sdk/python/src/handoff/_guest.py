"""The four functions that a suite exports."""

import asyncio
import inspect
import os
import random
import sys
from collections.abc import Callable
from typing import Any, TypeGuard

from handoff import _context, _log, _loop, _outcome, _preload, _wit  # noqa: F401
from handoff._registry import described, registry


class Tests(_wit.exports.Tests):  # type: ignore[misc]
    """What componentize-py exports."""

    def describe(self) -> Any:
        _wit.connect()
        return described()

    def setup(self) -> Any:
        return attempt(registry.setups[0]) if registry.setups else attempt(lambda: None)

    def run(self, test: str) -> Any:
        case = registry.cases.get(test)
        if case is None:
            text = f"there is no test `{test}` in this suite"
            return _wit.vocabulary.Outcome_Failed(_wit.vocabulary.Failure(text, None))
        return attempt(case.run)

    def teardown(self) -> None:
        if registry.teardowns:
            ended = attempt(registry.teardowns[0])
            if isinstance(ended, _wit.vocabulary.Outcome_Failed):
                raise _wit.Err(ended.value)


def attempt(function: Callable[[], Any]) -> Any:
    """Calls a function of the suite and then its clean-ups, and says how that ended."""
    _wit.connect()
    # The generator that was set up at build time would give every attempt the same numbers.
    random.seed()
    raised = _raised_by(function)
    reported = False
    while clean_up := _context.take_cleanup():
        if _is_failure(raised) and not reported:
            _report(raised)  # now, because the clean-up may end the attempt
            reported = True
        later = _raised_by(clean_up)
        if later is not None and _is_failure(raised):
            _report(later)
        elif later is not None:
            raised = later
    if isinstance(raised, SystemExit):
        _exit(raised)
    ended = _outcome.outcome(raised)
    _flush()
    return ended


def _is_failure(raised: BaseException | None) -> TypeGuard[BaseException]:
    return not (raised is None or isinstance(raised, (_outcome.Skip, SystemExit)))


def _report(raised: BaseException) -> None:
    _flush()
    _wit.context.report_failure(_outcome.failure(raised))


def _raised_by(function: Callable[[], Any]) -> BaseException | None:
    try:
        returned = function()
        if inspect.iscoroutine(returned):
            asyncio.run(returned)
    except BaseException as raised:
        return raised
    return None


def _exit(raised: SystemExit) -> None:
    """Ends the program as Python does it."""
    print("".join(_outcome.shown(raised).format()), end="", file=sys.stderr)
    code = raised.code
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    _flush()
    os._exit(code or 0)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


_log.install()
_loop.install()
