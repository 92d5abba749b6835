"""Runs the programs of a build from outside. HYDROGEN_BIN: the folder of the programs; HYDROGEN_SOURCE: the repository."""
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

SOURCE = os.environ.get("HYDROGEN_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
BIN = os.environ.get("HYDROGEN_BIN", os.path.join(SOURCE, "build/release/bin"))
HYDROGEN = os.path.join(BIN, "hydrogen")
LIBRARIES = os.path.normpath(os.path.join(BIN, "../lib/hydrogen"))
DEADLINE = 120  # seconds that no program may take; far above what any needs, also with sanitizers


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def value(self, name):
        """What stands behind "name: " at the start of a line of the output."""
        found = re.search(rf"^{name}: (.*)$", self.out.decode(), re.MULTILINE)
        if not found:
            raise AssertionError(f"no '{name}: ' in {self.out!r}, {self.err!r}")
        return found.group(1)


def run(*args, env=None, cwd=None, program=HYDROGEN):
    done = subprocess.run([program, *map(str, args)], capture_output=True, timeout=DEADLINE, cwd=cwd,
                          env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL)
    return Result(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


class Case(unittest.TestCase):
    """Each test has a folder of its own, which goes with it."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="hydrogen-test-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, content):
        with open(self.path(name), "wb") as f:
            f.write(content if isinstance(content, bytes) else content.encode())
        return self.path(name)

    def refused(self, result, code, *parts):
        """One clear message, the right exit code, and nothing on standard output."""
        self.assertEqual(result.code, code, result.err)
        for part in parts:
            self.assertIn(part, result.err)
        self.assertNotIn("Traceback", result.err)
        self.assertNotIn("terminate called", result.err)
        self.assertEqual(result.out, b"")

    def good(self, result):
        self.assertEqual(result.code, 0, result.err)
        return result


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Program:
    """A program that runs on; its standard error is read all the time and can be waited for."""

    def __init__(self, *args, env=None):
        self.process = subprocess.Popen([HYDROGEN, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
        self.pid = self.process.pid
        self.lines = []
        self.out = b""
        self.changed = threading.Condition()
        self.readers = [threading.Thread(target=self._read_err, daemon=True), threading.Thread(target=self._read_out, daemon=True)]
        for r in self.readers:
            r.start()

    def _read_err(self):
        for line in self.process.stderr:
            with self.changed:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.lines.append(None)
            self.changed.notify_all()

    def _read_out(self):
        self.out = self.process.stdout.read()

    def wait_for(self, pattern, begin=0):
        """(match, index of its line) of the first line from `begin` on that has the pattern."""
        deadline, i = time.monotonic() + DEADLINE, begin
        with self.changed:
            while True:
                while i < len(self.lines):
                    if self.lines[i] is None:
                        raise AssertionError(f"ended without '{pattern}':\n" + self.log())
                    found = re.search(pattern, self.lines[i])
                    if found:
                        return found, i
                    i += 1
                if not self.changed.wait(deadline - time.monotonic()):
                    raise AssertionError(f"no '{pattern}' in time:\n" + self.log())

    def log(self):
        return "\n".join(line for line in self.lines if line is not None)

    def wait(self):
        """The end of the process itself, and of all that it wrote (its children may write on)."""
        code = self.process.wait(timeout=DEADLINE)
        for r in self.readers:
            r.join(timeout=10)
        return Result(code, self.out, self.log())

    def close(self):
        """After its end: what it left open."""
        for r in self.readers:
            r.join(timeout=10)
        self.process.stdout.close()
        self.process.stderr.close()

    def kill(self, sig=signal.SIGKILL):
        try:
            os.kill(self.pid, sig)
        except ProcessLookupError:
            pass


def processes_below(pid):
    """(pid, command line) of all descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as f:
                parent = int(f.read().rsplit(")", 1)[1].split()[1])
            with open(f"/proc/{entry}/cmdline", "rb") as f:
                command = f.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        children.setdefault(parent, []).append((int(entry), command))
    found, todo = [], [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            found.append(child)
            todo.append(child[0])
    return found


def alive(pid):
    """Neither gone nor a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(what, condition, seconds=DEADLINE):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {seconds} s: {what}")
        time.sleep(0.02)
