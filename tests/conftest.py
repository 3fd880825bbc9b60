"""Four fake CPU devices, strict broadcasting, and the real data where it is at hand."""

import os
from pathlib import Path

# Before jax is imported anywhere: the device count is read once, at its first use. Compiling is
# most of what the tests do: without optimizing it takes two thirds of the time, and with the older
# emitters, in one part (the other core has tests of its own), two fifths.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = " ".join(
    [
        "--xla_backend_optimization_level=0",
        "--xla_cpu_use_fusion_emitters=false",
        "--xla_cpu_parallel_codegen_split_count=1",
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=4",
    ]
)

import hypothesis
import jax
import pytest

# A busy machine is no fault of the code's.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")
jax.config.update("jax_numpy_rank_promotion", "raise")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def _shared(folder: str) -> Path:
    path = SHARED_DATA / folder
    if not path.is_dir():
        pytest.skip(f"the research-only data {folder} is not at {path}")
    return path


@pytest.fixture
def flickr8k() -> Path:
    """Folder of 7,000 real captioned photographs in the student report's HDF5 layout."""
    return _shared("flickr8k")


@pytest.fixture
def glove() -> Path:
    """A real GloVe 6B text file, 200 numbers a word."""
    return _shared("glove") / "glove.6B.200d.txt"
