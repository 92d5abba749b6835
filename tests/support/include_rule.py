#!/usr/bin/env python3
"""Checks that a folder's files include only what the layers allow (docs/architecture.md): include_rule.py REPOSITORY"""
import pathlib
import re
import sys

AREAS = {  # area: the areas that it stands on, besides itself
    "base": set(),
    "data": {"base"},
    "comm": {"base"},
    "gang": {"base"},
    "gpu": {"base"},
    "exec": {"base", "data", "comm", "gpu"},
    "plan": {"base", "data", "comm", "gpu", "exec"},
    "job": {"base", "data", "comm", "gpu", "exec", "plan", "gang"},
    "actors": {"base", "data", "comm", "gpu", "exec", "plan", "gang", "job"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')


def area_of(path):
    parts = path.parts
    return parts[parts.index("hydrogen") + 1] if "hydrogen" in parts[:-1] else None


def problems(root):
    for folder in ("libcore", "gpu", "actors"):
        for path in sorted((root / folder).rglob("*.?pp")):
            area = area_of(path.relative_to(root))
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                target = match.group(1)
                where = f"{path.relative_to(root)}:{number}"
                if target.startswith("caf/") and folder != "actors":
                    yield f"{where}: only actors/ may include CAF, this includes {target}"
                if re.match(r"cuda|cublas|nv", target) and path.suffix == ".hpp":
                    yield f"{where}: headers name no CUDA type, this includes {target}"
                if not target.startswith("hydrogen/") or target.startswith("hydrogen/schema/"):
                    continue
                used = target.split("/")[1]
                if "/" not in target[len("hydrogen/"):]:
                    continue  # an umbrella header, <hydrogen/hydrogen.hpp>
                if area in AREAS and used != area and used not in AREAS[area]:
                    yield f"{where}: {area} does not stand on {used}, this includes {target}"


def main():
    root = pathlib.Path(sys.argv[1])
    found = list(problems(root))
    for line in found:
        print(line)
    if not any((root / "libcore").rglob("*.hpp")):
        print("no headers found: wrong folder?")
        return 1
    return 1 if found else 0


sys.exit(main())
