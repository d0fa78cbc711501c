"""The build command, without building."""

import contextlib
import io
import os
import socket
import tempfile
import unittest
from pathlib import Path

from handoff import _entry, build


class Located(unittest.TestCase):
    def setUp(self):
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.place = Path(made.name).resolve()

    def test_a_suite_is_a_file_or_a_package(self):
        (self.place / "checks.py").touch()
        (self.place / "shop").mkdir()
        (self.place / "shop/__init__.py").touch()
        for name, expected in [("checks.py", "checks"), ("shop", "shop")]:
            self.assertEqual(build.located(self.place / name), (expected, self.place))

    def test_what_is_none_is_refused(self):
        (self.place / "plain").mkdir()
        for name in ["json.py", "handoff.py", "my-suite.py", "suite.txt"]:
            (self.place / name).touch()
        for name, words in [
            ("plain", "__init__.py"),
            ("absent.py", "no such .py file"),
            ("suite.txt", "no such .py file"),
            ("json.py", "Python's own"),
            ("handoff.py", "rename it"),
            ("my-suite.py", "rename it"),
        ]:
            with self.assertRaises(build.BuildError) as caught:
                build.located(self.place / name)
            self.assertIn(words, str(caught.exception))

    def test_the_command_says_why_it_failed(self):
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            self.assertEqual(build.main([str(self.place / "absent.py")]), 1)
        self.assertIn("no such .py file", errors.getvalue())


class Imports(unittest.TestCase):
    def test_there_are_no_sockets_while_a_suite_is_imported(self):
        with _entry._no_sockets():
            with self.assertRaises(OSError):
                socket.socket()
            with self.assertRaises(OSError):
                socket.getaddrinfo("localhost", 80)
        socket.socket().close()


class Surroundings(unittest.TestCase):
    def test_the_wit_is_part_of_the_package(self):
        self.assertTrue((build.WIT / "world.wit").is_file())

    def test_the_standard_library_is_left_to_the_component(self):
        paths = build.import_paths()
        self.assertNotIn(os.path.dirname(os.__file__), paths)

    def test_the_words_of_a_failed_import_are_found(self):
        output = f"noise\n{_entry.BEGIN}SyntaxError: invalid\n  line{_entry.END}\nmore noise"
        self.assertEqual(build.told(output), "SyntaxError: invalid\n  line")
        self.assertEqual(build.told("other\n"), "other")


if __name__ == "__main__":
    unittest.main()
