"""Reports of runs on devices that are absent: estimates, and every recipe compiled."""

import dataclasses
import functools
import os

import pytest

from input_pipeline.errors import UserError
from t2igan.recipes import registry
from t2igan.runtime import topologies
from t2igan.training.estimates import compile_report
from t2igan.training.estimates.compile_report import CompiledStep, largest_fitting, page


def step(**changed):
    fields = {
        "topology": topologies.parse("v5e:2x2"),
        "batch_size": 400,
        "image_size": 64,
        "memory": {"generator": 40_000_000, "temporaries": 900_000_000},
        "peak": 1_000_000_000,
        "largest": [(134_000_000, "Conv_3/stack")],
        "flops": 197e12 * 0.004,
        "bytes_moved": 819e9 * 0.005,
        "cycles": 15_000_000,
        "collectives": {"all-reduce": 3},
        "bfloat16": False,
    }
    return CompiledStep(**(fields | changed))


def test_the_roofline_is_the_longer_of_arithmetic_and_memory_traffic():
    assert step().roofline_seconds == pytest.approx(0.005)
    assert step(flops=197e12 * 0.006).roofline_seconds == pytest.approx(0.006)


def test_a_tpu_is_expected_to_take_the_compilers_cycles():
    assert step().expected_seconds == pytest.approx(0.010)  # 15 M at 1.5 GHz
    assert step(cycles=15).expected_seconds == pytest.approx(0.004)  # an impossible estimate


def test_a_gpu_is_expected_to_compute_and_to_move_one_after_the_other():
    h100 = topologies.parse("h100:1")
    times = {"flops": 989e12 * 0.002, "bytes_moved": 3350e9 * 0.003, "cycles": 0}
    bfloat16 = step(topology=h100, bfloat16=True, **times)
    assert bfloat16.expected_seconds == pytest.approx(0.005)
    assert step(topology=h100, **times).arithmetic_seconds > bfloat16.arithmetic_seconds


def test_the_page_names_its_estimates_and_adds_up_chips():
    text = "\n".join(page(step(), num_steps=360_000))
    assert "1,000.0 MB of 16 GB" in text
    assert "3 all-reduce" in text
    assert "estimate: 40,000 to 80,000 images/s" in text
    assert "0.50 to 1.00 hours, 2.00 to 4.00 chip-hours" in text


@pytest.mark.parametrize("most", [0, 1, 2, 7, 100, 999])
def test_the_largest_batch_that_fits_is_found_to_an_eighth(most):
    tried = []

    def fits(number):
        tried.append(number)
        return number <= most

    found = largest_fitting(fits, 1000)
    assert found <= most < found + max(found // 8, 1) + 1
    assert len(tried) <= 11


def test_what_does_not_fit_is_answered_by_the_largest_batch_that_does(
    word_dataset, make_words, monkeypatch
):
    """The compiler is replaced by one whose programs need 3 GB an image of a chip with 16 GB."""

    def compiled(config, topology):
        size = config.train.batch_size
        share = size // topology.num_chips
        return None if share > 9 else step(batch_size=size, peak=int(3e9 * share))

    monkeypatch.setattr(compile_report, "compile_step", compiled)
    monkeypatch.setattr(compile_report, "open_experiment", lambda *_, **__: Steps(num_steps=7))
    monkeypatch.setattr(topologies, "target_mesh", lambda _: None)
    config = make_words.config(word_dataset)
    config.train.batch_size = 400
    text = compile_report.compile_report(config, "v5e:2x2")
    assert "batch_size=400 does not fit v5e:2x2: a chip has 16 GB" in text
    assert "the largest batch that fits is 20, 5 a chip" in text


@dataclasses.dataclass
class Steps:
    num_steps: int


@functools.cache
def compiler(topology):
    """The mesh of a topology; the test is skipped where its compiler is not installed."""
    os.environ.setdefault("TPU_LIBRARY_LOG_LEVEL", "3")
    try:
        return topologies.target_mesh(topologies.parse(topology))
    except UserError as error:
        return error


@pytest.fixture(scope="module")
def config_of(word_dataset, untrained_run, make_words, tmp_path_factory):
    """Returns a recipe's narrow config; a second stage's builds on a run of 16x16 images."""
    large = make_words.dataset(tmp_path_factory.mktemp("large") / "set", 32)

    def make(recipe):
        second = recipe.endswith("_stage2")
        config = make_words.config(large if second else word_dataset)
        config.recipe = recipe
        config.stage1 = str(untrained_run) if second else ""
        config.loss.extra_negatives = 8
        return config

    return make


@pytest.mark.parametrize("topology", ["v5e:2x2", "v6e:2x2", "h100:2"])
@pytest.mark.parametrize("recipe", registry.names())
def test_every_recipe_compiles(recipe, topology, config_of):
    if isinstance(reason := compiler(topology), UserError):
        pytest.skip(str(reason))
    result = compile_report.compile_step(config_of(recipe), topologies.parse(topology))
    assert result.fits
    assert result.flops > 0
    assert result.bytes_moved > 0
    assert bool(result.cycles) == (result.topology.chip.platform == "tpu")
    assert "all-reduce" in result.collectives
    # Parts are of what is held; what is given back in place is counted once.
    assert sum(result.memory.values()) <= result.peak * 1.01
