"""What every SDK can do, in Python. The table is in sdk/CONFORMANCE.md."""

import json
import logging
import os
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import handoff
from handoff import http, log, test

handoff.suite(
    "conformance",
    namespace="python",
    description="What every SDK can do",
    owner="handoff",
    links={"Source": "https://example.test/source"},
    labels={"language": "python"},
    timeout=5,
    attempts=1,
    wants_http=["http://127.0.0.1:1"],
)


@handoff.setup
def setup():
    log.info("SETUP LINE")
    handoff.set_value("from_setup", "set in setup ✓")
    handoff.set_value("secret_token", "open-sesame-größe", secret=True)


@handoff.teardown
def teardown():
    log.info("TEARDOWN LINE %s", handoff.get_value("from_test"))


@test(tags=["smoke", "pass"])
def passes():
    """Passes, **always**."""


@test(name="größe ✓ 日本")
def has_a_name_of_its_own():
    pass


@test
def fails_by_assertion():
    assert [] == [1], "ASSERTION ON PURPOSE"


@test
def fails_with_operands():
    assert 1 + 1 == 3


@test
def fails_by_error():
    raise ValueError("ERROR ON PURPOSE")


@test
def fails_deep():
    def first():
        second()

    def second():
        third()

    def third():
        raise ValueError("DEEP ON PURPOSE")

    first()


@test
def reports_a_failure_and_goes_on():
    handoff.report_failure("REPORTED ON PURPOSE")
    log.info("AFTER THE REPORT")


@test
def skips():
    handoff.skip("SKIPPED ON PURPOSE")


def token():
    handoff.skip("HELPER SKIPPED")


@test
def skips_in_a_helper():
    print(token())


@test(soft=True)
def fails_softly():
    handoff.fail("SOFT ON PURPOSE")


@test
def marks_itself_soft():
    handoff.mark_soft()
    handoff.fail("MARKED SOFT")


@test(disabled="DISABLED ON PURPOSE")
def disabled():
    handoff.fail("this was run")


@test
def exits_with_3():
    print("EXITING")
    sys.exit(3)


@test
def exits_with_0():
    sys.exit(0)


@test
def traps():
    print("ABOUT TO TRAP")
    os.abort()


@test
def overflows_the_stack():
    def call(depth):
        return call(depth + 1) + 1

    call(0)


@test(attempts=3)
def flaky():
    assert handoff.attempt() > 1, "FLAKY ON PURPOSE"


@test(attempts=3)
def fails_every_time():
    handoff.fail(f"FAILED ATTEMPT {handoff.attempt()}")


@test
def log_levels():
    log.trace("LEVEL TRACE")
    log.debug("LEVEL DEBUG")
    log.info("LEVEL INFO")
    # Python's own logging goes the same way.
    logging.getLogger("other").warning("LEVEL WARN")
    logging.error("LEVEL ERROR")


@test
def keeps_the_order_of_output():
    print("ONE")
    print("TWO", file=sys.stderr)
    log.info("THREE")
    print("FOUR")


@test
def ends_output_without_newline():
    print("NO NEWLINE", end="")


@test
def fails_after_output_without_newline():
    print("LAST WORDS", end="")
    handoff.fail("AFTER LAST WORDS")


@test
def writes_unicode():
    print("größe 日本 🦀")


@test
def writes_much():
    for number in range(10_000):
        print(f"line {number}")


@test
def knows_its_attempt():
    assert handoff.attempt() == 1


@test(timeout=2)
def extends_its_deadline():
    assert 0 < handoff.remaining() <= 2
    assert handoff.extend_deadline(3) > 2
    assert handoff.remaining() > 2


@test
def has_parts():
    with handoff.part("passing part") as passing:
        assert 1 + 1 == 2
    with handoff.part("failing part") as failing:
        handoff.fail("PART ON PURPOSE")
    with handoff.part("skipped part") as skipped:
        handoff.skip("PART SKIPPED")
    assert passing.passed and skipped.passed and not failing.passed


