"""What a round does, drawn from its seed before it begins, and the doing."""
import random
import signal
import time

from cluster import WORKERS
from drivers import KINDS, Driver
from relay import WAYS

TARGETS = ["coordinator", "worker", "executor", "driver"]


class Disaster:
    def __init__(self, draw):
        self.what = draw.choice(["kill", "kill", "stop", "cut"])
        self.begin = draw.uniform(0.0, 1.2)
        # Most are short, since deadlines of all sizes are to be met, and a round should be.
        self.lasts = 0.1 * 80 ** (draw.random() ** 1.6)
        self.target = draw.choice(TARGETS)
        self.which = draw.random()  # of several, by its share of the list
        self.way = draw.choice(WAYS)
        self.worker = WORKERS[int(self.which * len(WORKERS))]
        if self.what == "kill":
            self.lasts = min(self.lasts, 4)  # to the restart of a node
        if self.what == "cut":
            self.target = draw.choice(["worker", "worker", "driver"])
        self.hit = None  # what it was, when it was there
        self.undo = None

    def kind(self):
        return f"{self.what} {self.target}" + (f" ({self.way})" if self.what == "cut" else "")

    def words(self):
        return f"{self.begin:.1f} s: {self.kind()} {self.hit or '- nobody there'}" + (f" for {self.lasts:.1f} s" if self.undo else "")

    def strike(self, world):
        if self.what == "cut":
            self.cut(world)
        elif self.target == "driver":
            self.strike_driver(world)
        elif self.target == "executor":
            self.strike_executor(world)
        else:
            self.strike_node(world)

    def cut(self, world):
        self.hit = self.worker if self.target == "worker" else "drivers"
        door = world.cluster.doors[self.hit]
        door.shut(self.way)
        self.undo = door.open
        if self.target == "driver":
            for driver in world.drivers:
                driver.harmed = driver.harmed or driver.through_door

    def strike_driver(self, world):
        living = [d for d in world.drivers if d.runs()]
        if not living:
            return
        driver = living[int(self.which * len(living))]
        self.hit = driver.kind
        driver.harmed = True
        driver.send(signal.SIGKILL if self.what == "kill" else signal.SIGSTOP)
        if self.what == "stop":
            self.undo = lambda: driver.send(signal.SIGCONT)

    def strike_executor(self, world):
        found = world.cluster.executors(at_work=True) or world.cluster.executors()
        if not found:
            return
        pid, _ = found[int(self.which * len(found))]
        self.hit = str(pid)
        world.cluster.signal(pid, signal.SIGKILL if self.what == "kill" else signal.SIGSTOP)
        if self.what == "stop":
            self.undo = lambda: world.cluster.signal(pid, signal.SIGCONT)

    def strike_node(self, world):
        name = "coordinator" if self.target == "coordinator" else self.worker
        if not world.cluster.runs(name):
            return
        self.hit = name
        if self.what == "stop":
            pid = world.cluster.nodes[name].pid
            world.cluster.signal(pid, signal.SIGSTOP)
            self.undo = lambda: world.cluster.signal(pid, signal.SIGCONT)
        else:
            world.cluster.kill(name)
            self.undo = lambda: world.cluster.node(name)


class Round:
    """All choices of one round come from its seed."""

    def __init__(self, seed, cluster):
        draw = random.Random(seed)
        self.seed, self.cluster = seed, cluster
        self.drivers = [Driver((draw.choice(list(KINDS)), draw.random() < 0.5, draw.uniform(0.0, 0.6),
                                draw.uniform(0.05, 1.5) if draw.random() < 0.2 else None)) for _ in range(draw.randint(2, 4))]
        self.disasters = [Disaster(draw) for _ in range(draw.randint(1, 3))]

    def play(self):
        """Returns when all disasters are over."""
        events = [(d.begin, lambda: True, lambda d=d: d.start(self.cluster)) for d in self.drivers]
        events += [(d.begin + d.interrupt, d.runs, lambda d=d: d.send(signal.SIGINT)) for d in self.drivers if d.interrupt]
        events += [(d.begin, lambda: True, lambda d=d: d.strike(self)) for d in self.disasters]
        events += [(d.begin + d.lasts, lambda d=d: d.undo, lambda d=d: d.undo()) for d in self.disasters]
        began = time.monotonic()
        for at, needed, act in sorted(events, key=lambda event: event[0]):
            if needed():
                time.sleep(max(0.0, began + at - time.monotonic()))
                act()

    def hit_coordinator(self, *how):
        return any(d.hit == "coordinator" and d.what in how for d in self.disasters)

    def explains(self, driver, cause):
        """Whether it may fail with this. One that nothing was done to outlives everything but these two."""
        if cause.startswith("ADDRESS: "):  # at its start the coordinator must be there
            return driver.harmed or self.hit_coordinator("kill", "stop")
        if "slots at once, the cluster has" in cause:  # a worker was away for longer than membership_grace
            return any(d.hit in WORKERS for d in self.disasters)
        return driver.harmed
