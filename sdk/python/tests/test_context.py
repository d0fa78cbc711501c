"""What the running test can ask for, with a host that is made up."""

import unittest
from types import SimpleNamespace
from unittest import mock

import handoff
from handoff import _wit


class Err(Exception):
    def __init__(self, value):
        super().__init__()
        self.value = value


def vocabulary():
    return SimpleNamespace(
        Attribute=lambda key, value: (key, value),
        Failure=lambda message, _: message.splitlines()[0],
        Location=lambda *place: place,
        Outcome_Passed=lambda: "passed",
        Outcome_Failed=lambda failure: f"failed: {failure}",
        Outcome_Skipped=lambda reason: f"skipped: {reason}",
    )


class WithoutHost(unittest.TestCase):
    def test_what_needs_it_says_so(self):
        for call in [
            handoff.attempt,
            lambda: handoff.param("a"),
            lambda: handoff.set_value("a", "b"),
            lambda: handoff.span("a"),
            lambda: handoff.http.get("http://127.0.0.1:1/"),
        ]:
            with self.assertRaisesRegex(RuntimeError, "only while a test runs"):
                call()


class WithHost(unittest.TestCase):
    def setUp(self):
        self.host = mock.Mock()
        self.values = {}
        self.host.get_value.side_effect = self.values.get
        self.host.set_value.side_effect = lambda name, value, _: self.values.update({name: value})
        for name, value in [("context", self.host), ("vocabulary", vocabulary()), ("Err", Err)]:
            patched = mock.patch.object(_wit, name, value)
            patched.start()
            self.addCleanup(patched.stop)

    def test_values_are_texts_or_json(self):
        handoff.set_value("text", "ü")
        handoff.set_json("list", [1, "ü"], secret=True)
        self.host.set_value.assert_called_with("list", '[1, "ü"]', True)
        self.assertEqual(handoff.get_value("text"), "ü")
        self.assertEqual(handoff.get_json("list"), [1, "ü"])
        self.assertIsNone(handoff.get_value("missing"))
        with self.assertRaisesRegex(LookupError, "nothing in this run has set"):
            handoff.require_value("missing")
        with self.assertRaisesRegex(TypeError, "set_json"):
            handoff.set_value("number", 1)

    def test_a_refusal_names_its_rule(self):
        refusal = SimpleNamespace(rule="artifact_bytes", message="too big")
        self.host.attach.side_effect = Err(refusal)
        with self.assertRaises(handoff.Refusal) as caught:
            handoff.attach("a.txt", "text")
        self.assertEqual(caught.exception.rule, "artifact_bytes")
        self.assertEqual(str(caught.exception), "too big")

    def test_files_have_their_types(self):
        for content, media_type, expected in [
            ("ü", None, ("text/plain", "ü".encode())),
            (b"a", None, ("application/octet-stream", b"a")),
            (b"a", "image/png", ("image/png", b"a")),
        ]:
            handoff.attach("name", content, media_type)
            self.host.attach.assert_called_with("name", *expected)

    def test_a_part_keeps_its_failure_to_itself(self):
        outcomes = []
        self.host.report_sub_result.side_effect = lambda _, outcome, __: outcomes.append(outcome)
        with handoff.part("a") as a:
            pass
        with handoff.part("b") as b:
            handoff.fail("why")
        with handoff.part("c") as c:
            handoff.skip("why")
        self.assertEqual(outcomes, ["passed", "failed: AssertionError: why", "skipped: why"])
        self.assertEqual([a.passed, b.passed, c.passed], [True, False, True])

    def test_a_part_does_not_keep_an_exit(self):
        with self.assertRaises(SystemExit), handoff.part("a"):
            raise SystemExit(3)
        self.host.report_sub_result.assert_called_once()

    def test_a_failure_is_reported_with_its_place(self):
        reported = []
        with mock.patch.object(
            _wit.vocabulary, "Failure", lambda *failure: reported.append(failure)
        ):
            handoff.report_failure("why")
        ((message, (file, line, _)),) = reported
        self.assertEqual((message, file), ("why", __file__))
        self.assertGreater(line, 0)


if __name__ == "__main__":
    unittest.main()
