"""`t2igan serve`: a page and a JSON API that generate images of a caption."""

from __future__ import annotations

import argparse

from input_pipeline.errors import UserError

HELP = "Serve a trained generator: a page, and a JSON API (/generate, /openapi.json, /health)."
EXAMPLE = """
t2igan serve --pretrained=shapes
t2igan serve --workdir=runs/shapes --port=9000
curl -X POST localhost:8000/generate -d '{"caption": "a red star", "num": 2}'
"""
INSTALL = "pip install 't2igan[serve]'"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `t2igan serve`."""
    add = parser.add_argument
    add("--workdir", metavar="RUN", help="the run's folder")
    add("--pretrained", metavar="NAME", help="instead of a run: a model of the package's, shapes")
    add("--step", default="latest", help="checkpoint: a step, latest or best")
    add(
        "--sentence_encoder",
        metavar="NAME",
        help="for a run that was trained with another than minilm: clip:FILE, t5:FILE, "
        "module:attribute",
    )
    add(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default 127.0.0.1: this machine alone; 0.0.0.0: every network)",
    )
    add("--port", type=int, default=8000, help="default 8000")
    add(
        "--max_waiting",
        type=int,
        default=256,
        help="images that may wait; beyond, requests get 429 (default 256)",
    )


def main(args: argparse.Namespace) -> None:
    """Serves until it is stopped.

    Raises:
      UserError: no such run, a package is missing, or the port is taken.
    """
    if bool(args.workdir) == bool(args.pretrained):
        raise UserError("give either --workdir=RUN or --pretrained=shapes")
    if not 0 <= args.port < 65536:
        raise UserError(f"--port={args.port}: must be 0 to 65535")
    if args.max_waiting < 1:
        raise UserError(f"--max_waiting={args.max_waiting}: must be 1 or more")
    try:
        import uvicorn

        from t2igan.serving.app import make_app
    except ImportError as error:
        raise UserError(f"serve needs starlette and uvicorn: {INSTALL}") from error
    import socket

    from t2igan.runtime.preemption import import_whole

    import_whole("t2igan.sampling.run")
    from t2igan.sampling import run as sampling

    if args.pretrained:
        if args.sentence_encoder:
            raise UserError("--sentence_encoder is of a run: leave out --pretrained")
        run = sampling.load_pretrained(args.pretrained)
    else:
        step = int(args.step) if args.step.isdigit() else args.step
        run = sampling.load(args.workdir, step, args.sentence_encoder)
    family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((args.host, args.port))
        listening.listen(128)  # from here on nobody else can have the port
    except OSError as error:
        raise UserError(
            f"--host={args.host} --port={args.port} cannot be listened on: {error.strerror}"
        ) from error
    config = uvicorn.Config(make_app(run, args.max_waiting), log_level="warning")
    port = listening.getsockname()[1]
    print(f"{run!r} at http://{args.host}:{port} (Ctrl-C stops it)", flush=True)
    uvicorn.Server(config).run(sockets=[listening])
