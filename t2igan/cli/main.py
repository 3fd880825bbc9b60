"""`t2igan SUBCOMMAND ...`: subcommands, their flags, and mistakes in one line.

A subcommand's module is imported only when it is called, so that `t2igan --help` stays instant.
"""

from __future__ import annotations

import argparse
import dataclasses
import errno
import importlib
import io
import os
import sys
import textwrap
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from input_pipeline.errors import UserError, did_you_mean, printable
from t2igan.cli.paths import expanded, localized
from t2igan.runtime.preemption import remember_ctrl_c


@dataclasses.dataclass(frozen=True)
class Subcommand:
    """Where a subcommand lives.

    Attributes:
      module: has `HELP`, `EXAMPLE`, `add_flags(parser)` and `main(args)`.
      help: one line for the list of subcommands.
      takes_config: whether `--config` and `--config.KEY` are separated as `args.config_flags`.
      flags_depend: whether some flags exist only with others: `add_flags` gets the words too.
      computes: whether it runs networks, so that a restart pays (see `t2igan.runtime.huge_pages`).
    """

    module: str
    help: str
    takes_config: bool = False
    flags_depend: bool = False
    computes: bool = False


SUBCOMMANDS = {
    "prepare": Subcommand(
        "t2igan.cli.prepare",
        "turn images and captions into a data set",
        flags_depend=True,
    ),
    "download": Subcommand("t2igan.cli.download", "fetch the images that an HDF5 file names"),
    "train": Subcommand(
        "t2igan.cli.train", "train a model, or resume its run", takes_config=True, computes=True
    ),
    "sample": Subcommand(
        "t2igan.cli.sample", "generate images of captions with a trained model", computes=True
    ),
    "evaluate": Subcommand(
        "t2igan.cli.evaluate", "measure a run, or any folder of images", computes=True
    ),
    "train_matcher": Subcommand(
        "t2igan.cli.train_matcher", "train the image-text matcher", computes=True
    ),
    "export": Subcommand(
        "t2igan.cli.export", "write a generator as ONNX, StableHLO or a web page", computes=True
    ),
    "serve": Subcommand(
        "t2igan.cli.serve", "serve a page and a JSON API that generate images", computes=True
    ),
    "report": Subcommand("t2igan.cli.report", "write one HTML page about a run"),
    "sweep": Subcommand(
        "t2igan.cli.sweep", "train a config's trials and compare them", takes_config=True
    ),
}

# Mistakes about files whose own words say it all; anything else is a bug and keeps its traceback.
FILE_MISTAKES = {
    errno.EACCES,
    errno.EISDIR,
    errno.ELOOP,
    errno.EMFILE,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of the command: 0, 2 for a user's mistake, 130 for Ctrl-C, 141 for a cut pipe.

    Args:
      argv: the words after `t2igan`; those of the process by default.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not every terminal shows every letter
            stream.reconfigure(errors="backslashreplace")
    try:
        _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()  # a cut pipe shows here, not at the interpreter's end
    except UserError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print("\nt2igan: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output has left (`| head`): nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        return _fail(_file_mistake(error))
    return 0


def computes(argv: Sequence[str]) -> bool:
    """Returns whether the words after `t2igan` run networks, and are not for help."""
    subcommand = SUBCOMMANDS.get(argv[0]) if argv else None
    return subcommand is not None and subcommand.computes and not {"-h", "--help"} & set(argv)


def _run(argv: list[str]) -> None:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_overview())
        return
    if argv[0] == "--version":
        from t2igan import __version__

        print(__version__)
        return
    name, rest = argv[0], expanded(argv[1:])
    if name not in SUBCOMMANDS:
        raise UserError(
            f"no subcommand {name!r}{did_you_mean(name, SUBCOMMANDS)} "
            f"(one of {', '.join(SUBCOMMANDS)})"
        )
    subcommand = SUBCOMMANDS[name]
    module = importlib.import_module(subcommand.module)
    if {"-h", "--help"} & set(rest):
        _read_flags(name, subcommand, module, rest)
        return
    if subcommand.computes:
        remember_ctrl_c()
    with localized(name, rest) as words:
        args = _read_flags(name, subcommand, module, words)
        if args is not None:
            module.main(args)


def _overview() -> str:
    width = max(map(len, SUBCOMMANDS))
    lines = [f"  {name:<{width}}  {subcommand.help}" for name, subcommand in SUBCOMMANDS.items()]
    return "\n".join(
        [
            "usage: t2igan SUBCOMMAND [--flag=value ...]",
            "",
            "Text-to-image GANs: prepare, train, resume exactly, evaluate, sample.",
            "",
            *lines,
            "",
            "t2igan SUBCOMMAND --help shows the flags and an example.",
        ]
    )


class _Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are UserErrors."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (`{self.prog} --help` shows all flags)")


