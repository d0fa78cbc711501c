"""What can go wrong with a request: the names of `requests`, public in `http`."""

from typing import Any


class RequestException(OSError):
    """Why there is no answer, or not a good one. All other errors here are of this kind."""

    def __init__(self, message: str, response: Any = None):
        super().__init__(message)
        self.response = response
        """The answer, if there is one."""


class Denied(RequestException):
    """The policy of the suite does not allow it, or a limit was hit."""


class ConnectionError(RequestException):
    """The server was not reached, or the exchange broke off."""


class Timeout(RequestException):
    """It took too long."""


class InvalidRequest(RequestException, ValueError):
    """The request is malformed; nothing was sent."""


class InvalidURL(InvalidRequest):
    """The URL is not absolute, or not one of `http` or `https`."""


class HTTPError(RequestException):
    """The status is 400 or more. See `Response.raise_for_status`."""


class TooManyRedirects(RequestException):
    """There were more redirects than are followed."""


class JSONDecodeError(RequestException, ValueError):
    """The body is no JSON."""


for _error in (RequestException, *RequestException.__subclasses__(), InvalidURL):
    _error.__module__ = "handoff.http"
