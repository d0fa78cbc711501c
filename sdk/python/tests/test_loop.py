"""The event loop, with a host on which everything is ready at once."""

import asyncio
import contextlib
import unittest
from unittest import mock

from handoff import _loop, _wit


class Runs(unittest.TestCase):
    def setUp(self):
        self.polled = []
        poll, clock = mock.Mock(), mock.Mock()
        poll.poll.side_effect = self.poll
        clock.subscribe_duration.side_effect = lambda _: contextlib.nullcontext("timer")
        for name, value in [("poll", poll), ("monotonic_clock", clock)]:
            patched = mock.patch.object(_wit, name, value)
            patched.start()
            self.addCleanup(patched.stop)

    def poll(self, pollables):
        self.polled.append(pollables)
        return [index for index, pollable in enumerate(pollables) if pollable != "never"]

    def run_it(self, coroutine):
        with asyncio.Runner(loop_factory=_loop.Loop) as runner:
            return runner.run(coroutine)

    def test_timers_and_tasks_work(self):
        async def both():
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0.001))
                return await asyncio.sleep(0.001, "slept")

        self.assertEqual(self.run_it(both()), "slept")

    def test_it_waits_for_several_things_at_once(self):
        async def wait():
            loop = asyncio.get_running_loop()
            await asyncio.gather(loop.wait(["a"]), loop.wait(["b", "never"]))

        self.run_it(wait())
        self.assertIn(["a", "b", "never"], [polled[:3] for polled in self.polled])

    def test_what_was_given_up_is_polled_no_more(self):
        async def give_up():
            with self.assertRaises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await asyncio.get_running_loop().wait(["never"])
            self.polled.clear()
            await asyncio.sleep(0.001)

        self.run_it(give_up())
        self.assertNotIn("never", [pollable for polled in self.polled for pollable in polled])

    def test_waiting_for_nothing_is_an_error(self):
        async def stuck():
            await asyncio.get_running_loop().create_future()

        with self.assertRaisesRegex(RuntimeError, "never happen"):
            self.run_it(stuck())


if __name__ == "__main__":
    unittest.main()
