"""How a test ends: from what it raised to what the host is told."""

import os
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NoReturn

from handoff import _rewrite, _wit

_SDK = os.path.dirname(__file__)
_MACHINERY = ("<frozen importlib", _rewrite.__file__)


class Skip(BaseException):
    """The test is not applicable here. No `Exception`, so that `except Exception` does not catch
    it."""

    __module__ = "handoff"


class Refusal(Exception):
    """The host said no. Nothing was changed; the test may go on."""

    __module__ = "handoff"

    def __init__(self, rule: str, message: str):
        super().__init__(message)
        self.rule = rule
        """The name of the limit or rule, as the server's settings call it: `artifact_bytes`."""
        self.message = message
        """What was refused, and what to do about it."""


def skip(reason: str) -> NoReturn:
    """Skips the test that is running, for this reason. Works in helpers, in setup and in parts
    too."""
    raise Skip(reason)


def fail(message: str) -> NoReturn:
    """Fails the test that is running."""
    raise AssertionError(message)


def outcome(raised: BaseException | None) -> Any:
    """How something ended that raised this, or nothing."""
    match raised:
        case None:
            return _wit.vocabulary.Outcome_Passed()
        case Skip():
            return _wit.vocabulary.Outcome_Skipped(str(raised))
    return _wit.vocabulary.Outcome_Failed(failure(raised))


def failure(raised: BaseException) -> Any:
    """What the host is told of an exception: its message, its traceback and its place."""
    if isinstance(raised, MemoryError):
        traceback.clear_frames(raised.__traceback__)  # what filled the memory may be theirs
    place = location(raised.__traceback__)
    where = None if place is None else _wit.vocabulary.Location(*place, None)
    return _wit.vocabulary.Failure(message(raised), where)


def location(trace: TracebackType | None) -> tuple[str, int] | None:
    """The innermost place in the suite's own files."""
    places = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(trace)]
    own = [place for place in places if place[0] in _rewrite.own_files]
    return own[-1] if own else None


def shown(raised: BaseException) -> traceback.TracebackException:
    """The exception as Python shows it, without the frames that are not the suite's business."""
    exception = traceback.TracebackException.from_exception(raised)
    _trim(exception)
    return exception


def message(raised: BaseException) -> str:
    """The exception as Python shows it, but with its own words first."""
    try:
        exception = shown(raised)
        words = "".join(exception.format_exception_only())
        everything = "".join(exception.format())
    except Exception:  # whatever the exception's own methods raise
        return type(raised).__name__
    frames = everything.removesuffix(words)
    if isinstance(raised, SyntaxError):
        words = f"{type(raised).__name__}: {raised}\n{words}"
        frames = (
            frames if any(frame.filename in _rewrite.own_files for frame in exception.stack) else ""
        )
    if type(raised) is AssertionError and str(raised).startswith("assert "):
        words = words.removeprefix("AssertionError: ")
    if isinstance(raised, ModuleNotFoundError) and _wit.running:
        words += (
            "the interpreter was set up when the suite was built: import at the top of a module\n"
        )
    return f"{words}\n{frames}".strip()


def _trim(exception: traceback.TracebackException, seen: frozenset[int] = frozenset()) -> None:
    """Leaves out what is not the suite's: before its first frame, the SDK's at the end, and
    imports."""
    if id(exception) in seen:
        return
    kept = [frame for frame in exception.stack if not frame.filename.startswith(_MACHINERY)]
    own = [frame.filename in _rewrite.own_files for frame in kept]
    if any(own):
        del kept[: own.index(True)]
    while kept and kept[-1].filename.startswith(_SDK):
        kept.pop()
    exception.stack = traceback.StackSummary.from_list(kept)
    for chained in _chained(exception):
        _trim(chained, seen | {id(exception)})


def _chained(exception: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    yield from (link for link in (exception.__cause__, exception.__context__) if link is not None)
    yield from exception.exceptions or []
