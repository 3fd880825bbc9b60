"""The command line: instant help, near names, one line for a mistake, the right exit status."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import subprocess
import sys
import types
from collections.abc import Callable

import pytest

from input_pipeline.errors import UserError
from t2igan.cli import main as cli


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable], None]:
    """Makes `t2igan fake` run a function."""

    def install(main: Callable[[argparse.Namespace], None], *, takes_config: bool = False) -> None:
        def add_flags(parser: argparse.ArgumentParser) -> None:
            parser.add_argument("--batch_size", type=int, default=1, help="100% of it")
            parser.add_argument("--out", required=True)

        module = types.SimpleNamespace(
            HELP="Fakes.", EXAMPLE="t2igan fake --out=X", add_flags=add_flags, main=main
        )
        monkeypatch.setitem(sys.modules, "fake_verb", module)
        monkeypatch.setitem(
            cli.SUBCOMMANDS, "fake", cli.Subcommand("fake_verb", "fakes", takes_config)
        )

    return install


def _raise(error: BaseException) -> Callable[[argparse.Namespace], None]:
    def main(args: argparse.Namespace) -> None:
        raise error

    return main


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "t2igan", *words], capture_output=True, text=True, check=False
    )


def test_the_list_of_subcommands_imports_no_package_but_our_own() -> None:
    """So it takes what Python itself takes to start: 0.5 s at most, on a slow machine too."""
    code = (
        "import sys; before = set(sys.modules); from t2igan.cli.main import main; main(['--help']);"
        "print(*sorted(set(sys.modules) - before), sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = done.stderr.split()
    assert "t2igan.cli.main" in imported
    packages = {name.partition(".")[0] for name in imported}
    assert packages - sys.stdlib_module_names == {"t2igan", "input_pipeline"}
    assert not packages & {"asyncio", "concurrent", "email", "http", "multiprocessing", "unittest"}
    assert len(imported) < 100


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_subcommand(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert all(
        f"  {name} " in printed and verb.help in printed for name, verb in cli.SUBCOMMANDS.items()
    )


@pytest.mark.parametrize("name", cli.SUBCOMMANDS)
def test_each_subcommands_help_shows_an_example_and_no_heavy_import(name: str) -> None:
    if importlib.util.find_spec(cli.SUBCOMMANDS[name].module) is None:
        pytest.skip(f"{cli.SUBCOMMANDS[name].module} is not there yet")
    code = (
        "import sys; from t2igan.cli.main import main; status = main(sys.argv[1:]);"
        "heavy = {'jax', 'flax', 'optax', 'orbax', 'tensorflow_datasets', 'grain', 'scipy'};"
        "print('HEAVY', sorted(heavy & set(sys.modules))); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, name, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"usage: t2igan {name}" in done.stdout
    assert f"t2igan {name} " in done.stdout.partition("example:")[2]
    assert "HEAVY []" in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian"], "did you mean train?"),
        (["sampel"], "did you mean sample?"),
        (["--config=x"], "no subcommand '--config=x'"),
        (["fake", "--out=1", "--batch-size=2"], "did you mean --batch_size?"),
        (["fake", "--bach_size=2"], "did you mean --batch_size?"),
        (["fake", "--batch_size=two", "--out=1"], "invalid int value: 'two'"),
        (["fake", "--out=1", "stray"], "'stray' is not a flag"),
        (["fake", "--out="], "--out= has no value: give one, or leave the flag out"),
        (["fake"], "--out"),
    ],
)
def test_a_mistaken_word_gets_one_line_and_exit_2(
    words: list[str], expected: str, verb: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    verb(lambda args: None)
    assert cli.main(words) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("t2igan: error: ")
    assert printed.count("\n") == 1
    assert expected in printed


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (UserError("no such\n  image"), 2, "t2igan: error: no such image\n"),
        (KeyboardInterrupt(), 130, "\nt2igan: interrupted\n"),
        (OSError(errno.ENOSPC, "No space left", "/x"), 2, "the disk is full: writing /x"),
        (OSError(errno.ENOSPC, "No space left"), 2, "the disk is full; free some"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "permission denied: /x"),
    ],
)
def test_what_a_subcommand_raises_becomes_a_line_and_a_status(
    error: BaseException,
    status: int,
    words: str,
    verb: Callable,
    capsys: pytest.CaptureFixture[str],
) -> None:
    verb(_raise(error))
    assert cli.main(["fake", "--out=1"]) == status
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.EIO, "a bad disk")])
def test_a_bug_keeps_its_traceback(error: Exception, verb: Callable) -> None:
    verb(_raise(error))
    with pytest.raises(type(error)):
        cli.main(["fake", "--out=1"])


def test_a_reader_that_leaves_is_met_with_silence() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "t2igan", "--help"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write_end)
    assert done.stderr == b""
    assert done.returncode == 141


def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "t2igan", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "t2igan: error: the disk is full; free some and run this again\n"


def test_config_flags_are_set_aside(verb: Callable) -> None:
    seen = []
    verb(seen.append, takes_config=True)
    words = ["fake", "--out=1", "--config", "a.py", "--config.x.y", "-1.5", "--config.flip"]
    assert cli.main([*words, "--noconfig.other", "--batch_size", "3"]) == 0
    (args,) = seen
    assert (args.out, args.batch_size) == ("1", 3)
    assert args.config_flags == [
        "--config=a.py",
        "--config.x.y=-1.5",
        "--config.flip",
        "--noconfig.other",
    ]


def test_config_flags_of_other_subcommands_are_unknown(
    verb: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    verb(lambda args: None)
    assert cli.main(["fake", "--out=1", "--config=a.py"]) == 2
    assert "no flag --config" in capsys.readouterr().err
