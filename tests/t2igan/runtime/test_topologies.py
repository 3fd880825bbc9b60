"""Names of topologies, and the platform that implementations are chosen for."""

import os

import jax
import pytest

from input_pipeline.errors import UserError
from t2igan.models.conv import dispatch
from t2igan.runtime import topologies


@pytest.mark.parametrize(
    ("name", "chips"), [("v5e:4x4", 16), ("v5p:2x2x4", 16), ("V4:2x2x1", 4), ("h100:8", 8)]
)
def test_a_name_is_a_chip_and_its_shape(name, chips):
    topology = topologies.parse(name)
    assert topology.num_chips == chips
    assert str(topology) == name.lower()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("v5x:2x2", "did you mean v5"),
        ("v5e", "v5e:4x4"),
        ("v5e:16", "v5e:4x4"),
        ("v5e:2x2x2", "v5e:4x4"),
        ("v4:4x4", "v4:4x4x4"),
        ("v5e:3x2", "multiple of v5e:2x2"),
        ("v5e:0x2", "v5e:4x4"),
        ("h100:2x2", "h100:8"),
        ("h100:9999", "at most 4096"),
        ("", "v4, v5e"),
    ],
)
def test_what_is_no_topology_is_one_line_that_says_what_is(name, says):
    with pytest.raises(UserError, match=says) as error:
        topologies.parse(name)
    assert len(str(error.value).splitlines()) == 1


def test_figures_of_chips_are_in_their_units():
    for chip in topologies.CHIPS.values():
        assert 10e9 < chip.memory < 200e9
        assert chip.flops <= chip.bfloat16_flops < 2e15
        assert 5e11 < chip.bandwidth < 1e13
        assert bool(chip.clock) == (chip.platform == "tpu")


def test_implementations_are_chosen_for_the_platform_that_is_compiled_for():
    assert topologies.target_platform() == jax.default_backend()
    here = dispatch.upsample_form()
    with topologies.compiling_for("tpu"):
        assert topologies.target_platform() == "tpu"
        assert dispatch.upsample_form() != here
        with topologies.compiling_for("cuda"):
            assert topologies.target_platform() == "gpu"
        assert topologies.target_platform() == "tpu"
    assert dispatch.upsample_form() == here


def test_a_compiler_that_is_missing_is_one_line_that_names_the_extra(monkeypatch):
    from jax.experimental import topologies as jax_topologies

    def missing(*args, **kwargs):
        raise RuntimeError("no plugin\nand a long story")

    monkeypatch.setattr(jax_topologies, "get_topology_desc", missing)
    for name, extra in (("v6e:4x2", "tpu"), ("h100:3", "cuda12")):
        with pytest.raises(UserError, match=f"no plugin; .*{extra}") as error:
            topologies.target_mesh(topologies.parse(name))
        assert len(str(error.value).splitlines()) == 1


def test_flags_for_cpus_are_hidden_while_compiling_for_others_and_come_back(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=a --xla_cpu_use_fusion_emitters=false")
    with topologies.compiling_for("tpu"):
        assert os.environ["XLA_FLAGS"] == "--xla_dump_to=a"
    assert os.environ["XLA_FLAGS"] == "--xla_dump_to=a --xla_cpu_use_fusion_emitters=false"
