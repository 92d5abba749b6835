"""A cluster of node processes that is treated badly, and what must hold when it is left alone again."""
import json
import os
import re
import shutil
import signal
import stat
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../apps"))
from relay import Door, quiet_port  # noqa: E402
from support import LIBRARIES, SOURCE, Program, alive, run  # noqa: E402

SLOTS = 2  # of each worker
WORKERS = ["worker-1", "worker-2", "worker-3"]
REST = 60  # seconds after which all must be at rest
TAG = "HYDROGEN_CHAOS"  # the environment of every process of the cluster names its folder: so orphans are found
# Shorter than the defaults, so that a round takes seconds; all else is as shipped.
SHORTER = {"heartbeat_interval": "200 ms", "heartbeat_timeout": "1 s", "membership_grace": "5 s", "start_timeout": "10 s",
           "join_timeout": "5 s"}


class Broken(Exception):
    """A promise that does not hold."""


class Cluster:
    """A coordinator and workers, each of which reaches it through a door of its own; drivers share one more door."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="hydrogen-chaos-")
        self.scratch = self.path("tmp")
        os.mkdir(self.scratch)
        self.env = {TAG: self.folder, "TMPDIR": self.scratch}
        self.secret = self.path("cluster.secret")
        run("secret", "new", self.secret)
        self.port = quiet_port()
        self.address = f"127.0.0.1:{self.port}"
        self.doors = {name: Door(self.port) for name in [*WORKERS, "drivers"]}
        self.nodes = {}
        self.past = []  # (name, Program) of nodes that were killed
        self.idle = {}  # of each kind of node: its descriptors and threads when nothing has happened yet
        self.most = {}  # the most of these at rest
        self.shared = self.shared_files()
        self.leftovers = 0

    def path(self, *names):
        return os.path.join(self.folder, *names)

    # ---- nodes ----

    def start(self):
        for name in ["coordinator", *WORKERS]:
            self.config(name)
            self.node(name)
        self.await_rest(time.monotonic() + REST, fresh=True)

    def config(self, name):
        with open(os.path.join(SOURCE, "config", ("coordinator" if name == "coordinator" else "worker") + ".toml")) as f:
            text = f.read()
        at = self.port if name == "coordinator" else self.doors[name].port
        text = text.replace("127.0.0.1:7410", f"127.0.0.1:{at}")
        changes = {**{key: f'"{value}"' for key, value in SHORTER.items()}, "slots": SLOTS, "expected_nodes": len(WORKERS)}
        for key, value in changes.items():
            text = re.sub(rf"^{key} = [^#\n]*", f"{key} = {value}  ", text, flags=re.MULTILINE)
        with open(self.path(name + ".toml"), "w") as f:
            f.write(text)

    def node(self, name):
        if name in self.nodes:
            self.past.append((name, self.nodes[name]))
        self.nodes[name] = Program("node", "--config", self.path(name + ".toml"), "--name", name, env=self.env)

    def runs(self, name):
        return self.nodes[name].process.poll() is None

    def kill(self, name):
        self.nodes[name].kill()
        self.nodes[name].process.wait()

    def driver(self, application, args, through_door):
        port = self.doors["drivers"].port if through_door else self.port
        return Program("submit", application, "--cluster", f"127.0.0.1:{port}", "--secret", self.secret, "--", *args, env=self.env)

    def processes(self):
        """{pid: (parent, command line)} of all processes of this cluster."""
        found = {}
        mark = f"{TAG}={self.folder}".encode()
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/environ", "rb") as f:
                    if mark not in f.read().split(b"\0"):
                        continue
                with open(f"/proc/{entry}/stat") as f:
                    parent = int(f.read().rsplit(")", 1)[1].split()[1])
                with open(f"/proc/{entry}/cmdline", "rb") as f:
                    found[int(entry)] = (parent, f.read().replace(b"\0", b" ").decode(errors="replace").strip())
            except OSError:
                continue  # it has ended meanwhile
        return found

    def executors(self, at_work=False):
        """(pid, parent); of those at work not the newest of each node, which is its spare."""
        found = sorted((pid, parent) for pid, (parent, command) in self.processes().items() if " executor " in command)
        if at_work:
            spares = {parent: pid for pid, parent in found}
            found = [(pid, parent) for pid, parent in found if spares[parent] != pid]
        return found

    def signal(self, pid, sig):
        """Only what is still of this cluster."""
        try:
            if pid in self.processes():
                os.kill(pid, sig)
        except ProcessLookupError:
            pass  # it has ended meanwhile

    # ---- rest ----

    def status(self):
        result = run("status", "--json", "--timeout", "2", "--cluster", self.address, "--secret", self.secret, env=self.env)
        return json.loads(result.out) if result.code == 0 else None

    def await_rest(self, deadline, fresh=False, coordinator_was_away=False):
        while True:
            missing = self.unrest(fresh, coordinator_was_away)
            if missing is None:
                return
            if time.monotonic() > deadline:
                raise Broken(f"not at rest in {REST} s: {missing}")
            time.sleep(0.05)

    def unrest(self, fresh, coordinator_was_away):
        """What is not yet as it must be, in words; None at rest."""
        for name in self.nodes:
            if not self.runs(name):
                raise Broken(f"{name} ended by itself with code {self.nodes[name].process.returncode}")
        status = self.status()
        if status is None:
            return "the coordinator does not answer"
        if status["requests"] or status["runs"]:
            return f"requests {status['requests']}, runs {status['runs']}"
        ready = sorted(n["name"] for n in status["nodes"] if n["state"] == "ready")
        if ready != WORKERS or len(status["nodes"]) != len(WORKERS):
            return f"nodes {[(n['name'], n['state']) for n in status['nodes']]}"
        if any(n["free"] != SLOTS or n["slots"] != SLOTS or n["held"] or n["executors"] for n in status["nodes"]):
            return f"slots {status['nodes']}"
        return self.unrest_of_processes() or self.unrest_of_files(coordinator_was_away) or self.unrest_of_descriptors(fresh)

    def unrest_of_processes(self):
        nodes = {program.pid: name for name, program in self.nodes.items()}
        children = {}
        for pid, (parent, command) in self.processes().items():
            if " executor " in command:
                if parent not in nodes:
                    return f"an executor whose node is gone: {pid}"
                children.setdefault(parent, []).append(pid)
            elif pid not in nodes and alive(pid):
                return f"a process that nobody waits for: {pid} {command}"
        for node, pids in children.items():
            if len(pids) > 1:  # one spare
                return f"{nodes[node]} has the executors {pids}"
        return None

    def unrest_of_files(self, coordinator_was_away):
        storage = self.path("data", "storage")
        left = os.listdir(storage) if os.path.exists(storage) else []
        if left and coordinator_was_away:
            # Documented: checkpoints of a run that ended while the coordinator was away stay.
            for run_folder in left:
                shutil.rmtree(os.path.join(storage, run_folder), ignore_errors=True)
            self.leftovers += len(left)
        elif left:
            return f"checkpoints of ended runs: {left}"
        if os.listdir(self.scratch):
            return f"temporary files: {os.listdir(self.scratch)}"
        for where, _, files in os.walk(self.path("data")):
            for file in files:
                if stat.S_ISSOCK(os.lstat(os.path.join(where, file)).st_mode) or where.endswith("libraries"):
                    return f"a file that is of no use: {os.path.join(where, file)}"
        if more := self.shared_files() - self.shared:
            return f"shared memory with names: {more}"
        return None

    @staticmethod
    def shared_files():
        return {name for name in os.listdir("/dev/shm") if "hydrogen" in name}

    def unrest_of_descriptors(self, fresh):
        for name, program in self.nodes.items():
            kind = name.split("-")[0]
            with open(f"/proc/{program.pid}/statm") as f:
                memory = int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE") >> 20
            now = {"descriptors": len(os.listdir(f"/proc/{program.pid}/fd")), "threads": len(os.listdir(f"/proc/{program.pid}/task"))}
            if fresh:
                self.idle[kind] = now
            for what, count in now.items():
                if count > self.idle[kind][what] + 4:
                    return f"{name} has {count} {what}, {self.idle[kind][what]} when it was fresh"
            most = self.most.setdefault(kind, {})
            for what, count in {**now, "MiB": memory}.items():
                most[what] = max(most.get(what, 0), count)
        return None

    def probe(self):
        """A gang of all slots: the slots of the agents are free, not only those of the coordinator's ledger."""
        ranks = SLOTS * len(WORKERS)
        driver = Program("submit", os.path.join(LIBRARIES, "libtest_scenarios.so"), "--cluster", self.address, "--secret", self.secret,
                         "--", "gang", str(ranks), "", "3", "-1", "-1", env=self.env)
        try:
            driver.process.wait(timeout=20)
        except Exception as problem:
            raise Broken(f"a gang of all {ranks} slots does not end in 20 s at rest: {driver.log()}") from problem
        finally:
            driver.kill()
        if driver.process.returncode != 0:
            raise Broken(f"a gang of all {ranks} slots fails at rest: {driver.log()}")
        driver.close()

    def crashes(self):
        """Lines of the nodes' logs that tell of ends that nobody caused: any signal but SIGKILL."""
        text = "\n".join(program.log() for _, program in self.programs())
        return [line for line in text.split("\n") if re.search(r"ended by signal (?!9 )|user code called exit|terminate called", line)]

    # ---- the end ----

    def programs(self):
        return self.past + list(self.nodes.items())

    def save_logs(self):
        for i, (name, program) in enumerate(self.programs()):
            with open(self.path("logs", f"{i:03}-{name}-{program.pid}.log"), "w") as f:
                f.write(program.log() + "\n")

    def stop(self):
        for door in self.doors.values():
            door.close()
        for pid in self.processes():
            self.signal(pid, signal.SIGKILL)
        for program in self.nodes.values():
            program.process.wait()
