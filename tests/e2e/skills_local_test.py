#!/usr/bin/env python3
# timeout: 120
"""Skills without a VM: the catalogue is in the prompt, a skill's files are read and run and cannot be changed,
what is edited is there at the next turn, and what is not allowed or not usable is not.
"""
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from local_place import UID, LocalPlace  # noqa: E402
from pty_driver import PEACRABD, need  # noqa: E402
from scripted_model import Model  # noqa: E402


class Place(LocalPlace):
    def skill(self, name, text, **files):
        folder = self.config / "skills" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "SKILL.md").write_text(text)
        for file, content in files.items():
            path = folder / file.replace("__", "/").replace("_sh", ".sh")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            path.chmod(0o755)


def front(description):
    return f"---\nname: x\ndescription: {description}\n---\n# Do this\n"


def main():
    if not os.access(PEACRABD, os.X_OK):
        sys.exit(f"{PEACRABD} is not built")
    place = Place(Model())

    place.ask()
    need(place.model.catalogue() == ({}, None), "without a skill nothing of it is in the prompt: " + place.model.system())
    need("kill" not in place.model.system(), "nor the word")
    print("ok: without any skill nothing of it is in the prompt")

    place.skill("one", front("the first of them"), scripts__run_sh="#!/bin/sh\necho ran $0 as $1\n")
    place.skill("bad", "# no front matter\n")
    place.skill("bent", "\ufeff---\r\ndescription: Use it: always\r\n---\r\n")
    (place.config / "skills" / "link").symlink_to("/etc")
    (place.config / "skills" / "one" / "secret").symlink_to(place.config / "config.yaml")
    place.ask()
    skills, folder = place.model.catalogue()
    need(skills == {"one": "the first of them", "bent": "Use it: always"}, f"the catalogue is {skills}")
    body, ran, listed, written, moved = place.ask(
        ("read", {"path": f"{folder}/one/SKILL.md"}),
        ("shell", {"command": f"{folder}/one/scripts/run.sh me"}),
        ("shell", {"command": f"ls -A {folder}/one {folder}; ls -A $(dirname {folder})/../hooks"}),
        ("write", {"path": f"{folder}/one/SKILL.md", "content": "mine"}),
        ("shell", {"command": f"cd {folder}/one && (echo x >SKILL.md; rm -rf .; mv . ../x; touch y; chmod 777 .); "
                              "cat SKILL.md"}))
    need("# Do this" in body, f"read gave {body}")
    need("run.sh as me" in ran, f"the script gave {ran}")
    need("secret" not in listed and "link" not in listed, f"a link was packed: {listed}")
    need("cannot" in listed, f"the hooks' folder is seen: {listed}")
    need("outside of the workspace" in written, f"write gave {written}")
    need("# Do this" in moved, f"it was changed: {moved}")
    print("ok: a skill is read and run, and cannot be changed")

    place.skill("one", front("the first, edited"))
    place.ask()
    skills, edited = place.model.catalogue()
    need(skills["one"] == "the first, edited" and edited != folder, f"an edited skill is told of: {skills}")
    shutil.rmtree(place.config / "skills" / "bent")
    place.ask()
    need("bent" not in place.model.catalogue()[0], "a removed skill is gone")
    print("ok: what was edited or removed is so at the next turn")

    place.skill("many", front("a" * 500), **{f"f{i}": "" for i in range(3000)})
    place.ask()
    need(set(place.model.catalogue()[0]) == {"one"}, f"one with too many files is left out: {place.model.catalogue()[0]}")
    need(set(place.model.catalogue()[0]) == {"one"}, "and the others stay")
    shutil.rmtree(place.config / "skills" / "many")
    for i in range(150):
        place.skill(f"s{i}", front("word " * 100))
    place.ask()
    system = place.model.system()
    need(len(system) < 10000 and "\ns149: word word" in system, f"{len(system)} bytes of prompt")
    print("ok: many skills are shortened until they fit")

    place.untouched = True
    shelf = pathlib.Path(place.home.env["XDG_CACHE_HOME"]) / "peacrab" / "local" / "shelf"
    inode = (shelf / "kept.json").stat().st_ino
    before = place.model.catalogue()
    place.ask()
    need(place.model.catalogue() == before and (shelf / "kept.json").stat().st_ino == inode, "nothing is unpacked again")
    print("ok: what has not changed is used as it is there")

    work = place.work
    place.home.env["HOME"] = str(place.home.path)
    place.work = pathlib.Path(place.home.path)
    tried = place.ask(("shell", {"command": f"cd {shelf} && for f in $(find . -name SKILL.md); do "
                                            "chmod u+w $f; echo bad >$f; done; echo tried"}))
    need(place.model.catalogue() == ({}, None), "where tools could write them there are none")
    need("no skills here" in place.said, f"and it is said: {place.said}")
    print("ok: where tools could write the skills there are none, and it says so")
    place.work = work
    body = place.ask(("shell", {"command": f"grep -rl bad {before[1]}; cat {before[1]}/one/SKILL.md"}))
    need(place.model.catalogue() == before and "/SKILL.md\n" not in body[0] and "# Do this" in body[0],
         f"nor has a tool written what is used later: {tried} {body}")
    place.work = shelf
    place.model.plays("done")
    refused = subprocess.run([place.program, "ask", "--model", "scripted", "--model-url", place.model.url, "go"],
                             cwd=shelf, env=place.home.env, capture_output=True, text=True, timeout=60, check=False,
                             stdin=subprocess.DEVNULL, **({} if UID is None else {"user": UID, "group": UID}))
    need(refused.returncode != 0 and "start in another folder" in refused.stderr, f"in the shelf itself: {refused}")
    print("ok: no tool writes what a later run uses")


if __name__ == "__main__":
    main()
