"""Clusters of node processes from the files in config/: the same results, also when processes are killed."""
import json
import os
import re
import signal
import subprocess
import time
import unittest

from support import LIBRARIES, SOURCE, Case, Program, alive, free_port, processes_below, run, wait_until

# Long enough to be killed in the middle, with a checkpoint every 20 steps.
LONG = ["--", "--steps", "200", "--rows-repeat", "40", "--checkpoint-every", "20"]


class Cluster(Case):
    """A coordinator and workers, each started from the file that is shipped, with another port."""

    env = {}  # of all of them

    def start(self, workers=2, slots=4, expected=None):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.secret = self.path("cluster.secret")
        self.good(run("secret", "new", self.secret))
        self.config("coordinator", expected_nodes=expected or workers)
        self.config("worker", slots=slots)
        self.nodes = {}
        self.addCleanup(self.stop)
        self.node("coordinator")
        for i in range(workers):
            self.node(f"worker-{i + 1}")
        self.wait_for_nodes(workers)

    def config(self, name, expected_nodes=1, slots=4):
        with open(os.path.join(SOURCE, "config", name + ".toml")) as f:
            text = f.read()
        text = text.replace("127.0.0.1:7410", self.address)
        text = re.sub(r"^expected_nodes = \d+", f"expected_nodes = {expected_nodes}", text, flags=re.MULTILINE)
        text = re.sub(r"^slots = \d+", f"slots = {slots}", text, flags=re.MULTILINE)
        self.write(name + ".toml", text)

    def node(self, name):
        file = "coordinator" if name == "coordinator" else "worker"
        if name in self.nodes:
            self.nodes[name].close()
        self.nodes[name] = Program("node", "--config", self.path(file + ".toml"), "--name", name, env=self.env)

    def stop(self):
        for node in self.nodes.values():
            node.kill(signal.SIGTERM)
        for node in self.nodes.values():
            try:
                node.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                node.kill()
                node.process.wait()
            node.close()

    def status(self):
        result = run("status", "--json", "--cluster", self.address, "--secret", self.secret)
        return json.loads(result.out) if result.code == 0 else None

    def wait_for_nodes(self, n):
        def there():
            status = self.status()
            return status and sum(node["state"] == "ready" for node in status["nodes"]) == n

        wait_until(f"{n} nodes are ready", there, 60)

    def submit_args(self, application, *args):
        return ["submit", application, "--cluster", self.address, "--secret", self.secret, *args]

    def submit(self, application, *args):
        return run(*self.submit_args(application, *args))

    def executors(self):
        """(node name, pid) of executor processes that are at work or spare."""
        return [(name, pid) for name, node in self.nodes.items() for pid, command in processes_below(node.pid) if " executor " in command]

    def all_slots_free(self):
        status = self.status()
        return status and not status["requests"] and all(n["slots"] == n["free"] for n in status["nodes"])

    def no_checkpoints_left(self):
        folder = self.path("data/storage")
        return not os.path.exists(folder) or not os.listdir(folder)

    def trained_steps(self):
        """(from, to, attempt) of each start of the gang, and the steps that were checkpointed, in the logs of all nodes."""
        text = "\n".join(node.log() for node in self.nodes.values())
        starts = [tuple(map(int, m)) for m in re.findall(r"digits: trains steps (\d+) to (\d+) in attempt (\d+)", text)]
        done = [int(n) for n in re.findall(r"digits: step (\d+) is checkpointed", text)]
        return sorted(starts, key=lambda s: s[2]), done


