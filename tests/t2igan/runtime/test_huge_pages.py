"""A process starts again with large pages, once, and only where that changes something."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from t2igan import __main__
from t2igan.cli import main as cli
from t2igan.runtime import huge_pages

ON_REQUEST = "always [madvise] never\n"
ASKED = "glibc.malloc.hugetlb=1"


class _StartedAgainError(Exception):  # what execve does instead of returning
    pass


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """The calls that would have started the process again, on a kernel that waits to be asked."""
    calls: list[tuple] = []

    def execve(*call: object) -> None:
        calls.append(call)
        raise _StartedAgainError

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(huge_pages, "_kernel_setting", lambda: ON_REQUEST)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    return calls


@pytest.mark.parametrize(
    ("told", "kernel", "expected"),
    [
        (None, ON_REQUEST, ASKED),
        ("glibc.malloc.perturb=3", ON_REQUEST, f"glibc.malloc.perturb=3:{ASKED}"),
        (ASKED, ON_REQUEST, None),
        ("glibc.malloc.hugetlb=0", ON_REQUEST, None),  # the user's own choice
        (None, "[always] madvise never\n", None),
        (None, "always madvise [never]\n", None),
        (None, "", None),  # no such kernel
    ],
)
def test_asks_only_where_asking_helps(told: str | None, kernel: str, expected: str | None) -> None:
    now = {"HOME": "/home"} | ({} if told is None else {"GLIBC_TUNABLES": told})
    expect = None if expected is None else {"HOME": "/home", "GLIBC_TUNABLES": expected}
    assert huge_pages._environment(now, kernel) == expect


@pytest.mark.parametrize("verb", ["train", "sample", "evaluate", "train_matcher"])
def test_subcommands_that_compute_start_again_with_the_same_words(
    verb: str, started: list[tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["t2igan", verb, "--some=1"])
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-X", "dev", "-m", "t2igan", verb, "--some"])
    with pytest.raises(_StartedAgainError):
        __main__.run()
    ((program, words, environment),) = started
    assert program == sys.executable
    assert words == [sys.executable, "-X", "dev", "-m", "t2igan", verb, "--some"]
    assert environment == {**os.environ, "GLIBC_TUNABLES": ASKED}


@pytest.mark.parametrize("words", [[], ["--help"], ["report"], ["train", "--help"], ["trian"]])
def test_nothing_else_does(
    words: list[str], started: list[tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["t2igan", *words])
    monkeypatch.setattr(cli, "main", lambda: 7)
    assert __main__.run() == 7
    assert not started
    assert not cli.computes(words)


def test_where_it_cannot_start_again_it_goes_on(
    started: list[tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "execve", refuse)
    huge_pages.restart_with_huge_pages()


def test_a_process_that_started_again_has_large_pages() -> None:
    """Seen from the kernel: 64 MiB that malloc got are in pages of 2 MiB."""
    if "[madvise]" not in huge_pages._kernel_setting():
        pytest.skip("the kernel does not wait to be asked for large pages")
    code = (
        "import ctypes, os; from t2igan.runtime import huge_pages;"
        "print('start', flush=True); huge_pages.restart_with_huge_pages();"
        "libc = ctypes.CDLL(None);"
        "libc.malloc.restype = ctypes.c_void_p; size = 1 << 26;"
        "block = libc.malloc(ctypes.c_size_t(size)); ctypes.memset(block, 1, size);"
        "text = open('/proc/self/smaps_rollup').read().partition('AnonHugePages:')[2];"
        "print(os.getpid(), text.split()[0])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[3],
    )
    lines = child.communicate(timeout=60)[0].split()
    assert lines[:3] == ["start", "start", str(child.pid)]  # twice, by the same process
    assert int(lines[3]) > 32 << 10  # in KiB
