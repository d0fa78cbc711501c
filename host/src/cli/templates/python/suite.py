"""The suite `{{name}}`."""

import handoff
from handoff import http, test

handoff.suite(
    "{{name}}",
    description="What it tests, in Markdown.",
    timeout=10,
    # What it would like to reach. People see it; the suite's policy grants it.
    wants_http=["http://127.0.0.1:8080"],
)


@test
def counts():
    """A plain assertion shows its operands. This text is the test's description."""
    assert len("hello") == 5


@test(attempts=2, tags=["smoke"])
def is_healthy():
    """Asks the tested system, which the parameter `target` names."""
    target = handoff.param("target") or handoff.skip("give the parameter `target`, a base URL")
    answer = http.get(f"{target}/healthz", timeout=5)
    assert answer.status_code == 200
    print(answer.text)


@test(disabled="an example")
def creates_a_book():
    """JSON in and out. Replace it by something of yours."""
    target = handoff.require_param("target")
    answer = http.post(f"{target}/books", json={"title": "Dune"})
    answer.raise_for_status()
    assert answer.json()["title"] == "Dune"
