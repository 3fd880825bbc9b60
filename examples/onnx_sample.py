"""A caption to a PNG with numpy and onnxruntime alone, from what `t2igan export` wrote.

python examples/onnx_sample.py exported "a small red star on the left" star.png [SEED]
"""

import json
import re
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import onnxruntime

folder, caption, out = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
seed = int(sys.argv[4]) if len(sys.argv) > 4 else 0
known = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
inputs = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["inputs"]

# Words as the README beside the model says: lower case, letters and digits alone.
pieces = re.split(r"[\s,;:/\\|!?()\[\]{}<>\"_]+", re.sub(r"'s\b", " s", caption.lower()))
words = [word for piece in pieces if (word := re.sub(r"\W+", "", piece))]
codes = {word: code for code, word in enumerate(known["words"])}
row = [1, *(codes.get(word, 3) for word in words[: known["caption_length"] - 2]), 2]
row += [0] * (known["caption_length"] - len(row))

random = np.random.default_rng(seed)
feeds = {"codes": np.array([row], np.int32)}
for one in inputs:
    if one["name"] != "codes":  # noise; times 0.7, say: likelier and less varied
        feeds[one["name"]] = random.standard_normal((1, *one["shape"])).astype(np.float32)
session = onnxruntime.InferenceSession(folder / "model.onnx")
image = session.run(["image"], feeds)[0][0].astype(np.uint8)

height, width, _ = image.shape
rows = b"".join(b"\0" + line.tobytes() for line in image)
chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))]
chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
png = b"\x89PNG\r\n\x1a\n"
for kind, data in chunks:
    png += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
Path(out).write_bytes(png)
