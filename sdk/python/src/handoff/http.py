"""HTTP requests from a test, with the interface people know from `requests`.

```python
from handoff import http

answer = http.post(f"{shop}/books", json={"title": "Dune"}, timeout=2)
answer.raise_for_status()
assert answer.json()["title"] == "Dune"
```

A suite reaches only the hosts that its policy grants (`allow_http`); what it does not grant raises
`Denied`. What differs from `requests`: `timeout` is a number of seconds for the whole exchange, 30
by default; certificates are always checked, by the server; there are no sessions, and cookies are
headers like any other. In an `async` test, `handoff.aio` sends several requests at once.
"""

import base64
import datetime
import json as _json
import time
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import quote, urlencode, urljoin, urlsplit, urlunsplit

from handoff import _wasi
from handoff._errors import (
    ConnectionError,
    Denied,
    HTTPError,
    InvalidRequest,
    InvalidURL,
    JSONDecodeError,
    RequestException,
    Timeout,
    TooManyRedirects,
)

__all__ = [
    "DEFAULT_TIMEOUT",
    "MAX_REDIRECTS",
    "ConnectionError",
    "Denied",
    "HTTPError",
    "Headers",
    "InvalidRequest",
    "InvalidURL",
    "JSONDecodeError",
    "Request",
    "RequestException",
    "Response",
    "Timeout",
    "TooManyRedirects",
    "delete",
    "get",
    "head",
    "options",
    "patch",
    "post",
    "put",
    "request",
]

DEFAULT_TIMEOUT = 30.0
"""How many seconds a request may take, answer included, unless it says otherwise."""

MAX_REDIRECTS = 30
"""How many redirects are followed."""

_SHOWN = 500
"""How much of a body an error shows, in characters."""

Pairs = Mapping[str, Any] | Iterable[tuple[str, Any]]
"""Names with values. In a query or a form, a value that is a list stands for several."""