@test
def sets_values():
    handoff.set_value("from_test", "größe ✓")
    handoff.set_value("big", "x" * 60_000)


@test
def gets_values():
    assert handoff.require_value("from_setup") == "set in setup ✓"
    assert handoff.require_value("from_test") == "größe ✓"
    assert len(handoff.require_value("big")) == 60_000
    assert handoff.get_value("missing") is None


@test
def masks_secrets():
    secret = handoff.require_value("secret_token")
    assert secret == "open-sesame-größe"
    print(f"the secret is {secret}")


@test
def attaches():
    handoff.attach("note.txt", "ATTACHED ✓")
    handoff.attach("bytes.bin", bytes(range(256)))


@test
def hears_a_refusal():
    try:
        handoff.attach("big.bin", bytes(2_097_152))
    except handoff.Refusal as refusal:
        assert refusal.rule == "artifact_bytes"
    else:
        handoff.fail("it was accepted")


@test
def has_spans():
    with handoff.span("outer", key="value"), handoff.span("inner"):
        pass


@test
def reads_parameters():
    assert handoff.param("greeting") == "hello ✓"
    assert handoff.param("region") == "test"
    assert handoff.param("missing") is None


@test
def reads_the_environment():
    assert os.environ["GREETING"] == "from the policy"


@test
def has_clocks_and_random():
    before = time.monotonic()
    assert time.monotonic() >= before
    assert datetime.now(UTC).year >= 2026
    assert os.urandom(16) != os.urandom(16)


@test
def has_a_scratch_directory():
    assert os.listdir("/tmp") == []
    with open("/tmp/a.txt", "w") as file:
        file.write("written")
    with open("/tmp/a.txt") as file:
        assert file.read() == "written"
    try:
        os.close(os.open("/elsewhere", os.O_CREAT | os.O_WRONLY))
    except OSError as error:
        print(error)
    else:
        handoff.fail("it could be written")


@test
def sleeps():
    before = time.monotonic()
    time.sleep(0.05)
    assert time.monotonic() - before >= 0.05


@test
def gets_over_http():
    server = handoff.require_param("server")
    answer = http.get(f"{server}/echo", params={"q": "größe"})
    assert answer.status_code == 200
    assert answer.json()["method"] == "GET"
    assert answer.json()["path"] == "/echo?q=gr%C3%B6%C3%9Fe"


@test
def posts_json():
    server = handoff.require_param("server")
    sent = {"name": "größe"}
    answer = http.post(f"{server}/echo", json=sent, headers={"x-conformance": "yes"})
    echo = answer.json()
    assert json.loads(echo["body"]) == sent
    assert echo["headers"]["content-type"] == "application/json"
    assert echo["headers"]["x-conformance"] == "yes"


@test
def sees_a_status():
    answer = http.get(f"{handoff.require_param('server')}/status/404")
    assert answer.status_code == 404


@test
def hears_a_denial():
    try:
        http.get("http://127.0.0.1:1/")
    except http.Denied as error:
        assert "denied" in str(error)
    else:
        handoff.fail("it was allowed")


@test
def gives_up_waiting():
    started = time.monotonic()
    try:
        http.get(f"{handoff.require_param('server')}/never", timeout=0.2)
    except http.Timeout as error:
        print(error)
    else:
        handoff.fail("there was an answer")
    assert time.monotonic() - started >= 0.2


@test
def gets_a_big_body():
    answer = http.get(f"{handoff.require_param('server')}/bytes/1048576")
    assert len(answer.content) == 1_048_576


@test(timeout=0.3)
def loops():
    number = 0
    while True:
        number += 1


@test(timeout=0.3)
def sleeps_too_long():
    time.sleep(3600)


@test
def allocates():
    kept = []
    while True:
        kept.append(bytearray(1024 * 1024))


@test
def cleans_up_in_order():
    handoff.cleanup(print, "CLEANUP 1")
    handoff.cleanup(print, "CLEANUP 2")
    print("BODY")


