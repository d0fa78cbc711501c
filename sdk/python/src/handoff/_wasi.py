"""HTTP over wasi:http.

Written once for both kinds of tests: as coroutines that wait by `await _Ready(pollables)`.
`blocking` drives them for ordinary tests, `handoff.aio` on an event loop.

A resource must be dropped before the one that it came from: hence each `with` where it is.
"""

import contextlib
import re
from collections.abc import Coroutine, Generator, Iterator
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from handoff import _errors, _wit

T = TypeVar("T")

_CHUNK = 64 * 1024
"""How much of a body is read at once."""

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")

_TIMEOUTS = {
    "DnsTimeout",
    "ConnectionTimeout",
    "ConnectionReadTimeout",
    "ConnectionWriteTimeout",
    "HttpResponseTimeout",
}
_UNREACHABLE = {
    "DnsError",
    "DestinationNotFound",
    "DestinationUnavailable",
    "DestinationIpProhibited",
    "DestinationIpUnroutable",
    "ConnectionRefused",
    "TlsProtocolError",
    "TlsCertificateError",
    "TlsAlertReceived",
}
_LIMITS = {"ConnectionLimitReached", "HttpRequestBodySize", "HttpResponseBodySize"}
_MALFORMED = {
    "HttpRequestMethodInvalid",
    "HttpRequestUriInvalid",
    "HttpRequestUriTooLong",
    "HttpRequestLengthRequired",
}


class _Ready:
    """Waits until one of these is ready."""

    def __init__(self, pollables: list[Any]):
        self.pollables = pollables

    def __await__(self) -> Generator[list[Any], None, None]:
        yield self.pollables


def blocking(coroutine: Coroutine[list[Any], None, T]) -> T:
    """Drives a coroutine of this module to its end."""
    try:
        while True:
            _wit.poll.poll(coroutine.send(None))
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        coroutine.close()


class Deadline:
    """Until when an exchange may take."""

    def __init__(self, timer: Any, timeout: float | None):
        self.timer, self.timeout = timer, timeout

    async def wait(self, pollable: Any) -> None:
        """Waits until this is ready, and drops it."""
        with pollable:
            timers = [] if self.timer is None else [self.timer]
            await _Ready([pollable, *timers])
            if timers and self.timer.ready() and not pollable.ready():
                raise _errors.Timeout(f"no answer within {self.timeout} s")


@contextlib.contextmanager
def deadline(timeout: float | None) -> Iterator[Deadline]:
    """A deadline in so many seconds, or none."""
    if timeout is None:
        yield Deadline(None, None)
        return
    if timeout <= 0:
        raise _errors.InvalidRequest("a timeout is above 0")
    with _wit.monotonic_clock.subscribe_duration(int(timeout * 1e9)) as timer:
        yield Deadline(timer, timeout)


async def exchange(request: Any, until: Deadline) -> tuple[int, list[tuple[str, str]], bytes]:
    """Sends a request and reads the whole answer: its status, headers and body."""
    try:
        outgoing = _outgoing(request)
        body = outgoing.body()
        with _wit.outgoing_handler.handle(outgoing, None) as future:
            await _write(body, request.content, until)
            while (answer := future.get()) is None:
                await until.wait(future.subscribe())
            # An answer, in a result of the exchange, in a result of `get`.
            if isinstance(answer.value, _wit.Err):
                raise answer.value
            with answer.value.value as response:
                return await _read(response, until)
    except _wit.Err as error:
        _fail(error.value, f"{request.method} {request.url}")
    except _errors.RequestException as error:
        error.args = (f"{request.method} {request.url}: {error}",)
        raise


def _outgoing(request: Any) -> Any:
    types = _wit.http_types
    parts = urlsplit(request.url)
    try:
        fields = [(name, value.encode()) for name, value in request.headers.items()]
        outgoing = types.OutgoingRequest(types.Fields.from_list(fields))
    except _wit.Err as error:
        why = type(error.value).__name__.removeprefix("HeaderError_")
        raise _errors.InvalidRequest(f"a header cannot be sent: {_words(why)}") from None
    known = request.method in _METHODS
    method = getattr(types, f"Method_{request.method.capitalize()}")() if known else None
    scheme = types.Scheme_Https() if parts.scheme == "https" else types.Scheme_Http()
    try:
        outgoing.set_method(method or types.Method_Other(request.method))
        outgoing.set_scheme(scheme)
        outgoing.set_authority(parts.netloc)
        outgoing.set_path_with_query(parts.path + (f"?{parts.query}" if parts.query else ""))
    except _wit.Err:
        raise _errors.InvalidRequest("its method or URL is malformed") from None
    return outgoing


async def _write(body: Any, content: bytes, until: Deadline) -> None:
    try:
        with body.write() as stream:
            while content:
                if room := stream.check_write():
                    stream.write(content[:room])
                    content = content[room:]
                else:
                    await until.wait(stream.subscribe())
            stream.flush()
            await until.wait(stream.subscribe())
            stream.check_write()
    except _wit.Err:
        # The server does not want all of it: what it answered says why.
        body.__exit__(None, None, None)
        return
    except BaseException:
        body.__exit__(None, None, None)
        raise
    _wit.http_types.OutgoingBody.finish(body, None)


async def _read(response: Any, until: Deadline) -> tuple[int, list[tuple[str, str]], bytes]:
    with response.headers() as fields:
        headers = [(name, value.decode(errors="replace")) for name, value in fields.entries()]
    content = bytearray()
    with response.consume() as body, body.stream() as stream:
        while True:
            try:
                chunk = stream.read(_CHUNK)
            except _wit.Err as error:
                if isinstance(error.value, _wit.streams.StreamError_Closed):
                    return response.status(), headers, bytes(content)
                code = _wit.http_types.http_error_code(error.value.value)
                raise _wit.Err(code or _wit.http_types.ErrorCode_HttpResponseIncomplete()) from None
            if chunk:
                content += chunk
            else:
                await until.wait(stream.subscribe())


def _fail(code: Any, what: str) -> NoReturn:
    """Raises the error for an error code of wasi:http."""
    name = type(code).__name__.removeprefix("ErrorCode_")
    if name == "HttpRequestDenied":
        why = "denied: the suite's policy must grant this host in `allow_http`"
        raise _errors.Denied(f"{what}: {why}") from None
    kind: type[_errors.RequestException]
    if name in _TIMEOUTS:
        kind, why = _errors.Timeout, "took too long"
    elif name in _UNREACHABLE:
        kind, why = _errors.ConnectionError, "cannot reach the server"
    elif name in _LIMITS:
        kind, why = _errors.Denied, "denied: hit a limit"
    elif name in _MALFORMED:
        kind, why = _errors.InvalidRequest, "malformed request"
    else:
        kind, why = _errors.ConnectionError, "the exchange broke off"
    detail = getattr(code, "value", None)
    raise kind(f"{what}: {why}: {_words(name)}{'' if detail is None else f' ({detail})'}") from None


def _words(name: str) -> str:
    """`ConnectionRefused` as `connection refused`."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()
