"""The programs that people copy from run, and do what they say."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest
from processes import DEADLINE, PYTHON, ROOT, FakeAgent, python_environment

CHECKOUT = ROOT / "examples" / "python" / "checkout.py"
SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "bindings" / "python" / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_the_programs_of_the_readme_run(number: int, policy_file: Callable[..., Path]) -> None:
    policy = policy_file()
    policy.rename(policy.parent / "policies.yaml")
    done = subprocess.run(
        # Python 3.12 and newer warn of every fork in a process with threads.
        [*PYTHON, "-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c", SNIPPETS[number]],
        cwd=policy.parent,
        env=python_environment(None),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("the work is done\n", "", 0)


def test_the_readme_has_programs() -> None:
    assert len(SNIPPETS) == 6


def checkout(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-X", "dev", str(CHECKOUT), *map(str, arguments)],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.txt"
    path.write_text("# tier user\n\nsilver bob\n" + "gold alice\n" * 5 + "gold carol\n")
    return path


def test_the_example_counts_by_tier(policy_file: Callable[..., Path], trace: Path) -> None:
    done = checkout("--address", f"local:{policy_file()}", "--user-prefix", "x-", trace)
    assert (done.stdout, done.stderr, done.returncode) == ("gold\t4\t2\t3600\nsilver\t1\t0\t0\n", "", 0)


def test_the_example_speaks_with_an_agent(agent: Callable[..., FakeAgent], trace: Path) -> None:
    fake = agent("-decision", "reject", "-wait-time", "1.1s")
    done = checkout("--address", fake.address, "--insecure", "--user-prefix", "x-", trace)
    assert (done.stdout, done.stderr, done.returncode) == ("gold\t0\t6\t2\nsilver\t0\t1\t2\n", "", 0)
    checks = fake.report()["checks"]
    assert [check["labels"] for check in checks[:2]] == [
        {"tier": "silver", "user_id": "x-bob"},
        {"tier": "gold", "user_id": "x-alice"},
    ]


def test_the_example_fails_when_nothing_is_decided(agent: Callable[..., FakeAgent], trace: Path) -> None:
    done = checkout("--address", agent("-error", "INTERNAL").address, "--insecure", trace)
    assert (done.stdout, done.returncode) == ("", 1)
    assert done.stderr.startswith("checkout: ")
    assert "as the test asked" in done.stderr


@pytest.mark.parametrize(
    ("address", "content", "message"),
    [
        ("local:/absent/policy.yaml", "gold alice\n", "checkout: .*/absent/policy.yaml"),
        ("local:", "gold\n", "checkout: .*trace.txt: line 1: expected"),
        ("local:", None, "checkout: .*No such file"),
    ],
)
def test_the_example_names_what_is_wrong(trace: Path, address: str, content: "str | None", message: str) -> None:
    trace.unlink() if content is None else trace.write_text(content)
    done = checkout("--address", address, trace)
    assert (done.stdout, done.returncode) == ("", 1)
    assert re.match(message, done.stderr)
    assert len(done.stderr.splitlines()) == 1
