#!/usr/bin/env python3
"""Checks that the includes of runtime/ follow the table in runtime/README.md, and counts.

The table has rows `| N | `a` `b` … | …`: the files of layer N. A file may include headers of its own
layer or a lower one; a file that is in no row, or a row without its file, is an error. Prints files,
lines and (roughly) tokens of the core, of all of runtime/, and of everything first-party.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUNTIME = ROOT / "runtime"
ROW = re.compile(r"^\| (\d+) \| (.+?) \|")
INCLUDE = re.compile(r'^\s*#include "([^"]+)"', re.M)
# Core files that may name a file of a room: where what a model is told, tools, dialects, builtins, the parts of
# cells, the keys of the configuration, the warden's own tools and channels are registered.
REGISTRIES = {"agent", "policy", "llm", "tools", "cell", "jail", "config", "guest", "http", "main", "warden_turns"}
# Asked wherever something protects. The sources that do are compiled once more for the test-only binary.
ASKED = "cells/mechanism"
CORE_LIMIT = 9460  # lines; the goal is 6,000: lower it with every file that shrinks, never raise it
TOKEN = re.compile(r"\w+|[^\w\s]")


def read_table():
    layers = {}
    for line in (RUNTIME / "README.md").read_text().splitlines():
        match = ROW.match(line)
        if match:
            for name in re.findall(r"`([\w/]+)(?:\.h|\.cc)?`", match.group(2)):
                if name in layers:
                    sys.exit(f"layers: {name}: stands in two rows")
                layers[name] = int(match.group(1))
    return layers


def stem(path):
    return path.relative_to(RUNTIME).with_suffix("").as_posix()


def check(layers):
    errors = []
    sources = sorted(p for p in RUNTIME.rglob("*") if p.suffix in (".h", ".cc"))
    known = {stem(p) for p in sources}
    errors += [f"{name}: in the table, but there is no such file" for name in sorted(layers.keys() - known)]
    errors += [f"{name}: in no row of the table" for name in sorted(known - layers.keys())]
    for path in sources:
        own = stem(path)
        for header in INCLUDE.findall(path.read_text()):
            if header.startswith("../") or "tools/" in header:
                errors.append(f"{own}: includes {header}: outside of runtime/")
                continue
            target = header.removesuffix(".h")
            if target not in layers or own not in layers:
                continue
            if layers[target] > layers[own]:
                errors.append(f"{own} (layer {layers[own]}) includes {target} (layer {layers[target]})")
            if "/" in target and "/" not in own and own not in REGISTRIES and target != ASKED:
                errors.append(f"{own}: the core names a room's file: {target}")
    build = (RUNTIME / "meson.build").read_text()
    listed = re.search(r"^runtime_asking_sources = files\((.*?)^\)", build, re.M | re.S)
    twice = set(re.findall(r"'(.+?)'", listed.group(1))) | {"main.cc", ASKED + ".cc"}
    asking = {p.relative_to(RUNTIME).as_posix() for p in sources
              if p.suffix == ".cc" and f'"{ASKED}.h"' in p.read_text()}
    errors += [f"{name}: asks for mechanisms, but is not in runtime_asking_sources"
               for name in sorted(asking - twice)]
    return errors


def count(title, paths):
    texts = [p.read_text(errors="replace") for p in paths]
    lines = sum(t.count("\n") for t in texts)
    tokens = sum(len(TOKEN.findall(t)) for t in texts)
    print(f"{title:28} {len(paths):4} files {lines:6} lines {tokens:7} tokens")
    return lines


def main():
    layers = read_table()
    if not layers:
        sys.exit("layers: no table in runtime/README.md")
    errors = check(layers)
    for error in errors:
        print(f"layers: {error}", file=sys.stderr)
    code = lambda folder: [p for p in folder.rglob("*") if p.suffix in (".h", ".cc")]
    core = count("core of runtime/", [p for p in code(RUNTIME) if p.parent == RUNTIME])
    count("all of runtime/", code(RUNTIME))
    count("runtime/, tools/, tests/", code(RUNTIME) + code(ROOT / "tools") + code(ROOT / "tests"))
    if core > CORE_LIMIT:
        print(f"layers: the core has {core} lines, more than {CORE_LIMIT}", file=sys.stderr)
        errors.append("size")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
