"""The command line: help, versions, and one clear message for each thing that is wrong."""
import os
import shutil
import socket
import stat
import unittest

from support import BIN, LIBRARIES, SOURCE, Case, free_port, run

COMMANDS = ["run", "node", "submit", "status", "drain", "secret", "version"]


class Help(Case):
    def test_the_help_lists_every_command_and_only_those(self):
        text = self.good(run("--help")).out.decode()
        for command in COMMANDS:
            self.assertIn(f"\n  {command} ", text)
        self.assertNotIn("executor", text)
        self.assertIn("Exit codes: 0 ", text)

    def test_each_command_has_its_help(self):
        for command in COMMANDS:
            with self.subTest(command):
                text = self.good(run(command, "--help")).out.decode()
                self.assertIn(f"Usage: hydrogen {command}", text)
                self.assertEqual(text, self.good(run("help", command)).out.decode())

    def test_the_version_is_one_line(self):
        text = self.good(run("version")).out.decode()
        self.assertRegex(text, r"\Ahydrogen \d+\.\d+\.\d+ \(.*g\+\+.*\)\n\Z")
        self.assertEqual(text, self.good(run("--version")).out.decode())

    def test_no_command_is_bad_input(self):
        self.refused(run(), 2, "Usage: hydrogen")


class Flags(Case):
    def test_unknown_names_are_refused_with_the_nearest(self):
        self.refused(run("rnu"), 2, "'rnu' is not a command", "did you mean 'run'?")
        self.refused(run("frobnicate"), 2, "'frobnicate' is not a command")
        self.refused(run("run", "pi", "--slot", "3"), 2, "unknown flag '--slot'", "did you mean '--slots'?")
        self.refused(run("status", "--jsn"), 2, "unknown flag '--jsn'", "did you mean '--json'?")
        self.refused(run("run", "pie"), 2, "no application 'pie'", "did you mean 'pi'?")

    def test_bad_values_are_refused(self):
        for slots in ["0", "-1", "x", "1.5", "99999999999"]:
            self.refused(run("run", "pi", "--slots", slots), 2, "--slots", slots)
        self.refused(run("run", "pi", "--nodes", "0"), 2, "--nodes")
        self.refused(run("run", "pi", "--max-result", "5"), 2, "--max-result", "64 MiB")
        self.refused(run("run", "pi", "--log", "loud"), 2, "--log", "loud", "warning")
        self.refused(run("submit", "pi", "--cluster", "here"), 2, "--cluster", "HOST:PORT")

    def test_what_is_missing_is_named(self):
        self.refused(run("run"), 2, "NAME")
        self.refused(run("submit", "pi"), 2, "--cluster")
        self.refused(run("status"), 2, "--cluster")
        self.refused(run("drain", "n1"), 2, "--cluster")
        self.refused(run("drain", "--cluster", "127.0.0.1:1"), 2, "NODE")
        self.refused(run("node"), 2, "--config")
        self.refused(run("secret", "new"), 2, "FILE")

    def test_arguments_of_the_application_stand_behind_two_dashes(self):
        self.refused(run("run", "pi", "100"), 2, "'100'", "'--'")
        out = self.good(run("run", "pi", "--", "--samples", "100")).out.decode()
        self.assertIn("of 100 points", out)

    def test_the_hidden_executor_needs_its_socket(self):
        self.refused(run("executor"), 2, "started by a node")
        self.refused(run("executor", "x"), 2, "started by a node")


