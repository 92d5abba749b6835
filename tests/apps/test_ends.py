"""Ends by force: what is said, the exit code, and that neither processes nor temporary folders are left."""
import os
import signal
import socket
import unittest

from support import Case, Program, alive, processes_below, run, wait_until


class Ends(Case):
    def setUp(self):
        super().setUp()
        self.temporary = self.path("tmp")
        os.mkdir(self.temporary)
        self.env = {"TMPDIR": self.temporary}
        self.notes = self.path("notes")

    def left(self):
        return os.listdir(self.temporary)

    def lines(self):
        if not os.path.exists(self.notes):
            return 0
        with open(self.notes) as f:
            return len(f.readlines())

    def busy(self, *options):
        """A run in the middle of tasks that do not look whether they should stop; and all of its processes."""
        program = Program("run", "test_scenarios", *options, "--", "busy", "2", self.notes, env=self.env)
        self.addCleanup(program.close)
        self.addCleanup(program.process.wait)
        self.addCleanup(program.kill)
        wait_until("two tasks", lambda: self.lines() == 2)
        self.assertEqual(len(self.left()), 1)
        return program, [program.pid] + [pid for pid, _ in processes_below(program.pid)]

    def open_gates(self):
        for i in range(2):
            self.write(f"notes.{i}", "")

    def test_a_second_ctrl_c_ends_at_once_and_leaves_nothing(self):
        for options in ([], ["--nodes", "2"]):
            with self.subTest(options):
                program, pids = self.busy(*options)
                program.kill(signal.SIGINT)
                program.wait_for("interrupted; cancelling")
                program.kill(signal.SIGINT)
                self.assertEqual(program.process.wait(timeout=60), 130)
                self.assertEqual(self.left(), [])
                wait_until("no process is left", lambda: not any(alive(pid) for pid in pids), 30)
                self.assertEqual(self.left(), [])
                os.remove(self.notes)

    def test_ctrl_c_while_the_coordinator_does_not_answer(self):
        secret = self.path("cluster.secret")
        self.good(run("secret", "new", secret))
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            program = Program("submit", "pi", "--cluster", address, "--secret", secret)
            connection, _ = silent.accept()
            with connection:
                program.kill(signal.SIGINT)
                self.assertEqual(program.process.wait(timeout=60), 130)
                program.wait_for("interrupted while it was connecting")
                program.close()

    def test_what_a_killed_run_leaves_is_swept_up_by_the_next_and_what_runs_is_left_alone(self):
        killed, pids = self.busy("--nodes", "1")
        killed.kill()
        killed.process.wait()
        wait_until("no process is left", lambda: not any(alive(pid) for pid in pids), 30)
        os.remove(self.notes)
        self.assertEqual(len(self.left()), 1)
        old = self.left()
        os.mkdir(os.path.join(self.temporary, "hydrogen-abcdef"))  # of somebody else
        self.good(run("run", "pi", "--", "--samples", "10", env=self.env))
        self.assertEqual(self.left(), ["hydrogen-abcdef"])
        os.rmdir(os.path.join(self.temporary, "hydrogen-abcdef"))

        living, _ = self.busy()
        mine = self.left()
        self.assertNotEqual(mine, old)
        self.good(run("run", "pi", "--", "--samples", "10", env=self.env))
        self.assertEqual(self.left(), mine)
        self.open_gates()
        self.good(living.wait())
        self.assertEqual(self.left(), [])

    def test_user_code_that_hangs_ends_an_embedded_run_and_names_the_rank(self):
        result = run("run", "test_scenarios", "--hang-limit", "1", "--", "bad_rank", "hang", env=self.env)
        self.refused(result, 1, "barrier at scenarios.cpp", "rank 1: user code was told to stop", "does not return")
        self.assertNotIn("rank 0: user code", result.err)
        self.assertEqual(self.left(), [])

    def test_user_code_that_exits_leaves_nothing(self):
        result = run("run", "test_scenarios", "--", "bad_rank", "exit", env=self.env)
        self.refused(result, 1, "rank=1", "user code called exit()")
        self.assertEqual(self.left(), [])


if __name__ == "__main__":
    unittest.main()