def _read_flags(
    name: str, subcommand: Subcommand, module: ModuleType, words: list[str]
) -> argparse.Namespace | None:
    """The subcommand's flags, or None after its help has been printed."""
    parser = _Parser(
        prog=f"t2igan {name}",
        description=module.HELP,
        epilog="example:\n" + textwrap.indent(textwrap.dedent(module.EXAMPLE).strip(), "  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this and stop")
    config_flags: list[str] = []
    if subcommand.takes_config:
        config_flags, words = split_config_flags(words)
        _show_config_flags(parser)
    if subcommand.flags_depend:
        module.add_flags(parser, words)
    else:
        module.add_flags(parser)
    if any(word in ("-h", "--help") for word in words):
        print(parser.format_help())
        if hasattr(module, "help_end"):
            print(module.help_end())
        return None
    # Before argparse, which would rather complain that the flag meant here is missing.
    for word in words:
        if word.startswith("--") and word.split("=", 1)[0] not in parser._option_string_actions:
            _fail_about_flag(parser, word)
        if word.startswith("--") and word.endswith("=") and word.count("=") == 1:
            parser.error(f"{word} has no value: give one, or leave the flag out")
    args, unknown = parser.parse_known_args(words)
    if unknown:
        _fail_about_flag(parser, unknown[0])
    if subcommand.takes_config:
        args.config_flags = config_flags
    return args


def split_config_flags(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the `--config` and `--config.KEY` flags, each as one word `--name=value`, and the
    rest.

    Args:
      words: the command line after the subcommand; values may be words of their own.
    """
    config_flags, rest = [], []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        name = word.split("=", 1)[0].lstrip("-")
        ours = word.startswith("-") and (
            name == "config" or name.startswith(("config.", "noconfig."))
        )
        if ours and "=" not in word and remaining and _is_value(remaining[0]):
            word += "=" + remaining.pop(0)
        (config_flags if ours else rest).append(word)
    return config_flags, rest


def _is_value(word: str) -> bool:
    return not word.startswith("-") or word[1:2].isdigit() or word[1:2] == "."


def _show_config_flags(parser: argparse.ArgumentParser) -> None:
    """Lists in the help what `split_config_flags` has taken away before argparse looks."""
    group = parser.add_argument_group("experiment")
    group.add_argument("--config", metavar="FILE.py[:ARG]", help="its get_config([ARG]) is called")
    group.add_argument("--config.KEY", metavar="VALUE", help="another value for one field of it")


def _fail_about_flag(parser: argparse.ArgumentParser, word: str) -> NoReturn:
    flag = word.split("=", 1)[0]
    known = [option for option in parser._option_string_actions if option.startswith("--")]
    if not flag.startswith("-"):
        parser.error(f"{flag!r} is not a flag; flags are written --name=value")
    parser.error(f"no flag {flag}{did_you_mean('--' + flag.lstrip('-').replace('-', '_'), known)}")


def _fail(message: str) -> int:
    line = "t2igan: error: " + printable(" ".join(_with_urls(message).split()))
    # A terminal, or a log, may not be able to show every letter of a file's name.
    encoding = sys.stderr.encoding or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr)
    return 2


def _with_urls(message: str) -> str:
    """Names what was staged from a bucket by its URL; nothing is imported where nothing was."""
    paths = sys.modules.get("t2igan.runtime.paths")
    return paths.shown(message) if paths else message


def _file_mistake(error: OSError) -> str:
    """What the file system refused, in one line; raises the error again where that is a bug."""
    where = f" {error.filename}" if error.filename is not None else ""
    if error.errno in DISK_FULL:
        return f"the disk is full{where and ': writing' + where}; free some and run this again"
    if error.errno in FILE_MISTAKES and error.filename is not None:
        return f"{(error.strerror or 'cannot open').lower()}:{where}"
    raise error
