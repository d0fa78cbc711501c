"""What the decorators registered, and what is wrong with it.

Registration happens when the suite's modules are imported, which is when the component is built.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar, overload

from handoff import _wit

P = ParamSpec("P")
R = TypeVar("R")

Seconds = float | timedelta
"""A duration: seconds, or a `timedelta`."""


class SuiteError(Exception):
    """The suite is not put together rightly. Raised when it is built."""

    __module__ = "handoff"


def milliseconds(duration: Seconds) -> int:
    """A duration as the host wants it."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not seconds > 0:
        raise SuiteError(
            f"a duration is a number of seconds above 0, or a timedelta: not {duration!r}"
        )
    return max(1, round(seconds * 1000))


@dataclass
class Header:
    """What `suite` registers."""

    name: str
    description: str | None
    namespace: str | None
    owner: str | None
    timeout: Seconds | None
    attempts: int | None
    parallelism: int | None
    links: Mapping[str, str]
    labels: Mapping[str, str]
    wants_http: Iterable[str]


@dataclass
class Case:
    """One test."""

    name: str
    run: Callable[[], Any]
    place: str
    description: str | None = None
    tags: Iterable[str] = ()
    timeout: Seconds | None = None
    attempts: int | None = None
    soft: bool = False
    disabled: str | None = None


@dataclass
class Registry:
    """All that a suite consists of."""

    headers: list[Header] = field(default_factory=list)
    cases: dict[str, Case] = field(default_factory=dict)
    setups: list[Callable[[], Any]] = field(default_factory=list)
    teardowns: list[Callable[[], Any]] = field(default_factory=list)
    main: str = ""
    """The module that is built: its tests are called by their function's name alone."""

    def add(self, case: Case) -> None:
        if (first := self.cases.get(case.name)) is not None:
            raise SuiteError(
                f"two tests are called {case.name!r}, in {first.place} and {case.place}: "
                "name one of them otherwise"
            )
        self.cases[case.name] = case

    def check(self) -> None:
        """Raises an error if this is no suite."""
        if len(self.headers) != 1:
            raise SuiteError(f"call `handoff.suite(…)` once, not {len(self.headers)} times")
        if not self.cases:
            raise SuiteError("the suite has no tests: mark a function with `@handoff.test`")
        for word, functions in [("setup", self.setups), ("teardown", self.teardowns)]:
            if len(functions) > 1:
                places = " and ".join(_place(function) for function in functions)
                raise SuiteError(f"there is more than one {word}, in {places}")


registry = Registry()


def suite(
    name: str,
    *,
    description: str | None = None,
    namespace: str | None = None,
    owner: str | None = None,
    timeout: Seconds | None = None,
    attempts: int | None = None,
    parallelism: int | None = None,
    links: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    wants_http: Iterable[str] = (),
) -> None:
    """Names the suite and says what holds for all of its tests. Call it once, in a module's top
    level.

    name: lower-case letters, digits, `-`, `_` and `.`, at most 64, starting with a letter or digit.
    description: what it tests, in Markdown.
    namespace: in the same form as the name. Default: `default`; an upload may name another.
    owner: who owns it, such as a team's name or address.
    timeout: the deadline of a test that has none of its own. Default: the server's.
    attempts: how often a test is tried at most if it does not say so itself. Default: the server's.
    parallelism: how many tests may run at the same time. Default: 1.
    links: titles and URLs for whoever looks at a failure, such as the runbook.
    labels: names and values, by which suites are chosen.
    wants_http: the hosts that it would like to reach, as `https://host:port`. People see this wish
        beside what the policy grants; it grants nothing.
    """
    if timeout is not None:
        milliseconds(timeout)
    header = Header(
        name=name,
        description=_clean(description),
        namespace=namespace,
        owner=owner,
        timeout=timeout,
        attempts=attempts,
        parallelism=parallelism,
        links=links or {},
        labels=labels or {},
        wants_http=wants_http,
    )
    registry.headers.append(header)


