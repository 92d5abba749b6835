"""hydrogen-bench: the menu, and every benchmark runs (on a hundredth of its work; nothing is said about speed)."""
import json
import math
import os
import unittest

from support import BIN, Case, run

BENCH = os.path.join(BIN, "hydrogen-bench")
NAMES = ["admission", "barrier", "collectives", "delayed", "dispatch", "framing", "fused", "gang", "gradients", "kernels", "launch", "network", "queue", "reduce", "scale", "start", "tasks", "tune", "words"]


class Bench(Case):
    def test_the_menu(self):
        listed = self.good(run("--list", program=BENCH)).out.decode().splitlines()
        self.assertEqual([line.split()[0] for line in listed], NAMES)

    def test_an_unknown_benchmark_is_refused(self):
        self.refused(run("fusd", program=BENCH), 2, "no benchmark 'fusd'", "did you mean 'fused'?")
        self.refused(run("--jsn", program=BENCH), 2, "'--jsn'", "'--json'")

    def test_an_unknown_peer_is_refused(self):
        self.refused(run("collectives", "--beside", "gloo,mpo", program=BENCH), 2, "no peer 'mpo'", "did you mean 'mpi'?")

    def test_a_peer_that_does_not_start_is_a_remark(self):
        # An mpirun that fails; where the benchmark was built without MPI, it is not even asked for.
        fake = self.path("mpirun")
        with open(fake, "w") as f:
            f.write("#!/bin/sh\necho no such luck >&2\nexit 1\n")
        os.chmod(fake, 0o755)
        plot = self.path("plot.svg")
        ran = run("collectives", "--quick", "--beside", "mpi", "--plot", plot, program=BENCH, env={"PATH": self.folder})
        self.assertRegex(self.good(ran).out.decode(), "Open MPI (does not start: .*no such luck|is not installed)")
        with open(plot) as f:
            self.assertIn("processes over TCP", f.read())

    def test_every_benchmark_runs(self):
        file = self.path("figures.json")
        # No peers: their figures are not what is tested.
        env = {"PATH": self.folder}
        self.good(run("--quick", "--json", file, program=BENCH, env=env))
        with open(file) as f:
            figures = json.load(f)
        self.assertTrue(figures["quick"])
        self.assertGreater(figures["machine"]["cores"], 0)
        self.assertEqual(sorted({r["benchmark"] for r in figures["results"]}), NAMES)
        for r in figures["results"]:
            if r["case"] == "what a frame adds":  # a difference of two times, each with its noise
                self.assertTrue(math.isfinite(r["median"]) and r["median"] != 0, r)
            else:
                self.assertGreater(r["median"], 0, r)
            self.assertGreater(r["samples"], 0, r)
        for name in ("kernels", "dispatch"):  # a GPU's rows, or why there are none
            on_gpu = [r for r in figures["results"] if r["benchmark"] == name and r.get("device", "").startswith("GPU-")]
            said = [r for r in figures["remarks"] if r["benchmark"] == name and r["text"].startswith("no GPU is measured: ")]
            self.assertEqual(len(said), 0 if on_gpu else 1, figures["remarks"])


if __name__ == "__main__":
    unittest.main()
