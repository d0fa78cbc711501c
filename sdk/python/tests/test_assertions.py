"""What a failed assertion says."""

import ast
import asyncio
import textwrap
import traceback
import unittest

from handoff import _explain, _rewrite


def run(source, **names):
    """What the source's assertion says, or nothing if it holds."""
    code = compile(_rewrite.rewritten(ast.parse(textwrap.dedent(source))), "suite.py", "exec")
    module = {"@handoff": _explain, **names}
    try:
        exec(code, module)
    except AssertionError as error:
        return str(error)
    return None


class Explanations(unittest.TestCase):
    def says(self, source, expected, **names):
        self.assertEqual(run(source, **names), textwrap.dedent(expected).strip())

    def test_operands_are_shown(self):
        self.says("assert 1 + 1 == 3", "assert 2 == 3\n +  where 2 = 1 + 1")
        self.says("assert x == 3", "assert 4 == 3\n +  where 4 = x", x=4)
        self.says("assert not x", "assert not [1]\n +  where [1] = x", x=[1])

    def test_the_message_comes_first(self):
        self.says("assert x, f'no {1 + 1}'", "no 2\nassert 0\n +  where 0 = x", x=0)
        self.says("assert False, 'never'", "never")
        self.says("assert False", "assert False")

    def test_what_led_to_a_value_is_shown_below_it(self):
        self.says(
            "assert answer.items()[0] == len(text)",
            """
            assert 7 == 2
             +  where 7 = answer.items()[0]
             +    where [7] = answer.items()
             +      where Answer = answer
             +  and   2 = len(text)
             +    where 'ab' = text
            """,
            answer=type("Answer", (), {"items": lambda _: [7], "__repr__": lambda _: "Answer"})(),
            text="ab",
        )

    def test_what_was_not_evaluated_is_shown_as_it_is_written(self):
        self.says("assert a and b == 1", "assert (0 and b == 1)\n +  where 0 = a", a=0, b=2)
        self.says(
            "assert a < b < c",
            "assert 2 < 1 < c\n +  where 2 = a\n +  and   1 = b",
            a=2,
            b=1,
            c=0,
        )

    def test_classes_and_functions_are_not_explained(self):
        self.says(
            "assert isinstance(x, int)",
            "assert False\n +  where False = isinstance(x, int)\n +    where 'a' = x",
            x="a",
        )

    def test_an_expression_is_evaluated_once(self):
        calls = []
        run("assert f() == 3", f=lambda: calls.append(1))
        self.assertEqual(calls, [1])

    def test_what_holds_says_nothing(self):
        for source in [
            "assert 1 < 2 < 3 and not [] or x",
            "assert (lambda: 1)() == 1",
            "assert all(n for n in [1, 2])",
            "assert [n for n in [1]] == [1]",
            "assert max(*[1, 2], key=lambda n: -n) == 1",
            "assert {'a': 1}['a'] == 1 and [1, 2][0:1] == [1]",
            "assert (n := 3) and n == 3",
            "assert (1 if 1 else no)",
            "class A:\n  assert 1 + 1 == 2",
            "def f(n):\n  assert n == 1, 'why'\n  yield n\nassert list(f(1)) == [1]",
            "assert f'{1 + 1}' == '2'",
            "assert -1 + 2 == 1",
        ]:
            self.assertIsNone(run(source), source)

    def test_awaiting_works(self):
        source = """
            async def two(): return 2
            async def f(): assert await two() == 3
        """
        module = {"@handoff": _explain}
        tree = _rewrite.rewritten(ast.parse(textwrap.dedent(source)))
        exec(compile(tree, "suite.py", "exec"), module)
        with self.assertRaises(AssertionError) as caught:
            asyncio.run(module["f"]())
        self.assertEqual(str(caught.exception), "assert 2 == 3\n +  where 2 = await two()")

    def test_an_assertion_may_be_made_of_several_lines_and_keeps_its_line(self):
        source = "x = 1\n\nassert (\n    x\n    == 2\n), 'why'\n"
        code = compile(_rewrite.rewritten(ast.parse(source)), "suite.py", "exec")
        try:
            exec(code, {"@handoff": _explain})
        except AssertionError as error:
            self.assertEqual(traceback.extract_tb(error.__traceback__)[-1].lineno, 3)
        else:
            self.fail("it holds")

    def test_an_error_in_an_expression_is_at_its_own_line(self):
        source = "assert (\n    1 ==\n    len(3)\n)\n"
        code = compile(_rewrite.rewritten(ast.parse(source)), "suite.py", "exec")
        try:
            exec(code, {"@handoff": _explain})
        except TypeError as error:
            self.assertEqual(traceback.extract_tb(error.__traceback__)[-1].lineno, 3)

    def test_values_that_misbehave_are_shown_as_such(self):
        class Bad:
            def __repr__(self):
                raise ValueError

            def __eq__(self, other):
                return False

        self.says(
            "assert x == 1",
            "assert <Bad, whose repr raises ValueError> == 1\n"
            " +  where <Bad, whose repr raises ValueError> = x",
            x=Bad(),
        )

    def test_long_values_are_cut(self):
        said = run("assert x == 1", x="y" * 10_000)
        self.assertLess(len(said), 600)
        self.assertIn("yyy...yyy", said)


class Differences(unittest.TestCase):
    def differ(self, left, right, *expected):
        self.assertEqual(_explain.difference(left, right), [f" {line}" for line in expected])

    def test_of_sequences(self):
        self.differ([1, 2, 3], [1, 5, 3], "[1] differs: 2 != 5")
        self.differ([1], [1, 2], "the left has 1 items, the right 2")

    def test_of_dictionaries(self):
        self.differ(
            {"a": 1, "b": 2, "c": 3},
            {"a": 1, "b": 4, "d": 5},
            "['b'] differs: 2 != 4",
            "only on the left: 'c': 3",
            "only on the right: 'd': 5",
        )

    def test_of_sets(self):
        self.differ({1, 2}, {2, 3}, "only on the left: 1", "only on the right: 3")

    def test_of_texts(self):
        self.differ("a", "b")
        self.differ(
            "same\nmine\n",
            "same\nyours\n",
            "the lines with - are on the right only, those with + on the left only:",
            "- yours",
            "+ mine",
        )

    def test_others_have_none(self):
        self.differ(1, 2)

    def test_they_are_bounded(self):
        lines = _explain.difference(dict.fromkeys(range(1000)), {})
        self.assertEqual(len(lines), _explain.MAX_LINES + 1)
        self.assertEqual(lines[-1], " ... and 960 lines more")


if __name__ == "__main__":
    unittest.main()