class Whole(Cluster):
    def test_one_node_that_is_everything(self):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.secret = self.path("cluster.secret")
        self.nodes = {}
        self.addCleanup(self.stop)
        self.good(run("secret", "new", self.secret))
        self.config("all-in-one", slots=4)
        self.nodes["one"] = Program("node", "--config", self.path("all-in-one.toml"))
        self.wait_for_nodes(1)
        model = self.good(run("run", "digits")).value("model")
        self.assertEqual(self.good(self.submit("digits")).value("model"), model)

    def test_three_nodes_give_the_embedded_model_and_free_everything(self):
        self.start(workers=3, slots=2)
        model = self.good(run("run", "digits")).value("model")
        for _ in range(2):
            self.assertEqual(self.good(self.submit("digits")).value("model"), model)
        wait_until("all slots are free", self.all_slots_free, 10)
        wait_until("checkpoints go with their run", self.no_checkpoints_left, 10)
        text = self.good(run("status", "--cluster", self.address, "--secret", self.secret)).out.decode()
        self.assertIn("3 nodes, 6 slots, 6 free", text)
        pids = [node.pid for node in self.nodes.values()] + [pid for _, pid in self.executors()]
        self.stop()
        self.assertEqual([node.process.returncode for node in self.nodes.values()], [0, 0, 0, 0])
        wait_until("no process is left", lambda: not any(alive(pid) for pid in pids), 5)

    def test_a_wrong_secret_is_refused(self):
        self.start(workers=1)
        self.good(run("secret", "new", self.path("wrong")))
        self.refused(run("status", "--cluster", self.address, "--secret", self.path("wrong")), 2, "secret")
        self.refused(run("submit", "pi", "--cluster", self.address, "--secret", self.path("wrong")), 2, "secret")

    def test_a_gang_larger_than_the_cluster_is_refused_at_once(self):
        self.start(workers=1, slots=3)
        self.refused(self.submit("digits"), 1, "4", "3")
        self.good(self.submit("digits", "--", "--ranks", "3"))


class Draining(Cluster):
    def drain(self, *args):
        return run("drain", *args, "--cluster", self.address, "--secret", self.secret)

    def state_of(self, name):
        return next(n["state"] for n in self.status()["nodes"] if n["name"] == name)

    def test_a_drained_node_runs_empty_and_stays_so_until_it_is_undone(self):
        self.start(workers=2, slots=4)
        model = self.good(run("run", "digits")).value("model")
        driver = Program(*self.submit_args("digits", *LONG))
        self.addCleanup(driver.close)
        self.addCleanup(driver.kill)
        wait_until("its gang trains", lambda: self.trained_steps()[1], 60)
        held = next(n["name"] for n in self.status()["nodes"] if n["held"])
        other = next(name for name in self.nodes if name not in (held, "coordinator"))
        self.good(self.drain(held))
        self.assertEqual(self.state_of(held), "draining")
        self.good(driver.wait())  # it runs to its end where it is
        self.assertEqual(len(self.trained_steps()[0]), 1)
        wait_until("the node is empty", lambda: self.state_of(held) == "drained", 10)
        for name in ("coordinator", held):  # a restart changes nothing
            self.nodes[name].kill(signal.SIGKILL)
            self.nodes[name].process.wait()
            self.node(name)
        wait_until("both nodes are back", lambda: self.status() and len(self.status()["nodes"]) == 2, 30)
        wait_until("it is drained still", lambda: self.state_of(held) == "drained", 30)
        self.assertEqual(self.good(self.submit("digits")).value("model"), model)
        self.assertNotIn("digits: trains", self.nodes[held].log())
        self.good(self.drain(held, "--undo"))
        self.assertEqual(self.state_of(held), "ready")
        self.good(self.drain(other))
        self.assertEqual(self.good(self.submit("digits")).value("model"), model)
        self.assertIn("digits: trains", self.nodes[held].log())

    def test_a_node_that_is_not_there_cannot_be_drained(self):
        self.start(workers=1)
        self.refused(self.drain("worker-7"), 2, "worker-7", "worker-1")


