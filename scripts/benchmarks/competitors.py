"""The baselines of a benchmark, and the processes that run them."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from input_pipeline.errors import UserError

_HERE = Path(__file__).resolve().parent
OURS = "t2igan"
_ALONE = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"


@dataclasses.dataclass(frozen=True)
class Competitor:
    """One way to do the work.

    Attributes:
      name: in tables.
      module: beside this file, see child.py.
      settings: the module's own.
      needs: the package to look for, and the key of the Python that has it.
      exact: computes in float32, so that it is held to this project's numbers and counts as a
        rival; the others are shown for information.
    """

    name: str
    module: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    needs: str = "jax"
    exact: bool = True


def everyone(torch_device: str) -> list[Competitor]:
    """Returns all competitors in the order of the tables, this project first.

    Args:
      torch_device: "cpu" or "cuda".
    """
    bfloat16 = {"config": {"train.compute_dtype": "bfloat16"}}
    torch = lambda name, **settings: Competitor(  # noqa: E731
        f"torch {name}",
        "torch_peer",
        {"device": torch_device, **settings},
        "torch",
        exact=not settings.get("autocast"),
    )
    last = {"channels_last": True}
    return [
        Competitor(OURS, "t2igan_peer"),
        Competitor("t2igan plain", "t2igan_peer", {"form": "plain"}),
        Competitor("t2igan small pages", "t2igan_peer", {"small_pages": True}),
        Competitor("t2igan bfloat16", "t2igan_peer", bfloat16, exact=False),
        Competitor("keras", "keras_peer", {}, "keras"),
        Competitor("keras xla", "keras_peer", {"xla": True}, "keras"),
        torch("eager"),
        torch("compile", compile=True),
        torch("channels_last", **last),
        torch("channels_last compile", **last, compile=True),
        torch("channels_last bfloat16", **last, autocast=True),
        torch("channels_last compile bfloat16", **last, compile=True, autocast=True),
    ]


def chosen(competitors: list[Competitor], names: str) -> list[Competitor]:
    """Returns those of a comma-separated list of names; all of them for an empty one.

    Raises:
      UserError: no competitor has that name.
    """
    by_name = {one.name: one for one in competitors}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in by_name:
            raise UserError(f"--only: no competitor {name!r}; there are {', '.join(by_name)}")
    return [by_name[name] for name in wanted] or competitors


def missing(competitors: list[Competitor], pythons: Mapping[str, str]) -> dict[str, str]:
    """Returns package -> why it cannot compete: its Python does not start, or lacks it."""
    found = {}
    for package in sorted({one.needs for one in competitors}):
        try:
            call = [pythons[package], "-c", _ALONE, package]
            if subprocess.run(call, capture_output=True, check=False).returncode:
                found[package] = f"{pythons[package]} has no {package}"
        except OSError as error:
            found[package] = f"{pythons[package]}: {error.strerror}"
    return found


class Process:
    """A competitor at work in a process of its own, which is stopped outside of its turns.

    Stopped, because idle threads of some frameworks spin for a while, at the others' cost.
    """

    def __init__(
        self, competitor: Competitor, python: str, problem: Path, what: str, folder: Path
    ) -> None:
        """Starts the process; it imports and builds, and then waits to be asked.

        Args:
          competitor: what it runs.
          python: that has the packages the competitor needs.
          problem: npz file, see problem.py.
          what: "train" or "sample".
          folder: for its settings and its log.
        """
        self.name = competitor.name
        stem = "_".join([*competitor.name.split(), what])
        settings = folder / f"{stem}.json"
        settings.write_text(json.dumps({**competitor.settings, "what": what}))
        self._log = folder / f"{stem}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [python, _HERE / "child.py", competitor.module, problem, settings],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | _environment(competitor.settings),
            )

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Returns the answer to one request, see child.py.

        Raises:
          UserError: the process ended instead; the last line of its log is quoted.
        """
        self._process.send_signal(signal.SIGCONT)
        try:
            print(json.dumps({"do": do, **request}), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            lines = self._log.read_text().strip().splitlines() or ["no word in its log"]
            raise UserError(
                f"{self.name} ended at {do!r}: {lines[-1]}; leave it out (--only=...) or mend it"
            )
        self._process.send_signal(signal.SIGSTOP)
        return json.loads(answer)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


def _environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """What a child needs: this project on its path, and no more of a GPU's memory than it uses.

    All have large pages of memory, as the command `t2igan` has (see `t2igan.runtime.huge_pages`).
    """
    root = str(_HERE.parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    wanted = {
        "PYTHONPATH": os.pathsep.join(paths),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "GLIBC_TUNABLES": f"glibc.malloc.hugetlb={int(not settings.get('small_pages'))}",
    }
    if settings.get("devices", 1) > 1:
        count = f"--xla_force_host_platform_device_count={settings['devices']}"
        wanted["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {count}".strip()
    return wanted
