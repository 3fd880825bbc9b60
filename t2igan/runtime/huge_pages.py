"""Large memory pages of 2 MiB, which make small CPU steps faster.

A step's working memory is fetched from the kernel anew at every call, in pages of 4 KiB by
default; docs/performance.md has what that costs. glibc asks for large pages where the environment
says so when a process starts, so a process that wants them has to start again.

Reference: glibc manual, "Memory Allocation Tunables", glibc.malloc.hugetlb (glibc 2.35, February
2022); Linux, Documentation/admin-guide/mm/transhuge.rst.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_VARIABLE = "GLIBC_TUNABLES"
_TUNABLE = "glibc.malloc.hugetlb"
_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_huge_pages() -> None:
    """Starts this very process again, once, where glibc has yet to be told; else does nothing.

    For a process's first moments: what it has in memory is gone, its number, its words, and what
    it has open stay. `GLIBC_TUNABLES=glibc.malloc.hugetlb=0` keeps a process as it is.
    """
    environment = _environment(os.environ, _kernel_setting())
    if environment is None:
        return
    try:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
    except OSError:  # slower, not worse
        return


def _environment(now: Mapping[str, str], kernel_setting: str) -> dict[str, str] | None:
    """Returns the environment to start again with, or None where that would change nothing.

    Args:
      now: the environment.
      kernel_setting: the kernel's choices, the chosen one in brackets. With "always" nobody needs
        to ask, with "never" asking does not help.
    """
    told = now.get(_VARIABLE, "")
    if "[madvise]" not in kernel_setting or _TUNABLE in told:
        return None
    return {**now, _VARIABLE: ":".join(filter(None, [told, f"{_TUNABLE}=1"]))}


def _kernel_setting() -> str:
    try:
        return _SETTING.read_text() if sys.executable else ""
    except OSError:  # not Linux, or a kernel without
        return ""
