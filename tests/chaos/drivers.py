"""The drivers of a round: what they run, what is right, and how they may end."""
import os
import re
import signal
import time

from cluster import Broken
from support import LIBRARIES, run

SCENARIOS = os.path.join(LIBRARIES, "libtest_scenarios.so")
KINDS = {
    "digits": ("digits", ["--steps", "120", "--checkpoint-every", "20"]),
    "long digits": ("digits", ["--steps", "100", "--rows-repeat", "40", "--checkpoint-every", "20"]),
    "digits of 3": ("digits", ["--steps", "60", "--ranks", "3", "--checkpoint-every", "10"]),
    "gang of 6": (SCENARIOS, ["gang", "6", "", "250", "-1", "-1"]),
    "gang of 2": (SCENARIOS, ["gang", "2", "", "500", "-1", "-1"]),
    "gangs": (SCENARIOS, ["two_gangs", "200"]),
    "parallel": (SCENARIOS, ["parallel"]),
    "shuffle": (SCENARIOS, ["shuffle"]),
    "result": (SCENARIOS, ["large_result", "16"]),
}
# What is only said when Hydrogen itself is wrong, whatever was done to it.
WRONG = r"scenario:|piece of the checkpoint|terminate called|\binvariant\b|\binternal\b|Traceback|is a defect|Assertion"


def models():
    """The right model for each kind that makes one, from a run without a cluster."""
    return {kind: run("run", name, "--", *args).value("model") for kind, (name, args) in KINDS.items() if name == "digits"}


class Driver:
    def __init__(self, plan):
        self.kind, self.through_door, self.begin, self.interrupt = plan
        self.program = None
        self.signals = set()  # that were sent to it and end it
        self.harmed = False  # stopped, or cut off: its run may be given up
        self.ended = None

    def words(self):
        return self.kind + (" through the door" if self.through_door else "")

    def start(self, cluster):
        name, args = KINDS[self.kind]
        self.program = cluster.driver(name, args, self.through_door)

    def runs(self):
        return self.program is not None and self.program.process.poll() is None

    def send(self, sig):
        if self.runs():
            self.program.kill(sig)
            if sig != signal.SIGCONT:
                self.signals.add(sig)

    def end(self, deadline, right, explains):
        """Waits; it has ended as "done", "interrupted", "killed" or "failed: why", or else something is broken."""
        try:
            self.program.process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except Exception as problem:
            raise Broken(f"the driver of {self.kind} ({self.program.pid}) hangs") from problem
        result = self.program.wait()
        self.program.close()
        self.ended = self.verdict(result, right, explains)

    def verdict(self, result, right, explains):
        what = f"the driver of {self.kind} ({self.program.pid})"
        if result.code == 0:
            model = re.search(r"^model: (.*)$", result.out.decode(), re.MULTILINE)
            if (model and model.group(1)) != right.get(self.kind):
                raise Broken(f"{what} has the result {result.out!r}, right is {right.get(self.kind)}")
            return "done"
        if result.code == -signal.SIGKILL and signal.SIGKILL in self.signals:
            return "killed"
        if result.code in (130, -signal.SIGINT) and signal.SIGINT in self.signals:  # by the signal: before it is watched
            return "interrupted"
        if result.code < 0:
            raise Broken(f"{what} ended by signal {-result.code}:\n{result.err}")
        said = [line for line in result.err.split("\n") if line.startswith("hydrogen: ") and "interrupted; cancelling" not in line]
        if result.code not in (1, 2) or not said or len(said[-1]) < 30 or re.search(WRONG, result.err):
            raise Broken(f"{what} ended with code {result.code} and no good cause:\n{result.err}")
        cause = re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", said[-1][len("hydrogen: "):])
        if not explains(self, cause):
            raise Broken(f"{what} failed, and nothing that was done explains it:\n{result.err}")
        return "failed: " + cause