class Applications(Case):
    def test_an_application_is_found_by_path_and_in_hydrogen_path(self):
        library = os.path.join(LIBRARIES, "libpi.so")
        self.good(run("run", library, "--", "--samples", "10"))
        shutil.copy(library, self.path("libmine.so"))
        self.good(run("run", "mine", "--", "--samples", "10", env={"HYDROGEN_PATH": f"/nonexistent:{self.folder}"}))
        self.good(run("run", "./libmine.so", "--", "--samples", "10", cwd=self.folder))

    def test_bad_libraries_are_refused(self):
        self.refused(run("run", "./nothing.so", cwd=self.folder), 2, self.path("nothing.so"), "no such file")
        self.refused(run("run", self.folder + "/"), 2, "is not a file")
        self.refused(run("run", self.write("libtext.so", "text")), 2, "libtext.so")
        self.refused(run("run", self.write("libempty.so", "")), 2, "libempty.so")
        self.refused(run("run", os.path.join(BIN, "../lib/libhydrogen.so")), 2, "libhydrogen.so", "entry")

    def test_a_library_whose_initialiser_throws_is_refused(self):
        self.write("anywhere", "")
        self.refused(run("run", "test_fragile", env={"HYDROGEN_TEST_LOADS": self.folder}), 2, "libtest_fragile.so",
                     "a static initialiser of it threw: this initialiser always throws")

    def test_wrong_arguments_of_an_application_are_one_message(self):
        self.refused(run("run", "pi", "--", "--sample", "3"), 2, "'--sample'", "'--samples'")
        self.refused(run("run", "pi", "--", "--samples", "0"), 2, "--samples")
        self.refused(run("run", "word_count"), 2, "FILE")
        self.refused(run("run", "word_count", "--", self.path("missing")), 1, "missing", "No such file")

    def test_the_help_of_an_application(self):
        self.assertIn("--samples N", self.good(run("run", "pi", "--", "--help")).out.decode())

    def test_what_no_thread_survives_ends_an_embedded_run_and_names_the_rank(self):
        for how, words in (("exit", "user code called exit()"), ("crash", "SIGSEGV")):
            with self.subTest(how):
                result = run("run", "test_scenarios", "--", "bad_rank", how)
                self.assertNotEqual(result.code, 0)
                self.assertIn("rank=1", result.err)
                self.assertIn(words, result.err)

    def test_pi_is_the_same_however_it_runs(self):
        one = self.good(run("run", "pi", "--slots", "1", "--", "--samples", "100000")).out
        self.assertIn(b"pi is about 3.14", one)
        self.assertEqual(one, self.good(run("run", "pi", "--slots", "4", "--", "--samples", "100000")).out)
        self.assertEqual(one, self.good(run("run", "pi", "--nodes", "2", "--slots", "2", "--", "--samples", "100000")).out)


class Nodes(Case):
    def test_a_new_secret_is_private_and_never_replaced(self):
        file = self.path("secret")
        self.good(run("secret", "new", file))
        self.assertEqual(stat.S_IMODE(os.stat(file).st_mode), 0o600)
        with open(file) as f:
            first = f.read()
        self.refused(run("secret", "new", file), 2, file)
        with open(file) as f:
            self.assertEqual(f.read(), first)
        self.good(run("secret", "new", self.path("other")))
        with open(self.path("other")) as f:
            self.assertNotEqual(f.read(), first)
        self.refused(run("secret", "make", file), 2, "'make'", "'new'")

    def test_the_config_files_that_are_shipped_are_good(self):
        for name in ["coordinator", "worker", "all-in-one"]:
            out = self.good(run("node", "--check", "--config", os.path.join(SOURCE, "config", name + ".toml"))).out.decode()
            self.assertIn(": good; node ", out)

    def test_all_that_is_wrong_with_a_config_is_said_at_once(self):
        file = self.write("n.toml", '[node]\nnmae = "a"\n[agent]\nslots = "two"\n[clutser]\n')
        result = run("node", "--config", file)
        self.refused(result, 2, f"{file}:2", "'name'".replace("'", '"'), f"{file}:4", "whole number", f"{file}:5", '"cluster"')
        self.assertEqual(len(result.err.splitlines()), 3)
        self.refused(run("node", "--config", self.path("missing.toml")), 2, "missing.toml", "No such file")
        self.refused(run("node", "--config", self.folder), 2, "folder")

    def test_listening_outside_loopback_is_refused(self):
        file = self.write("n.toml", '[coordinator]\nlisten = "0.0.0.0:7410"\n')
        self.refused(run("node", "--config", file), 2, f"{file}:2", "not encrypted")

    def test_a_missing_or_public_secret_is_refused(self):
        config = self.write("n.toml", f'[coordinator]\nlisten = "127.0.0.1:{free_port()}"\n')
        self.refused(run("node", "--config", config), 2, "cluster.secret")
        self.good(run("secret", "new", self.path("cluster.secret")))
        os.chmod(self.path("cluster.secret"), 0o644)
        self.refused(run("node", "--config", config), 2, "cluster.secret")

    def test_a_port_in_use_is_refused(self):
        self.good(run("secret", "new", self.path("cluster.secret")))
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            config = self.write("n.toml", f'[coordinator]\nlisten = "127.0.0.1:{port}"\n')
            result = run("node", "--config", config)
        self.assertIn(result.code, (1, 2))
        self.assertIn(str(port), result.err)

    def test_no_cluster_there_is_an_error_that_names_it(self):
        self.good(run("secret", "new", self.path("s")))
        address = f"127.0.0.1:{free_port()}"
        result = run("status", "--cluster", address, "--secret", self.path("s"), "--timeout", "1")
        self.refused(result, 1, address)
        self.refused(run("submit", "pi", "--cluster", address, "--secret", self.path("s")), 1, address)
        self.refused(run("status", "--cluster", address, "--secret", self.path("none")), 2, self.path("none"))


if __name__ == "__main__":
    unittest.main()
