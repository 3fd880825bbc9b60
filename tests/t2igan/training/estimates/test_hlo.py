"""Compiled programs as text: cycles, collectives and bytes, on a small one written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan.training.estimates import hlo
from t2igan.training.estimates.arithmetic import count_flops

PROGRAM = """HloModule step, is_scheduled=true

%inner (p: f32[4,8]) -> f32[4,8] {
  %p = f32[4,8]{1,0:T(8,128)} parameter(0)
  ROOT %all-reduce.3 = f32[4,8]{1,0} all-reduce(%p), channel_id=1, to_apply=%add
}

%again (p.1: f32[4,8]) -> f32[4,8] {
  %p.1 = f32[4,8]{1,0} parameter(0)
  ROOT %all-reduce.4 = f32[4,8]{1,0} all-reduce(%p.1), channel_id=1, to_apply=%add
}

ENTRY %main (a: f32[4,8], b: bf16[8,16]) -> (f32[4,8], bf16[4,16]) {
  %a = f32[4,8]{1,0:T(8,128)S(1)} parameter(0)
  %b = bf16[8,16]{1,0} parameter(1)
  %sum = f32[4,8]{1,0} fusion(%a), kind=kCustom, calls=%inner, metadata={op_name="jit/g/conv"}, \
backend_config={"estimated_cycles":"1200","x":"1"}
  %start = (f32[4,8]{1,0:T(8,128)}, f32[4,8]{1,0}) all-reduce-start(%sum), channel_id=2
  %done = f32[4,8]{1,0} all-reduce-done(%start)
  %moved = f32[4,8]{1,0} collective-permute(%done), channel_id=3
  %view = f32[32]{0} bitcast(%moved)
  %product = bf16[4,16]{1,0} fusion(%sum, %b), kind=kOutput, calls=%again, \
backend_config={"estimated_cycles":"34"}
  ROOT %out = (f32[4,8]{1,0}, bf16[4,16]{1,0}) tuple(%moved, %product)
}
"""


def test_cycles_are_summed_over_kernels():
    assert hlo.estimated_cycles(PROGRAM) == 1234
    assert hlo.estimated_cycles("HloModule of a GPU") == 0


def test_collectives_are_counted_by_channel():
    assert hlo.collectives(PROGRAM) == {"all-reduce": 2, "collective-permute": 1}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("f32[4,8]", 128),
        ("bf16[8,16]", 256),
        ("pred[3]", 3),
        ("(f32[], /*index=1*/u8[0], s4[3])", 6),
        ("f8e4m3fn[10]", 10),
        ("token[]", 0),
    ],
)
def test_bytes_of_types(text, size):
    assert hlo.type_bytes(text) == size


def test_bytes_moved_are_those_that_kernels_read_and_write():
    program = hlo.entry(PROGRAM)
    one = 4 * 8 * 4
    start = one + 2 * one
    permute, product = 2 * one, one + 256 + 128
    assert hlo.bytes_moved(program) == 2 * one + start + permute + product
    assert [line.name for line in hlo.largest_values(program, 2)] == ["start", "sum"]


def test_what_xla_compiles_here_is_read_too():
    def function(x):
        return jnp.tanh(x @ x) @ x

    x = jnp.ones((32, 32))
    program = hlo.entry(jax.jit(function).lower(x).compile().as_text())
    # The operand is read and the result is written, whatever is between.
    assert hlo.bytes_moved(program) >= 2 * x.nbytes
    assert {line.operation for line in program} >= {"parameter"}


def test_flops_of_products_convolutions_and_their_gradients():
    x, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((4, 4, 3, 5))

    def conv(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    forward = 2 * (2 * 4 * 4 * 5) * (4 * 4 * 3)
    assert count_flops(conv, x, kernel) == forward
    gradients = jax.grad(lambda *args: conv(*args).sum(), argnums=(0, 1))
    assert count_flops(gradients, x, kernel) == 3 * forward
    assert count_flops(jnp.dot, np.ones((7, 3)), np.ones((3, 5))) == 2 * 7 * 3 * 5


def test_flops_inside_of_loops_and_branches():
    x = jnp.ones((4, 4))
    product = 2 * 4**3

    def loop(x):
        return jax.lax.scan(lambda carry, _: (carry @ x, None), x, length=5)[0]

    def branch(x):
        return jax.lax.cond(x[0, 0] > 0, lambda: x @ x @ x, lambda: x @ x)

    assert count_flops(loop, x) == 5 * product
    assert count_flops(jax.jit(branch), x) == 2 * product
