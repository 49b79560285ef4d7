#!/usr/bin/env python3
"""Runs every snippet of README.md, in a folder of its own with the example policies, and checks what it prints."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = "the work runs\n"


def snippets() -> dict[str, str]:
    found = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    by_language = dict(found)
    if len(by_language) != len(found) or set(by_language) != set(RUNNERS):
        sys.exit(
            f"README.md has snippets in {[language for language, _ in found]}, expected one in each of {list(RUNNERS)}"
        )
    return by_language


def run(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode != 0 or done.stderr:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def run_c(snippet: str, folder: Path) -> str:
    (folder / "snippet.c").write_text(snippet)
    build = ROOT / "build"
    compiler = [os.environ.get("CC", "gcc"), "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    run(
        [*compiler, f"-I{ROOT}/include", "snippet.c", "-osnippet", f"-L{build}", "-laperture", f"-Wl,-rpath,{build}"],
        folder,
    )
    return run(["./snippet"], folder)


def run_python(snippet: str, folder: Path) -> str:
    (folder / "snippet.py").write_text(snippet)
    return run([sys.executable, "snippet.py"], folder, PYTHONPATH=str(ROOT / "bindings/python/src"))


def run_node(snippet: str, folder: Path) -> str:
    (folder / "node_modules").mkdir()
    (folder / "node_modules/libaperture").symlink_to(ROOT / "bindings/node")
    (folder / "snippet.mjs").write_text(snippet)
    return run([os.environ.get("NODE", "node"), "snippet.mjs"], folder)


def run_go(snippet: str, folder: Path) -> str:
    # Go finds its module by the folder that it runs in, so the program is compiled there and run here.
    (folder / "snippet.go").write_text(snippet)
    run([os.environ.get("GO", "go"), "build", "-o", str(folder / "snippet-go"), str(folder / "snippet.go")], ROOT)
    return run(["./snippet-go"], folder)


RUNNERS = {"c": run_c, "python": run_python, "js": run_node, "go": run_go}


def main() -> None:
    for language, snippet in snippets().items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "examples").symlink_to(ROOT / "examples")
            printed = RUNNERS[language](snippet, folder)
            if printed != EXPECTED:
                sys.exit(f"the {language} snippet of README.md printed {printed!r}, expected {EXPECTED!r}")
            sys.stdout.write(f"README.md: the {language} snippet runs\n")
    sys.stdout.write(f"{len(RUNNERS)} passed, 0 failed\n")


if __name__ == "__main__":
    main()
