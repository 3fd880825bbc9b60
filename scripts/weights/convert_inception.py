"""Converts the 2015 Inception weights of FID from PyTorch's format to plain arrays.

    python scripts/weights/convert_inception.py weights-inception-2015-12-05-6726825d.pth

The file is checked by its SHA-256 and read without running what is in it; PyTorch is not needed.
The result goes where `t2igan evaluate --features=inception` looks for it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from input_pipeline.errors import UserError
from t2igan.backbones import inception_weights


def main() -> None:
    """Converts one file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="the published .pth file")
    parser.add_argument("--out", type=Path, default=inception_weights.usual_places()[0])
    args = parser.parse_args()
    try:
        inception_weights.convert(args.source, args.out)
    except UserError as error:
        print(f"convert_inception: error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"written to {args.out}")


if __name__ == "__main__":
    main()