class Priorities(Cluster):
    def test_a_higher_priority_takes_the_slots_and_the_other_goes_on_with_the_same_result(self):
        self.start(workers=1, slots=4)
        model = self.good(run("run", "digits", *LONG)).value("model")
        low = Program(*self.submit_args("digits", "--log", "info", *LONG))
        self.addCleanup(low.close)
        self.addCleanup(low.kill)
        wait_until("its gang trains", lambda: self.trained_steps()[1], 60)
        self.good(self.submit("digits", "--priority", "1"))
        self.assertEqual(self.good(low.wait()).value("model"), model)
        self.assertIn("it gives way to digits: stage", self.nodes["coordinator"].log())


class Kills(Cluster):
    def long_run(self):
        """The model without a failure, and a driver whose gang trains, has a checkpoint, and is not at its end."""
        self.start(workers=2, slots=4)
        model = self.good(run("run", "digits", *LONG)).value("model")
        driver = Program(*self.submit_args("digits", *LONG), env=self.env)
        self.addCleanup(driver.close)
        self.addCleanup(driver.process.wait)
        self.addCleanup(driver.kill)
        trainer = self.wait_for_log(r"digits: step 60 is checkpointed")
        return model, driver, trainer

    def wait_for_log(self, pattern):
        """The name of the node in whose log the pattern comes first."""
        found = []

        def there():
            found.extend(name for name, node in self.nodes.items() if re.search(pattern, node.log()))
            return bool(found)

        wait_until(pattern, there)
        return found[0]

    def check_end(self, model, driver):
        result = self.good(driver.wait())
        self.assertEqual(result.value("model"), model)
        starts, checkpointed = self.trained_steps()
        self.assertEqual(len(starts), 2, starts)
        self.assertEqual(starts[1][2], 1)
        # No step that was checkpointed is run twice: the second attempt begins at the last checkpoint of the first.
        self.assertGreaterEqual(starts[1][0], 60)
        self.assertEqual(len(checkpointed), len(set(checkpointed)), checkpointed)
        wait_until("all slots are free", self.all_slots_free, 15)
        wait_until("checkpoints go with their run", self.no_checkpoints_left, 15)

    def test_a_clock_that_jumps_changes_nothing(self):
        """An hour ahead, and then two back, on all machines, while a gang trains."""
        clock = self.write("clock", "0")
        self.env = {"LD_PRELOAD": os.path.join(LIBRARIES, "../libtest_wall_clock.so"), "HYDROGEN_TEST_CLOCK": clock,
                    "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}

        def jump(seconds):
            self.write("clock.new", str(seconds))
            os.rename(self.path("clock.new"), clock)

        model, driver, trainer = self.long_run()
        jump(3600)
        self.wait_for_log(r"digits: step 100 is checkpointed")
        jump(-3600)
        self.assertEqual(self.good(driver.wait()).value("model"), model)
        self.assertEqual(len(self.trained_steps()[0]), 1)
        text = "\n".join(node.log() for node in self.nodes.values())
        hours = {line[:13] for line in self.nodes[trainer].log().splitlines() if re.match(r"\d{4}-\d\d-\d\dT", line)}
        self.assertGreaterEqual(len(hours), 3, "the clock did not jump")
        self.assertNotRegex(text, "lost contact|is lost|silent|timed out")
        wait_until("all slots are free", self.all_slots_free, 15)
        wait_until("checkpoints go with their run", self.no_checkpoints_left, 15)

    def test_an_executor_that_is_killed_changes_nothing(self):
        model, driver, trainer = self.long_run()
        victims = [pid for name, pid in self.executors() if name == trainer]
        self.assertTrue(victims)
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        self.check_end(model, driver)
        self.assertRegex(self.nodes[trainer].log(), r"signal 9|SIGKILL|[Kk]illed")

    def test_a_worker_node_that_is_killed_changes_nothing(self):
        model, driver, trainer = self.long_run()
        orphans = [pid for name, pid in self.executors() if name == trainer]
        self.assertTrue(orphans)
        self.nodes[trainer].kill()
        killed = time.monotonic()
        wait_until("the executors of the killed node are gone", lambda: not any(alive(pid) for pid in orphans), 20)
        print(f"the executors of a killed node were gone after {time.monotonic() - killed:.3f} s (promised: 1 s)")
        self.check_end(model, driver)

    def test_a_coordinator_that_is_killed_and_comes_back_changes_nothing(self):
        model, driver, _ = self.long_run()
        self.nodes["coordinator"].kill()
        self.nodes["coordinator"].process.wait()
        self.node("coordinator")
        result = self.good(driver.wait())
        self.assertEqual(result.value("model"), model)
        self.assertEqual(len(self.trained_steps()[0]), 1)  # whether the gang ended before it came back or not
        wait_until("all slots are free", self.all_slots_free, 15)

    def test_a_gang_that_runs_goes_on_with_the_coordinator_that_comes_back(self):
        self.start(workers=2, slots=2)
        notes = self.path("notes")

        def lines(word):
            with open(notes) as f:
                return [line for line in f if line.startswith(word)]

        # A gang of 4 that must not be tried twice; its ranks wait for a file.
        driver = Program(*self.submit_args(os.path.join(LIBRARIES, "libtest_scenarios.so"), "--", "warm_gang", "4", "0", notes))
        self.addCleanup(driver.close)
        self.addCleanup(driver.process.wait)
        self.addCleanup(driver.kill)
        wait_until("the executors are warm", lambda: os.path.exists(notes) and lines("warmed"))
        self.write("notes.start", "")
        wait_until("all ranks run", lambda: len(lines("enter")) == 4)
        for _ in range(2):
            self.nodes["coordinator"].kill()
            self.nodes["coordinator"].process.wait()
            self.node("coordinator")
            self.wait_for_log("goes on after the restart")

        def known_to_run():
            status = self.status()
            return status and [(r["state"], r["held"], r["meets_in"]) for r in status["requests"]] == [("running", 4, "host memory")]

        wait_until("the gang is known to run", known_to_run)
        self.write("notes.finish", "")
        self.good(driver.wait())
        self.assertEqual((len(lines("enter")), len(lines("return"))), (4, 4))
        wait_until("all slots are free", self.all_slots_free, 15)

    def test_a_gang_on_two_addresses_meets_in_the_memory_of_each_and_over_links(self):
        self.start(workers=1, slots=2, expected=2)
        with open(self.path("worker.toml")) as f:
            text = f.read()
        self.assertEqual(text.count('listen = "127.0.0.1:0"'), 1)
        self.write("far.toml", text.replace('listen = "127.0.0.1:0"', 'listen = "127.0.0.2:0"'))
        self.nodes["worker-2"] = Program("node", "--config", self.path("far.toml"), "--name", "worker-2", env=self.env)
        self.wait_for_nodes(2)
        notes = self.path("notes")
        self.write("notes.start", "")
        driver = Program(*self.submit_args(os.path.join(LIBRARIES, "libtest_scenarios.so"), "--", "warm_gang", "4", "0", notes))
        self.addCleanup(driver.close)
        self.addCleanup(driver.process.wait)
        self.addCleanup(driver.kill)

        def meets():
            status = self.status()
            return status and [r["meets_in"] for r in status["requests"] if r["kind"] == "gang" and r["state"] == "running"]

        wait_until("the gang is known to run", lambda: meets() and meets()[0])
        self.assertEqual(meets(), ["host memory+TCP"])
        self.write("notes.finish", "")
        self.good(driver.wait())
        self.assertEqual(self.good(self.submit("digits")).value("model"), self.good(run("run", "digits")).value("model"))

    def test_a_driver_that_is_killed_frees_everything(self):
        _, driver, _ = self.long_run()
        driver.kill()
        driver.process.wait()
        wait_until("all slots are free", self.all_slots_free, 10)

    def test_ctrl_c_cancels_and_frees_everything(self):
        _, driver, _ = self.long_run()
        driver.kill(signal.SIGINT)
        result = driver.wait()
        self.assertEqual(result.code, 130, result.err)
        wait_until("all slots are free", self.all_slots_free, 10)


if __name__ == "__main__":
    unittest.main()
