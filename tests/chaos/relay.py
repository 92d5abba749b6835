"""Doors to the coordinator that can be shut: a TCP relay on loopback, whose connections can be closed, held or refused."""
import random
import socket
import threading
import time

WAYS = ["close", "hold", "hold in", "hold out", "refuse"]


def quiet_port():
    """A free port below those of outgoing connections: nobody takes it while its listener is away."""
    while True:
        port = random.SystemRandom().randrange(12000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


class Door:
    """A port that leads to another one."""

    def __init__(self, target):
        self.target, self.port = target, quiet_port()
        self.flow = {"in": threading.Event(), "out": threading.Event()}  # towards the target, and back
        for way in self.flow.values():
            way.set()
        self.lock = threading.Lock()
        self.connections = set()
        self.listener = None
        self.open()

    def open(self):
        """Takes connections, and lets pass what was held."""
        with self.lock:
            if self.listener is None:
                self.listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
                threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()
        for way in self.flow.values():
            way.set()

    def shut(self, way):
        """What WAYS names. Held connections stay open, and nothing is lost on them; new ones are taken and held too."""
        if way.startswith("hold"):
            for name, flow in self.flow.items():
                if way in ("hold", "hold " + name):
                    flow.clear()
            return
        with self.lock:
            if way == "refuse":
                self._stop_listening()
            gone, self.connections = self.connections, set()
        for s in gone:
            hang_up(s)

    def close(self):
        self.shut("refuse")
        for way in self.flow.values():
            way.set()

    def _stop_listening(self):
        if self.listener:
            hang_up(self.listener)  # wakes the thread in accept
            self.listener.close()
            self.listener = None

    def _accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(near, listener), daemon=True).start()

    def _connect(self, near, listener):
        self.flow["in"].wait()
        far = socket.socket()
        try:
            far.connect(("127.0.0.1", self.target))
        except OSError:
            far.close()
            near.close()
            return
        for s in (near, far):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.lock:
            if self.listener is not listener:
                near.close()
                far.close()
                return
            self.connections |= {near, far}
        back = threading.Thread(target=self._pump, args=(far, near, self.flow["out"]), daemon=True)
        back.start()
        self._pump(near, far, self.flow["in"])
        back.join()
        with self.lock:
            self.connections -= {near, far}
        near.close()
        far.close()

    def _pump(self, source, sink, flow):
        try:
            while data := source.recv(1 << 16):
                flow.wait()
                sink.sendall(data)
        except OSError:
            pass
        flow.wait()  # the end is held too
        hang_up(source)
        hang_up(sink)


def hang_up(s):
    try:
        s.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
