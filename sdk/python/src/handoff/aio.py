"""Requests for `async` tests, several at once. The options and errors are those of `handoff.http`.

```python
@test
async def answers_all():
    answers = await asyncio.gather(*(aio.get(f"{shop}/books/{id}") for id in range(10)))
    assert all(answers)
```
"""

import asyncio
from typing import Any

from handoff import http
from handoff.http import Response


async def request(method: str, url: str, **options: Any) -> Response:
    """Sends a request and waits for the whole answer. See `handoff.http.request`."""
    coroutine = http.send(http.Request(method, url, **options))
    loop: Any = asyncio.get_running_loop()
    try:
        while True:
            await loop.wait(coroutine.send(None))
    except StopIteration as end:
        answer: Response = end.value
        return answer
    finally:
        coroutine.close()


async def get(url: str, params: http.Pairs | None = None, **options: Any) -> Response:
    """Sends a `GET` request."""
    return await request("GET", url, params=params, **options)


async def head(url: str, **options: Any) -> Response:
    """Sends a `HEAD` request."""
    return await request("HEAD", url, **options)


async def options(url: str, **options: Any) -> Response:
    """Sends an `OPTIONS` request."""
    return await request("OPTIONS", url, **options)


async def post(url: str, data: Any = None, json: Any = None, **options: Any) -> Response:
    """Sends a `POST` request."""
    return await request("POST", url, data=data, json=json, **options)


async def put(url: str, data: Any = None, **options: Any) -> Response:
    """Sends a `PUT` request."""
    return await request("PUT", url, data=data, **options)


async def patch(url: str, data: Any = None, **options: Any) -> Response:
    """Sends a `PATCH` request."""
    return await request("PATCH", url, data=data, **options)


async def delete(url: str, **options: Any) -> Response:
    """Sends a `DELETE` request."""
    return await request("DELETE", url, **options)
