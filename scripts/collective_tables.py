#!/usr/bin/env python3
"""collective_tables.py FILE: the figures of `hydrogen-bench collectives --beside gloo,mpi --json FILE` as the tables of
docs/performance.md, on standard output. A ratio in bold misses its goal. Exit codes: 0 done, 2 the file cannot be used."""
import json
import sys

BOUND = "the addition alone"
SHORT = {"Gloo": "Gloo", "Open MPI": "Open MPI", BOUND: "the bound", "plain exchange": "the plain exchange"}
# What every rank's link would carry if the call moved the least that it can, as shares of the size; n: ranks.
SHARES = {"all_reduce": lambda n: 2 * (n - 1) / n, "all_gather": lambda n: (n - 1) / n,
          "reduce_scatter": lambda n: (n - 1) / n, "broadcast": lambda n: 1}
ORDER = [BOUND, "threads", "processes, gang buffers", "processes", "processes, staged", "plain exchange", "TCP"]
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}


def short(name):
    return next((text for start, text in SHORT.items() if name.startswith(start)), name)


def in_order(rows):
    """By contender, the peers last."""
    def place(row):
        who = row[0] if isinstance(row[0], str) else row[0][0]
        return ORDER.index(who) if who in ORDER else len(ORDER)
    return sorted(rows, key=place)


def number(x):
    if x >= 1000:
        return f"{x:,.0f}"
    return f"{x:.3g}"


def bytes_of(size):
    count, _, unit = size.partition(" ")
    return float(count) * UNITS.get(unit, 0) if unit else 0


class call:
    """All that was measured of one call with so many ranks."""

    def __init__(self):
        self.sizes, self.times, self.bus, self.ratios = [], {}, {}, {}

    def add(self, operation, ranks, who, row):
        size = row["size"]
        if size not in self.sizes:
            self.sizes.append(size)
        self.times.setdefault(who, {})[size] = f"{number(row['median'])} ({number(row['p99'])})"
        data = bytes_of(size)
        if operation in SHARES and data >= 1 << 10:
            self.bus.setdefault(who, {})[size] = number(data * SHARES[operation](ranks) / row["median"] / 1e3)
        beside = row.get("beside")
        if not beside or "ratio" not in beside:
            return
        if beside["name"] in (BOUND, "plain exchange"):
            self.times.setdefault(beside["name"], {})[size] = number(beside["value"])
        missed = "ratio" in row.get("goal", {}).get("is", "") and not row["goal"]["met"]
        text = number(beside["ratio"])
        self.ratios.setdefault((who, short(beside["name"])), {})[size] = f"**{text}**" if missed else text

    def table(self, what, rows):
        print(f"| {what} | " + " | ".join(self.sizes) + " |")
        print("|---" * (len(self.sizes) + 1) + "|")
        for name, cells in rows:
            print(f"| {name} | " + " | ".join(cells.get(size, "–") for size in self.sizes) + " |")
        print()

    def show(self, title):
        print(f"**{title}**\n")
        self.table("us, median (p99)" if "CPU" not in title else "% of a core", in_order(self.times.items()))
        if self.bus:
            self.table("bus bandwidth, GB/s", in_order(self.bus.items()))
        if self.ratios:
            self.table("times as fast as", [(f"{who} beside {other}", cells) for (who, other), cells in in_order(self.ratios.items())])


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        with open(sys.argv[1]) as f:
            figures = json.load(f)
        rows = [r for r in figures["results"] if r["benchmark"] == "collectives"]
    except (OSError, ValueError, KeyError) as e:
        print(f"{sys.argv[1]}: {e}", file=sys.stderr)
        return 2
    if figures.get("quick"):
        print("measured with --quick: figures that mean nothing", file=sys.stderr)
    calls = {}
    for row in rows:
        # "all_reduce, 1 ms idle, 4 processes, staged": the call may have a comma, too.
        words = row["case"].split(", ")
        at = next(i for i, word in enumerate(words) if i > 0 and word.split(" ")[0].isdigit() and "idle" not in word)
        ranks, _, who = ", ".join(words[at:]).partition(" ")
        operation = ", ".join(words[:at])
        who = who.removeprefix("of ").removeprefix("over ").removeprefix("processes over ")
        calls.setdefault((operation, int(ranks)), call()).add(operation, int(ranks), who, row)
    machine = figures["machine"]
    print(f"{machine['cpu']}, {machine['cores']} CPUs, {machine['memory_gib']:.0f} GiB, {machine['kernel']}, {machine['compiler']}.\n")
    for (operation, ranks), measured in calls.items():
        measured.show(f"{operation}, {ranks} ranks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
