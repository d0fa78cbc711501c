"""What the decorators make of a suite, and what they refuse."""

import unittest
from datetime import timedelta
from unittest import mock

from handoff import _registry
from handoff._registry import Registry, SuiteError, milliseconds


class Registered(unittest.TestCase):
    def setUp(self):
        self.registry = Registry(main=__name__)
        patched = mock.patch.object(_registry, "registry", self.registry)
        patched.start()
        self.addCleanup(patched.stop)

    def names(self):
        return list(self.registry.cases)

    def test_a_test_is_called_by_its_function_or_by_its_own_name(self):
        @_registry.test
        def b():
            pass

        @_registry.test(name="größe ✓")
        def a():
            """Its description.

            Of more lines.
            """

        self.assertEqual(self.names(), ["b", "größe ✓"])
        description = self.registry.cases["größe ✓"].description
        self.assertEqual(description, "Its description.\n\nOf more lines.")

    def test_a_test_of_another_module_is_called_by_both(self):
        for module, name in [("suite", "t"), ("suite.login", "login.t"), ("other", "other.t")]:
            self.registry.main = "suite"

            def t():
                pass

            t.__module__ = module
            _registry.test(t)
            self.assertEqual(self.names()[-1], name)

    def test_a_decorated_function_can_still_be_called(self):
        @_registry.test(tags=["a"])
        def one():
            return 1

        self.assertEqual(one(), 1)

    def test_cases_make_a_test_each(self):
        seen = []

        @_registry.test(cases={"pair": (1, 2), "one": 3})
        def adds(a, b=0):
            seen.append((a, b))

        self.assertEqual(self.names(), ["adds[pair]", "adds[one]"])
        for case in self.registry.cases.values():
            case.run()
        self.assertEqual(seen, [(1, 2), (3, 0)])

    def refuses(self, expected, register):
        with self.assertRaises(SuiteError) as caught:
            register()
        self.assertIn(expected, str(caught.exception))

    def test_two_tests_of_one_name_are_refused(self):
        _registry.test(name="a")(lambda: None)
        self.refuses("two tests are called 'a'", lambda: _registry.test(name="a")(lambda: None))

    def test_a_test_with_parameters_is_refused(self):
        self.refuses("missing a required", lambda: _registry.test(lambda _: None))
        self.refuses("too many", lambda: _registry.test(cases={"a": (1, 2)})(lambda _: None))

    def test_tags_that_are_one_text_are_refused(self):
        self.refuses("tags=['smoke']", lambda: _registry.test(tags="smoke")(lambda: None))

    def test_a_suite_needs_tests_and_one_name(self):
        self.refuses("handoff.suite(…)", self.registry.check)
        _registry.suite("a")
        self.refuses("@handoff.test", self.registry.check)
        _registry.test(name="a")(lambda: None)
        self.registry.check()
        _registry.suite("b")
        self.refuses("once, not 2 times", self.registry.check)

    def test_two_setups_are_refused(self):
        _registry.suite("a")
        _registry.test(name="a")(lambda: None)
        _registry.setup(lambda: None)
        _registry.setup(lambda: None)
        self.refuses("more than one setup, in", self.registry.check)


class Durations(unittest.TestCase):
    def test_they_are_seconds_or_timedeltas(self):
        for duration, expected in [
            (2, 2000),
            (0.3, 300),
            (0.0001, 1),
            (timedelta(minutes=1), 60_000),
        ]:
            self.assertEqual(milliseconds(duration), expected)

    def test_others_are_refused(self):
        for duration in [0, -1, "5s", True, None, float("nan")]:
            with self.assertRaises(SuiteError):
                milliseconds(duration)


if __name__ == "__main__":
    unittest.main()
