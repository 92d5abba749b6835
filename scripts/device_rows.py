#!/usr/bin/env python3
"""device_rows.py FOLDER: what a GPU's figures must show, from FOLDER/kernels.json and FOLDER/dispatch.json, as gpu.sh
writes them. One line for each row: the case, its goal, its figure, whether the goal is met; or why it is not there.
Exit codes: 0 all rows are there, whatever their figures; 1 some are not."""
import json
import os
import sys

MOVING = ["fill", "axpy", "reduce 2 ranks", "reduce 4 ranks", "reduce 8 ranks", "cast float to half",
          "cast half to float", "cast float to bfloat16", "cast bfloat16 to float", "cast double to float", "Adam"]
TOLD = [(name, size) for name in ("completion to mail", "completion to mail, p99")
        for size in ("1 empty kernel", "1 kernel of 1 ms")]
COPIES = [(f"pinned copy to the {way}", size) for way in ("device", "host") for size in ("4 MiB", "64 MiB", "256 MiB")]
# Of each file: the case without its device, and the size if there are several.
ROWS = {
    "kernels": [(name, None) for name in MOVING] + COPIES,
    "dispatch": [("added to a launch by an actor", None)] + TOLD + [(name, None) for name in (
        "8 actors, axpy", "8 actors, matrix product", "8 actors, small kernels", "replayed step")],
}


def figure(row):
    goal = row["goal"]["is"]
    if goal.startswith("ratio"):
        return f"{row['beside']['ratio']:.3g} of {row['beside']['name']}"
    return f"{row['p99' if goal.startswith('p99') else 'median']:.3g} {row['unit']}"


def line(name, size, *rest):
    return "  ".join([f"{name:<30}", f"{size:<26}", *rest])


def rows_of(file, benchmark):
    """Lines, and whether all rows are there."""
    figures, why = {}, ""
    try:
        with open(file) as f:
            figures = json.load(f)
    except (OSError, ValueError) as e:
        why = str(e)
    on_gpu = [r for r in figures.get("results", []) if "goal" in r and not r.get("device", "virtual-").startswith("virtual-")]
    remarks = [r["text"] for r in figures.get("remarks", []) if r["benchmark"] == benchmark]

    def reason(name):
        said = [t for t in remarks if t.startswith(("no GPU is measured", name.removesuffix(", p99") + ", "))]
        return why or "; ".join(dict.fromkeys(said)) or "no such row"

    lines, complete = [], True
    if figures.get("quick"):
        lines.append(f"{benchmark} was measured with --quick: its figures mean nothing")
    for name, size in ROWS[benchmark]:
        found = [r for r in on_gpu if r["case"].rpartition(", ")[0] == name and size in (None, r["size"])]
        complete = complete and bool(found)
        if not found:
            lines.append(line(name, size or "", f"not measured: {reason(name)}"))
        for r in found:
            lines.append(line(name, r["size"], f"{r['goal']['is']:<14}", f"{figure(r):<26}",
                              "met" if r["goal"]["met"] else "MISSED"))
    return figures.get("devices", []), lines, complete


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    devices, lines, complete = [], [], True
    for benchmark in ROWS:
        names, some, all_there = rows_of(os.path.join(sys.argv[1], f"{benchmark}.json"), benchmark)
        devices += [n for n in names if not n.startswith("virtual-") and n not in devices]
        lines += some
        complete = complete and all_there
    print("device:", ", ".join(devices) or "none")
    print("\n".join(lines))
    return 0 if complete else 1


sys.exit(main())
