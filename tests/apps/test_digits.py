"""digits: the accuracy, and the same model however it runs."""
import os
import shutil
import unittest

from support import SOURCE, Case, run

DATA = os.path.join(SOURCE, "apps/examples/digits/digits.csv")


class Digits(Case):
    @classmethod
    def setUpClass(cls):
        cls.embedded = run("run", "digits")

    def test_it_learns_to_read(self):
        self.good(self.embedded)
        self.assertGreaterEqual(float(self.embedded.value("accuracy")), 0.95)
        self.assertRegex(self.embedded.value("model"), r"^[0-9a-f]{32}$")
        self.assertIn("steps: 300 by 4 ranks", self.embedded.out.decode())
        self.assertIn("confusion", self.embedded.out.decode())

    def test_the_rows_of_the_confusion_matrix_are_the_test_rows(self):
        text = self.good(self.embedded).out.decode()
        tested = int(self.embedded.value("rows").split(" to train, ")[1].split(" ")[0])
        matrix = [line.split()[1:] for line in text[text.index("confusion"):].splitlines()[2:]]
        self.assertEqual(len(matrix), 10)
        self.assertEqual(sum(int(x) for row in matrix for x in row if x != "."), tested)
        right = sum(int(matrix[i][i]) for i in range(10))
        self.assertAlmostEqual(right / tested, float(self.embedded.value("accuracy")), places=3)

    def test_the_same_seed_gives_the_same_model_again(self):
        again = self.good(run("run", "digits", "--slots", "8"))
        self.assertEqual(again.value("model"), self.embedded.value("model"))
        self.assertEqual(again.value("accuracy"), self.embedded.value("accuracy"))

    def test_the_model_is_the_same_on_one_two_and_three_nodes(self):
        for nodes in (1, 2, 3):
            with self.subTest(nodes=nodes):
                there = self.good(run("run", "digits", "--nodes", nodes, "--slots", "4"))
                self.assertEqual(there.value("model"), self.embedded.value("model"))
        spread = self.good(run("run", "digits", "--nodes", 3, "--slots", "2"))
        self.assertEqual(spread.value("model"), self.embedded.value("model"))

    def test_the_interval_of_checkpoints_changes_nothing(self):
        self.assertEqual(self.good(run("run", "digits", "--", "--checkpoint-every", "7")).value("model"), self.embedded.value("model"))

    def test_another_seed_or_number_of_steps_gives_another_model(self):
        hashes = {self.embedded.value("model")}
        hashes.add(self.good(run("run", "digits", "--", "--seed", "8")).value("model"))
        hashes.add(self.good(run("run", "digits", "--", "--steps", "299")).value("model"))
        self.assertEqual(len(hashes), 3)

    def test_it_finds_its_data_from_any_folder_and_takes_other_data(self):
        self.assertEqual(self.good(run("run", "digits", cwd="/")).value("model"), self.embedded.value("model"))
        shutil.copy(DATA, self.path("mine.csv"))
        self.assertEqual(self.good(run("run", "digits", "--", "--data", "mine.csv", cwd=self.folder)).value("model"),
                         self.embedded.value("model"))

    def test_bad_data_is_an_error_that_names_it(self):
        self.refused(run("run", "digits", "--", "--data", self.path("none.csv")), 1, "none.csv", "No such file")
        with open(DATA) as f:
            lines = f.read().splitlines()
        lines[41] = lines[41].replace("0,", "zero,", 1)
        file = self.write("bad.csv", "\n".join(lines))
        self.refused(run("run", "digits", "--", "--data", file), 1, "bad.csv:42", "zero")
        lines[41] = "1,2,3"
        self.refused(run("run", "digits", "--", "--data", self.write("short.csv", "\n".join(lines))), 1, "short.csv:42")
        self.refused(run("run", "digits", "--", "--data", self.write("empty.csv", "")), 1, "no rows to train on")

    def test_a_gang_that_can_never_fit_is_refused_at_once(self):
        result = run("run", "digits", "--slots", "2")
        self.refused(result, 1, "4")
        self.assertRegex(result.err, r"2 slots|slots.*2")
        self.refused(run("run", "digits", "--nodes", "1", "--slots", "3"), 1, "4", "3")

    def test_a_network_learns_more_and_is_the_same_on_any_nodes_and_devices(self):
        network = ("--", "--model", "network")
        embedded = self.good(run("run", "digits", *network))
        self.assertGreaterEqual(float(embedded.value("accuracy")), 0.97)
        self.assertEqual(embedded.value("device"), "host (this process), gradients by one kernel, 149 of 150 steps replayed")
        model = embedded.value("model")
        self.assertEqual(self.good(run("run", "digits", "--nodes", "3", "--slots", "2", *network)).value("model"), model)
        gpus = (*network, "--gpus", "1", "--gpu-shared-by", "2")
        for where in (("--virtual-gpus", "2"), ("--nodes", "2", "--virtual-gpus", "1")):
            with self.subTest(where=where):
                there = self.good(run("run", "digits", *where, *gpus))
                self.assertEqual(there.value("model"), model)
                self.assertIn("virtual-0", there.value("device"))
        self.refused(run("run", "digits", "--virtual-gpus", "1", *network, "--gpus", "1"), 1, "1 gpu each")
        self.refused(run("run", "digits", "--", "--width", "8"), 2, "--model network")

    def test_softmax_regression_runs_on_devices_too(self):
        there = self.good(run("run", "digits", "--virtual-gpus", "2", "--", "--gpus", "1", "--gpu-shared-by", "2"))
        self.assertEqual(there.value("model"), self.embedded.value("model"))
        self.assertIn("virtual-0", there.value("device"))


if __name__ == "__main__":
    unittest.main()
