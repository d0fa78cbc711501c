"""What the host is told of an exception."""

import unittest
from unittest import mock

from handoff import _outcome, _rewrite

SOURCE = """\
def fails():
    assert 1 + 1 == 3

def raises():
    try:
        fails()
    except AssertionError:
        raise ValueError("words") from None

def calls(function):
    function()

def imports():
    import no_such_module
"""


def error(call):
    """What this raises, called from a suite's file."""
    module = {"@handoff": _rewrite._explain}
    exec(_rewrite.compiled(SOURCE.encode(), "checks/suite.py"), module)
    try:
        call(module)
    except Exception as raised:
        return raised
    raise RuntimeError("nothing was raised")


class Messages(unittest.TestCase):
    def setUp(self):
        patched = mock.patch.object(_rewrite, "own_files", set())
        patched.start()
        self.addCleanup(patched.stop)

    def test_an_assertion_is_followed_by_its_traceback(self):
        self.assertEqual(
            _outcome.message(error(lambda module: module["fails"]())),
            "assert 2 == 3\n"
            " +  where 2 = 1 + 1\n"
            "\n"
            "Traceback (most recent call last):\n"
            '  File "checks/suite.py", line 2, in fails\n'
            "    assert 1 + 1 == 3",
        )

    def test_an_exception_begins_with_its_kind(self):
        message = _outcome.message(error(lambda module: module["raises"]()))
        self.assertEqual(message.splitlines()[0], "ValueError: words")

    def test_the_place_is_the_innermost_in_the_suites_own_files(self):
        for call, expected in [
            (lambda module: module["fails"](), 2),
            (lambda module: module["calls"](lambda: int("x")), 11),
        ]:
            trace = error(call).__traceback__
            self.assertEqual(_outcome.location(trace), ("checks/suite.py", expected))

    def test_an_import_that_comes_too_late_says_so(self):
        with mock.patch.object(_outcome._wit, "running", True):
            message = _outcome.message(error(lambda module: module["imports"]()))
        self.assertIn("import at the top of a module", message)

    def test_an_error_of_syntax_begins_with_what_is_wrong(self):
        try:
            _rewrite.compiled(b"def x(:\n    pass\n", "suite.py")
        except SyntaxError as raised:
            self.assertEqual(
                _outcome.message(raised),
                "SyntaxError: invalid syntax (suite.py, line 1)\n"
                '  File "suite.py", line 1\n'
                "    def x(:\n"
                "          ^\n"
                "SyntaxError: invalid syntax",
            )

    def test_an_exception_that_cannot_be_shown_is_named(self):
        class Bad(Exception):
            def __str__(self):
                raise ValueError

        self.assertIn("Bad", _outcome.message(Bad()))


if __name__ == "__main__":
    unittest.main()
