"""One test of each kind."""

import asyncio

import handoff
from handoff import aio, http, log, test

handoff.suite(
    "hello",
    namespace="python",
    description="One test of each kind, in Python. **Two of them fail, and should.**",
    owner="handoff",
    timeout=5,
    links={"Source": "https://github.com/handoff-tests/handoff/tree/main/sdk/python/example"},
    labels={"kind": "example", "language": "python"},
)


@handoff.setup
def setup():
    """Gets what the tests share. Each test runs in a fresh instance: only values stay."""
    handoff.set_value("token", "open sesame", secret=True)


@test(tags=["smoke"])
def passes():
    """A docstring is what people read beside a test's name."""
    token = handoff.require_value("token")
    log.info("the token %s is masked wherever people could see it", token)
    assert len(token) == 11


@test
def fails():
    """A plain assertion shows its operands."""
    book = {"title": "Dune", "pages": 412}
    assert book["pages"] - 12 == 412, "pages are missing"


@test
def fails_by_an_exception():
    """Any exception is a failure. Its traceback is shown."""
    port = int("http")
    print(f"listening on {port}")


def staging() -> str:
    return handoff.param("staging") or handoff.skip("give the parameter `staging` to run this")


@test
def skips():
    """Skipping works in helpers as well."""
    print(f"staging is {staging()}")


@test(soft=True, name="fails softly")
def fails_softly():
    """Shown, but the run does not fail by it."""
    handoff.fail("known to be broken since spring")


@test(attempts=3)
def flaky():
    """Passes when it is tried again."""
    assert handoff.attempt() > 1, "the first attempt always fails"


@test(timeout=2)
async def slow():
    """A test may be `async`. Its spans are shown in the timeline."""
    with handoff.span("waiting", reason="to be slow"):
        await asyncio.gather(asyncio.sleep(0.3), asyncio.sleep(0.2))
    log.info("%.1f s left", handoff.remaining())


@test
def table():
    """Each row is a part with a result of its own."""
    for a, b, total in [(1, 1, 2), (2, 3, 5), (20, 22, 42)]:
        with handoff.part(f"{a} + {b}") as row:
            assert a + b == total
        assert row.passed


@test(cases={"small": (1, 1, 2), "big": (20, 22, 42)})
def adds(a: int, b: int, total: int):
    """The same as a test for each row: `adds[small]` and `adds[big]`."""
    assert a + b == total


@test(disabled="waits for the new office")
def makes_coffee():
    """Not run, and says why."""


@test(tags=["http"])
def asks_a_server():
    """Asks the server that the parameter `server` names, if the policy grants it."""
    server = handoff.param("server") or handoff.skip("give the parameter `server`, a URL")
    answer = http.get(f"{server}/echo", params={"q": "größe"}, timeout=2)
    answer.raise_for_status()
    handoff.attach_json("answer.json", answer.json())
    assert answer.json()["method"] == "GET"


@test(tags=["http"])
async def asks_it_many_things_at_once():
    """An `async` test may have several requests under way."""
    server = handoff.param("server") or handoff.skip("give the parameter `server`, a URL")
    answers = await asyncio.gather(*(aio.get(f"{server}/status/{200 + n}") for n in range(5)))
    assert [answer.status_code for answer in answers] == [200, 201, 202, 203, 204]