@overload
def test(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def test(
    *,
    name: str | None = None,
    description: str | None = None,
    tags: Iterable[str] = (),
    timeout: Seconds | None = None,
    attempts: int | None = None,
    soft: bool = False,
    disabled: str | None = None,
    cases: Mapping[str, Any] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def test(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    tags: Iterable[str] = (),
    timeout: Seconds | None = None,
    attempts: int | None = None,
    soft: bool = False,
    disabled: str | None = None,
    cases: Mapping[str, Any] | None = None,
) -> Any:
    """Makes a function a test: `@test`, or `@test(…)` with options. It may be `async`. It passes if
    it returns, fails if it raises, and is skipped by `handoff.skip`.

    Tests run in the order in which they are defined.

    name: the test's identity over time. Default: the function's name; in another module than the
        one that is built, `module.function`.
    description: what it checks, in Markdown. Default: the function's docstring.
    tags: texts by which tests are chosen.
    timeout: its deadline.
    attempts: how often it is tried at most.
    soft: its failure is shown without failing the run.
    disabled: it is not run, for this reason.
    cases: makes a test of each entry, called `name[entry]`: the function is called with the entry's
        value, or with its items if that is a tuple.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        if isinstance(tags, str):
            raise SuiteError(f"tags are a list of texts: write `tags=[{tags!r}]`")
        if timeout is not None:
            milliseconds(timeout)
        called = name or _name(function)
        arguments: dict[str, tuple[Any, ...]] = {called: ()}
        if cases is not None:
            arguments = {
                f"{called}[{case}]": value if isinstance(value, tuple) else (value,)
                for case, value in cases.items()
            }
        for full_name, values in arguments.items():
            try:
                inspect.signature(function).bind(*values)
            except TypeError as problem:
                raise SuiteError(
                    f"the test {full_name!r} in {_place(function)} cannot be called: {problem}"
                ) from None
            registry.add(
                Case(
                    name=full_name,
                    run=functools.partial(function, *values),
                    place=_place(function),
                    description=_clean(description or function.__doc__),
                    tags=tuple(tags),
                    timeout=timeout,
                    attempts=attempts,
                    soft=soft,
                    disabled=disabled,
                )
            )
        return function

    return register if function is None else register(function)


test.__test__ = False  # type: ignore[attr-defined]  # for pytest, which takes it for a test of its own


def setup(function: Callable[P, R]) -> Callable[P, R]:
    """Makes a function run before the first test. If it fails, no test runs; if it skips, all tests
    are skipped."""
    registry.setups.append(function)
    return function


def teardown(function: Callable[P, R]) -> Callable[P, R]:
    """Makes a function run after the last test: after failures, a timeout and a cancellation too.
    Its failure is shown and does not fail the run."""
    registry.teardowns.append(function)
    return function


def described() -> Any:
    """The suite as the host wants it."""
    registry.check()
    header = registry.headers[0]
    wit = _wit.tests
    return wit.SuiteDescription(
        name=header.name,
        namespace=header.namespace,
        description=header.description,
        links=[_wit.vocabulary.Link(title, url) for title, url in header.links.items()],
        labels=[_wit.vocabulary.Attribute(key, str(value)) for key, value in header.labels.items()],
        owner=header.owner,
        timeout_ms=_optional(header.timeout),
        attempts=header.attempts,
        parallelism=header.parallelism,
        wants_http=list(header.wants_http),
        tests=[
            wit.TestCase(
                name=case.name,
                description=case.description,
                tags=list(case.tags),
                timeout_ms=_optional(case.timeout),
                attempts=case.attempts,
                soft=case.soft,
                disabled=case.disabled,
            )
            for case in registry.cases.values()
        ],
    )


def _optional(duration: Seconds | None) -> int | None:
    return None if duration is None else milliseconds(duration)


def _clean(text: str | None) -> str | None:
    return inspect.cleandoc(text) if text else None


def _name(function: Callable[..., Any]) -> str:
    module = function.__module__.removeprefix(f"{registry.main}.")
    return function.__name__ if module == registry.main else f"{module}.{function.__name__}"


def _place(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else function.__module__
