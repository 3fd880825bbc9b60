"""Makes a run's generator ship with the package, in half the bytes.

    python scripts/weights/export_pretrained.py --workdir=runs/quickstart --name=shapes

`t2igan sample --pretrained=NAME` draws with it. What a number in the README says of it has to be
measured with `t2igan evaluate` first.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys

from input_pipeline.errors import UserError
from t2igan.sampling import pretrained
from t2igan.sampling import run as sampling


def main() -> int:
    """Exit status: 0, or 2 for a user's mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", required=True, help="the run's folder")
    parser.add_argument("--step", default="latest", help="checkpoint: a step, latest or best")
    parser.add_argument("--name", required=True, help="that --pretrained is to know it by")
    flags = parser.parse_args()
    step = int(flags.step) if flags.step.isdigit() else flags.step
    path = pretrained.FOLDER / f"{flags.name}.npz"
    try:
        run = sampling.load(flags.workdir, step)
    except UserError as error:
        print(f"export_pretrained: error: {error}", file=sys.stderr)
        return 2
    pretrained.write(path, run.variables, dataclasses.replace(run.meta, monitor={}, step=run.step))
    print(f"{path}: {path.stat().st_size:,} bytes, of step {run.step}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