@test
def cleans_up_after_a_failure():
    handoff.cleanup(print, "CLEANED UP")
    handoff.fail("BEFORE CLEANUP")


counter = 0


def be_alone():
    global counter
    assert counter == 0
    assert not os.path.exists("/tmp/alone")
    counter += 1
    with open("/tmp/alone", "w") as file:
        file.write("here")


test(name="is_alone_1")(be_alone)
test(name="is_alone_2")(be_alone)


def nothing():
    pass


for number in range(200):
    test(name=f"many_{number:03}")(nothing)


# What it costs to meter a suite is measured with these.


def rounds():
    return range(int(handoff.param("rounds") or 1))


def numbers():
    x = 1
    for _ in range(20_000):
        yield x
        x = x * 16_807 % 2_147_483_647


def shell_sort(numbers):
    gap = len(numbers) // 2
    while gap > 0:
        for at in range(gap, len(numbers)):
            number, to = numbers[at], at
            while to >= gap and numbers[to - gap] > number:
                numbers[to] = numbers[to - gap]
                to -= gap
            numbers[to] = number
        gap //= 2


@test
def sorts():
    for _ in rounds():
        to_sort = list(numbers())
        shell_sort(to_sort)
        assert to_sort == sorted(to_sort)


@test
def writes_and_reads_json():
    for _ in rounds():
        books = [
            {"id": i, "name": f"book {i}", "price": i / 4, "sold": i % 2 == 1, "tags": ["a", "b"]}
            for i in range(2_000)
        ]
        read = json.loads(json.dumps(books))
        assert sum(book["id"] for book in read) == 1_999_000


# What is there to hit when the policy sets limits low.


@contextmanager
def refused_by(rule):
    try:
        yield
    except handoff.Refusal as refusal:
        assert refusal.rule == rule
    else:
        handoff.fail("it was accepted")


@test(tags=["limits"], timeout=60)
def limit_fuel():
    number = 0
    while True:
        number += 1


@test(tags=["limits"])
def limit_log():
    print("FIRST LINE")
    for number in range(1_000):
        print(f"line {number}")
    print("LAST LINE")


@test(tags=["limits"])
def limit_log_line():
    print("x" * 2_000)


@test(tags=["limits"])
def limit_message():
    handoff.fail(f"LONG MESSAGE {'x' * 2_000}")


@test(tags=["limits"])
def limit_failures():
    for number in range(10):
        handoff.report_failure(f"FAILURE {number}")


@test(tags=["limits"])
def limit_value():
    with refused_by("value_bytes"):
        handoff.set_value("long", "x" * 2_000)


@test(tags=["limits"])
def limit_values():
    with refused_by("values"):
        for number in range(10):
            handoff.set_value(f"value {number}", "x")


@test(tags=["limits"])
def limit_artifacts():
    with refused_by("artifacts"):
        for _ in range(10):
            handoff.attach("x.txt", "x")


@test(tags=["limits"])
def limit_spans():
    for number in range(10):
        with handoff.span(f"span {number}"):
            pass


@test(tags=["limits"])
def limit_parts():
    for number in range(10):
        with handoff.part(f"part {number}"):
            pass


@test(tags=["limits"])
def limit_requests():
    try:
        for _ in range(10):
            http.get(f"{handoff.require_param('server')}/status/204")
    except http.Denied as error:
        print(error)
    else:
        handoff.fail("all were answered")


@test(tags=["limits"])
def limit_received():
    try:
        http.get(f"{handoff.require_param('server')}/bytes/1048576")
    except http.Denied as error:
        print(error)
    else:
        handoff.fail("it was received")


@test(tags=["limits"])
def limit_random():
    os.urandom(1_000_000)


@test(tags=["limits"])
def limit_scratch():
    try:
        with open("/tmp/full", "wb") as file:
            file.write(bytes(200_000))
    except OSError as error:
        print(error)
    else:
        handoff.fail("it was written")


@test(tags=["limits"])
def limit_extension():
    assert 5 < handoff.extend_deadline(600) <= 60
