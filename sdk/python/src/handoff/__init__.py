"""Write a Handoff test suite in Python: functions with a decorator, and plain `assert`.

```python
import handoff
from handoff import http, test

handoff.suite("hello", timeout=5)

@test
def adds():
    '''One and one are two.'''
    assert 1 + 1 == 2

@test(attempts=3, tags=["smoke"])
def answers():
    shop = handoff.require_param("shop")
    answer = http.get(f"{shop}/healthz", timeout=2)
    assert answer.status_code == 200
```

- `suite` names the suite, `test` makes a function a test, `setup` and `teardown` run before and
  after.
- A test fails by an exception, so every assertion library works; it skips by `skip`. Both work in
  helpers.
- `param`, `set_value`, `attach`, `part`, `span` and so on are what the running test can ask of the
  server. `http` sends requests; `log` logs, and so does Python's own `logging`.

`python -m handoff.build suite.py` makes the component. Each attempt at a test runs in a fresh
instance: nothing that a test leaves in memory or in `/tmp` is there in the next one. Use
`set_value` for what must be.
"""

from handoff import http
from handoff._context import (
    Part,
    Span,
    attach,
    attach_json,
    attempt,
    cleanup,
    extend_deadline,
    get_json,
    get_value,
    mark_soft,
    param,
    params,
    part,
    remaining,
    report_failure,
    require_param,
    require_value,
    set_json,
    set_value,
    span,
)
from handoff._log import TRACE, log
from handoff._outcome import Refusal, Skip, fail, skip
from handoff._registry import SuiteError, setup, suite, teardown, test

__all__ = [
    "TRACE",
    "Part",
    "Refusal",
    "Skip",
    "Span",
    "SuiteError",
    "attach",
    "attach_json",
    "attempt",
    "cleanup",
    "extend_deadline",
    "fail",
    "get_json",
    "get_value",
    "http",
    "log",
    "mark_soft",
    "param",
    "params",
    "part",
    "remaining",
    "report_failure",
    "require_param",
    "require_value",
    "set_json",
    "set_value",
    "setup",
    "skip",
    "span",
    "suite",
    "teardown",
    "test",
]
