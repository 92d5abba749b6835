"""Rounds of random disasters on a cluster; after each it must come to rest. See --help of scripts/chaos.sh."""
import argparse
import collections
import json
import os
import random
import shutil
import signal
import sys
import time

from cluster import REST, Broken, Cluster
from disasters import Round
from drivers import models


def play(one, cluster, right):
    """The round, and what became of it in one line."""
    began = time.monotonic()
    try:
        one.play()
        deadline = time.monotonic() + REST
        for driver in one.drivers:
            driver.end(deadline, right, one.explains)
        cluster.await_rest(deadline, coordinator_was_away=one.hit_coordinator("kill"))
        cluster.probe()
        cluster.await_rest(time.monotonic() + REST)
        if crashes := cluster.crashes():
            raise Broken("processes ended that nobody ended: " + "; ".join(crashes))
    finally:
        one.seconds = time.monotonic() - began
        said = "; ".join(d.words() for d in one.disasters)
        ends = ", ".join(f"{d.words()}: {d.ended or 'no end'}" for d in one.drivers)
        print(f"seed {one.seed}: {said} | {ends} | {one.seconds:.1f} s", flush=True)


def keep_all(one, cluster, why):
    """Everything that is needed to look into it."""
    status = cluster.status()
    processes = cluster.processes()
    os.makedirs(cluster.path("logs"), exist_ok=True)
    cluster.save_logs()
    for i, driver in enumerate(one.drivers if one else []):
        if driver.program:
            with open(cluster.path("logs", f"driver-{i}-{driver.kind.replace(' ', '-')}-{driver.program.pid}.log"), "w") as f:
                f.write(f"code {driver.program.process.poll()}, signals {driver.signals}\n{driver.program.log()}\n")
    with open(cluster.path("logs", "status.json"), "w") as f:
        json.dump(status, f, indent=2)
    with open(cluster.path("logs", "why.txt"), "w") as f:
        f.write(f"{why}\n\n{processes}\n")


def summary(rounds, cluster):
    disasters = collections.Counter(d.kind() for one in rounds for d in one.disasters if d.hit)
    ends = collections.Counter(d.ended.split(":")[0] for one in rounds for d in one.drivers)
    causes = collections.Counter(d.ended for one in rounds for d in one.drivers if d.ended.startswith("failed"))
    seconds = sorted(one.seconds for one in rounds)
    print(f"\n{len(rounds)} rounds, {sum(seconds):.0f} s; one: median {seconds[len(seconds) // 2]:.1f} s, longest {seconds[-1]:.1f} s")
    for title, counts in (("disasters", disasters), ("ends of drivers", ends), ("causes", causes)):
        print(f"\n{title}")
        for name, count in counts.most_common():
            print(f"  {count:5}  {name}")
    print(f"\nat rest at most: {cluster.most}; fresh: {cluster.idle}")
    print(f"checkpoints left by runs that ended while the coordinator was away: {cluster.leftovers}")


def main():
    parse = argparse.ArgumentParser(prog="chaos.sh", description=__doc__)
    parse.add_argument("--rounds", type=int, default=30)
    parse.add_argument("--seed", type=int, help="of the first round; each one after has the next [random]")
    parse.add_argument("--keep", action="store_true", help="keep the folder of the cluster also when all is well")
    options = parse.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the cluster is stopped then too
    right = models()
    cluster = Cluster()
    rounds, code, one, why = [], 0, None, "all is well"
    try:
        cluster.start()
        for i in range(options.rounds):
            one = Round(seed + i, cluster)
            play(one, cluster, right)
            rounds.append(one)
        summary(rounds, cluster)
    except Broken as broken:
        print(f"\nBROKEN: {broken}", flush=True)
        code, why = 1, broken
    finally:
        if code or options.keep:
            keep_all(one, cluster, why)
        cluster.stop()
        if code or options.keep:
            print(f"logs, status and data: {cluster.folder}")
        else:
            shutil.rmtree(cluster.folder, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
