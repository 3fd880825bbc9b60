"""`t2igan download`: fetches the images that an HDF5 file of captions names by URL."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from input_pipeline.errors import UserError

if TYPE_CHECKING:
    from input_pipeline.download.fetch import Limits

HELP = "Fetch the images that an HDF5 file names by URL; run again, only those still missing."
EXAMPLE = "t2igan download --captions=train.h5 --images=images"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `t2igan download`."""
    add = parser.add_argument
    add("--captions", metavar="FILE.h5", help="the file with the URLs")
    add("--images", metavar="DIR", help="where the images go, named as their URLs end")
    add("--test_captions", metavar="FILE.h5", help="a test file with URLs (optional)")
    add("--test_images", metavar="DIR", help="where its images go (default: --images)")
    add("--parallel", type=int, default=32, help="images at a time (default %(default)s)")
    add("--timeout", type=float, default=30.0, help="seconds for one try (default %(default)s)")
    add("--retries", type=int, default=4, help="tries after the first (default %(default)s)")
    add("--max_mb", type=float, default=20.0, help="largest image (default %(default)s)")
    add(
        "--allow_private_hosts",
        action="store_true",
        help="also ask hosts of this machine and its network, which are refused otherwise",
    )


def main(args: argparse.Namespace) -> None:
    """Fetches, and prints what came and what did not.

    Raises:
      UserError: a flag or file is not what it should be, no server can be reached, or a folder
        has none of its images in the end.
    """
    limits = _limits(args)
    folders = _folders(args)
    from input_pipeline.download.folder import FAILED, download_folder, survey

    # All are looked through first: a mistake in the last file shows now, not hours later.
    plans = {folder: survey(files) for folder, files in folders.items()}
    empty = [
        folder / FAILED
        for folder, plan in plans.items()
        if not download_folder(folder, plan, limits, args.parallel) and plan.total
    ]
    if empty:
        raise UserError(f"no URL gave an image; why is in {', '.join(map(str, empty))}")


def _limits(args: argparse.Namespace) -> Limits:
    from input_pipeline.download.fetch import Limits

    for name, value, low, high in (
        ("parallel", args.parallel, 1, 1000),
        ("timeout", args.timeout, 0.01, 3600),
        ("retries", args.retries, 0, 20),
        ("max_mb", args.max_mb, 0.001, 64),
    ):
        if not low <= value <= high:
            raise UserError(f"--{name}={value} is not allowed; give {low} to {high}")
    return Limits(args.timeout, args.retries, int(args.max_mb * 1e6), args.allow_private_hosts)


def _folders(args: argparse.Namespace) -> dict[Path, list[tuple[Path, str]]]:
    """Files of captions, each with what split it is, by the folder that their images go to."""
    folders: dict[Path, list[tuple[Path, str]]] = {}
    for captions, split, images in (
        (args.captions, "any", args.images),
        (args.test_captions, "test", args.test_images or args.images),
    ):
        if not captions:
            continue
        if not images:
            raise UserError(f"where to put the images of {captions}? give --images=DIR")
        if Path(images).exists() and not Path(images).is_dir():
            raise UserError(f"--images={images} is a file; give a folder, new or not")
        folders.setdefault(Path(images), []).append((Path(captions), split))
    if not folders:
        raise UserError("no URLs given; give --captions=FILE.h5 and --images=DIR")
    return folders