class Headers(Mapping[str, str]):
    """Headers, whose names are the same in any case. Several of one name are joined by commas."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()):
        self._pairs = list(pairs)

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter({name.lower(): None for name, _ in self._pairs})

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def __repr__(self) -> str:
        return repr(dict(self))

    def get_all(self, name: str) -> list[str]:
        """All values of that name, such as each `set-cookie`."""
        return [value for key, value in self._pairs if key.lower() == name.lower()]


class Response:
    """An answer, with its whole body."""

    def __init__(self, method: str, url: str, status_code: int, headers: Headers, content: bytes):
        self.method = method
        """The method that was sent."""
        self.url = url
        """Where the answer came from in the end."""
        self.status_code = status_code
        """Its status, for example 404."""
        self.headers = headers
        """Its headers."""
        self.content = content
        """Its body."""
        self.elapsed = datetime.timedelta()
        """How long it took until the whole answer was there."""
        self.history: list[Response] = []
        """The redirects that led here."""

    def __repr__(self) -> str:
        return f"<Response [{self.status_code}]>"

    def __bool__(self) -> bool:
        return self.ok

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status_code < 400

    @property
    def reason(self) -> str:
        """The words for the status, for example `Not Found`."""
        try:
            return HTTPStatus(self.status_code).phrase
        except ValueError:
            return ""

    @property
    def encoding(self) -> str:
        """The encoding that the answer names, or else UTF-8."""
        for parameter in self.headers.get("content-type", "").split(";")[1:]:
            key, _, value = parameter.strip().partition("=")
            if key.lower() == "charset":
                return value.strip("\"'")
        return "utf-8"

    @property
    def text(self) -> str:
        """The body as a text; what does not fit the encoding is replaced."""
        try:
            return self.content.decode(self.encoding, "replace")
        except LookupError:
            return self.content.decode("utf-8", "replace")

    def json(self, **options: Any) -> Any:
        """The body, read as JSON. The error shows how the body begins."""
        try:
            return _json.loads(self.content, **options)
        except ValueError as problem:
            why = f"the body of {self.method} {self.url} is no JSON: {problem}"
            raise JSONDecodeError(f"{why}\n{self._beginning()}", self) from None

    @property
    def is_redirect(self) -> bool:
        """Whether it names another place to ask."""
        return "location" in self.headers and self.status_code in (301, 302, 303, 307, 308)

    def raise_for_status(self) -> Self:
        """The answer itself, or an `HTTPError` that shows how the body begins if the status is 400
        or more."""
        if self.ok:
            return self
        whose = "Client" if self.status_code < 500 else "Server"
        why = f"{self.status_code} {whose} Error: {self.reason} for {self.method} {self.url}"
        raise HTTPError(f"{why}\n{self._beginning()}", self)

    def _beginning(self) -> str:
        return f"the body of {len(self.content)} bytes begins: {self.text[:_SHOWN]}"


class Request:
    """A request that is ready to be sent."""

    def __init__(
        self,
        method: str,
        url: str,
        *,
        params: Pairs | None = None,
        data: Pairs | bytes | str | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        allow_redirects: bool | None = None,
    ):
        self.method = method.upper()
        self.url = prepared_url(url, params)
        self.headers = {name.lower(): str(value) for name, value in (headers or {}).items()}
        self.content = b""
        self.timeout = timeout
        self.allow_redirects = self.method != "HEAD" if allow_redirects is None else allow_redirects
        if data is not None:
            self.content, kind = _encoded(data)
            if kind is not None:
                self.headers.setdefault("content-type", kind)
        elif json is not None:
            self.content = _json.dumps(json, ensure_ascii=False, allow_nan=False).encode()
            self.headers.setdefault("content-type", "application/json")
        if auth is not None:
            credentials = base64.b64encode(":".join(auth).encode()).decode()
            self.headers["authorization"] = f"Basic {credentials}"
        self.headers.setdefault("accept", "*/*")
        if self.content or self.method in ("POST", "PUT", "PATCH"):
            self.headers["content-length"] = str(len(self.content))

    def redirected(self, answer: Response) -> "Request":
        """The request that a redirect asks for, with the rules of browsers and of `requests`."""
        url = prepared_url(urljoin(self.url, answer.headers["location"]), None)
        method, content, headers = self.method, self.content, dict(self.headers)
        status = answer.status_code
        if (status in (302, 303) and method != "HEAD") or (status == 301 and method == "POST"):
            method, content = "GET", b""
            for name in ("content-length", "content-type"):
                headers.pop(name, None)
        if _origin(url) != _origin(self.url):
            headers.pop("authorization", None)
        new = Request(method, url, headers=headers)
        new.content = content
        return new


def request(method: str, url: str, **options: Any) -> Response:
    """Sends a request and waits for the whole answer, whatever its status.

    url: absolute, with `http` or `https`.
    params: what is added to the URL's query.
    data: the body: bytes, a text, or names and values, which become a form.
    json: the body as JSON, with its content type.
    headers: more headers.
    auth: user and password, for basic authentication.
    timeout: how many seconds it may take until the whole answer is there. `None`: until the
        attempt's deadline, which holds in any case.
    allow_redirects: whether redirects are followed. Default: yes, but for `HEAD`. Each target must
        be granted by the policy.

    Raises a `RequestException`.
    """
    return _wasi.blocking(send(Request(method, url, **options)))


def get(url: str, params: Pairs | None = None, **options: Any) -> Response:
    """Sends a `GET` request. Options as for `request`."""
    return request("GET", url, params=params, **options)


def head(url: str, **options: Any) -> Response:
    """Sends a `HEAD` request. Options as for `request`."""
    return request("HEAD", url, **options)


def options(url: str, **options: Any) -> Response:
    """Sends an `OPTIONS` request. Options as for `request`."""
    return request("OPTIONS", url, **options)


def post(url: str, data: Any = None, json: Any = None, **options: Any) -> Response:
    """Sends a `POST` request. Options as for `request`."""
    return request("POST", url, data=data, json=json, **options)


def put(url: str, data: Any = None, **options: Any) -> Response:
    """Sends a `PUT` request. Options as for `request`."""
    return request("PUT", url, data=data, **options)


def patch(url: str, data: Any = None, **options: Any) -> Response:
    """Sends a `PATCH` request. Options as for `request`."""
    return request("PATCH", url, data=data, **options)


def delete(url: str, **options: Any) -> Response:
    """Sends a `DELETE` request. Options as for `request`."""
    return request("DELETE", url, **options)


def prepared_url(url: str, params: Pairs | None) -> str:
    """The URL as it is sent: encoded, with the parameters, without a fragment."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        authority = parts.netloc.rpartition("@")[2]
        if not authority.isascii():
            authority = authority.encode("idna").decode()
    except ValueError as problem:
        raise InvalidURL(f"{url!r} is no URL: {problem}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidURL(f"the URL {url!r} is not absolute: it needs `http://host`")
    query = quote(parts.query, safe="/?:@!$&'()*+,;=-._~%")
    if params is not None:
        query = "&".join(filter(None, [query, _form(params)]))
    path = quote(parts.path, safe="/:@!$&'()*+,;=-._~%") or "/"
    return urlunsplit((parts.scheme, authority, path, query, ""))


def _encoded(data: Pairs | bytes | str) -> tuple[bytes, str | None]:
    """A body, and its content type if that follows from what was given."""
    if isinstance(data, str):
        return data.encode(), None
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data), None
    return _form(data).encode(), "application/x-www-form-urlencoded"


def _form(pairs: Pairs) -> str:
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    return urlencode([(key, value) for key, value in items if value is not None], doseq=True)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


async def send(request: Request) -> Response:
    """Sends a request, and follows redirects if it shall."""
    started = time.monotonic()
    follow = request.allow_redirects
    history: list[Response] = []
    with _wasi.deadline(request.timeout) as deadline:
        while True:
            status, headers, content = await _wasi.exchange(request, deadline)
            answer = Response(request.method, request.url, status, Headers(headers), content)
            answer.elapsed = datetime.timedelta(seconds=time.monotonic() - started)
            answer.history = history.copy()
            if not (follow and answer.is_redirect):
                return answer
            history.append(answer)
            if len(history) > MAX_REDIRECTS:
                raise TooManyRedirects(
                    f"more than {MAX_REDIRECTS} redirects to {answer.url}", answer
                )
            request = request.redirected(answer)
