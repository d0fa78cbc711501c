"""What the server offers to the attempt that is running."""

import json
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, Self

from handoff import _outcome, _wit
from handoff._registry import Seconds, milliseconds

P = ParamSpec("P")


def attempt() -> int:
    """Which attempt at this test this is, counted from 1."""
    return _wit.context.attempt_number()


def remaining() -> float:
    """How long the attempt may still run, in seconds."""
    return _wit.context.remaining_ms() / 1000


def extend_deadline(by: Seconds) -> float:
    """Asks for so much time beyond the present deadline. Gives how many seconds the attempt may now
    still run: the server grants up to its cap.

    Raises `Refusal` if the server can grant nothing.
    """
    return _asked(_wit.context.extend_deadline, milliseconds(by)) / 1000


def mark_soft() -> None:
    """From now on a failure of this attempt is shown without failing the run."""
    _wit.context.mark_soft()


def report_failure(message: str) -> None:
    """Reports a failure now and goes on. The attempt then counts as failed whatever comes after."""
    caller = sys._getframe(1)
    where = _wit.vocabulary.Location(caller.f_code.co_filename, caller.f_lineno, None)
    _wit.context.report_failure(_wit.vocabulary.Failure(str(message), where))


class Part:
    """A part of a test with a result of its own. See `part`."""

    passed: bool | None = None
    """Whether it did not fail. `None` while it runs."""

    def __init__(self, name: str):
        self.name = name

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        _: TracebackType | None,
    ) -> bool:
        ended = _outcome.outcome(raised)
        taken = round((time.monotonic() - self._started) * 1000)
        self.passed = raised is None or isinstance(raised, _outcome.Skip)
        _asked(_wit.context.report_sub_result, self.name, ended, taken)
        return isinstance(raised, (Exception, _outcome.Skip))


def part(name: str) -> Part:
    """A named part of this test, such as a row of a table, with a result of its own:

    ```python
    with handoff.part("row 1") as row:
        assert total(1) == 3
    ```

    What fails in it fails the part and nothing else, and what skips skips the part. Fail the test
    with them, if it shall, by an assertion over their `passed`.

    Raises `Refusal` at its end if the server keeps no more parts (limit `sub_results`).
    """
    return Part(name)


_cleanups: list[Callable[[], Any]] = []


def cleanup(function: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """Calls this when the test has ended, however it ended: the last one first. It may be `async`.

    Nothing runs after a timeout, a trap or too much memory: what must be cleaned up then belongs
    into `teardown`.
    """
    _cleanups.append(lambda: function(*args, **kwargs))


def take_cleanup() -> Callable[[], Any] | None:
    """The clean-up that is next."""
    return _cleanups.pop() if _cleanups else None


def set_value(name: str, value: str, *, secret: bool = False) -> None:
    """Keeps a text for the rest of the run: for later tests, for teardown, for people. It becomes
    visible to other attempts when this one ended without a failure.

    A secret is handed to this suite alone and is masked wherever else it would appear, logs and
    failure messages included.

    Raises `Refusal` if the server keeps no more.
    """
    if not isinstance(value, str):
        raise TypeError(f"a value is a text: use `handoff.set_json({name!r}, …)` for other types")
    _asked(_wit.context.set_value, name, value, secret)


def set_json(name: str, value: Any, *, secret: bool = False) -> None:
    """Like `set_value`, for what JSON can express. What is masked of a secret is its JSON text, so
    keep a token as a text by itself."""
    set_value(name, json.dumps(value, ensure_ascii=False), secret=secret)


def get_value(name: str) -> str | None:
    """The value of that name, if one was set in this run."""
    return _wit.context.get_value(name)


def require_value(name: str) -> str:
    """The value of that name. One that was not set is a `LookupError`."""
    value = get_value(name)
    if value is None:
        raise LookupError(f"nothing in this run has set the value `{name}`")
    return value


def get_json(name: str) -> Any:
    """The value of that name, read as JSON. One that was not set is a `LookupError`."""
    return json.loads(require_value(name))


def param(name: str) -> str | None:
    """The run's parameter of that name, or else the suite's configuration value."""
    return _wit.store.get(name)


def require_param(name: str) -> str:
    """The same, but one that is not there is a `LookupError` that says how to set it."""
    value = param(name)
    if value is None:
        raise LookupError(
            f"`{name}` is not set: give it as a parameter of the run, or in the configuration of "
            "the suite's policy"
        )
    return value


def params() -> dict[str, str]:
    """All parameters and configuration values."""
    return dict(_wit.store.get_all())


def attach(name: str, content: bytes | str, media_type: str | None = None) -> None:
    """Keeps a file with the attempt. The name is shown to people and is no path.

    media_type: for example `image/png`. Default: `text/plain` for a text, which is kept in UTF-8,
        and `application/octet-stream` for bytes.

    Raises `Refusal` if it is too big.
    """
    default = "text/plain" if isinstance(content, str) else "application/octet-stream"
    data = content.encode() if isinstance(content, str) else bytes(content)
    _asked(_wit.context.attach, name, media_type or default, data)


def attach_json(name: str, value: Any) -> None:
    """Keeps a value as a JSON file with the attempt."""
    attach(name, json.dumps(value, ensure_ascii=False, indent=2), "application/json")


class Span:
    """A timed part of the attempt, for its timeline. See `span`."""

    def __init__(self, name: str, attributes: dict[str, Any]):
        pairs = [_wit.vocabulary.Attribute(key, str(value)) for key, value in attributes.items()]
        self._span = _wit.context.Span(name, pairs)

    def set(self, key: str, value: object) -> None:
        """Adds an attribute, or replaces the one with that key."""
        self._span.set_attribute(_wit.vocabulary.Attribute(key, str(value)))

    def end(self) -> None:
        """Ends it now."""
        self._span.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def span(name: str, **attributes: Any) -> Span:
    """Starts a timed span of the attempt's timeline. Spans that overlap nest by time.

    ```python
    with handoff.span("login", user=user.id):
        log_in(user)
    ```
    """
    return Span(name, attributes)


def _asked(function: Callable[..., Any], *arguments: Any) -> Any:
    """Asks the host for something that it may refuse."""
    try:
        return function(*arguments)
    except _wit.Err as error:
        raise _outcome.Refusal(error.value.rule, error.value.message) from None
