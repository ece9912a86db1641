"""The examples for other frameworks: torch with autograd, JAX with a callback; where installed."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import edges
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib.arguments import as_array

EXAMPLES = Path(__file__).parents[1] / "examples"
X = np.float32([[0.3, -1.5, 1e9], [0.0, -0.0, 7.25], [1e-9, -3.3, 88.0], [5.0, 6.0, -7.0]])


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def ste(torch):
    return example("torch_ste")


# --- torch --------------------------------------------------------------------------------------


def test_torch_tensors_are_not_copied(torch):
    x = torch.from_numpy(X.copy())
    for tensor in (x, x.T, x[::2], x[:, 1]):
        seen = as_array(tensor)
        assert seen.ctypes.data == tensor.data_ptr()
        assert seen.shape == tuple(tensor.shape)
    y = torch.empty_like(x)
    fl.quantize(x, "e4m3", out=y.numpy())
    assert_array_equal(y.numpy(), fl.quantize(X, "e4m3"))
    pointer = x.data_ptr()
    fl.quantize(x, "e4m3", out=x.numpy())  # in place
    assert (x.data_ptr(), torch.equal(x, y)) == (pointer, True)


@pytest.mark.parametrize(
    "name",
    ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
     "bfloat16", "float16"],
)  # fmt: skip
def test_torch_low_precision_tensors_as_views(torch, name):
    """Codes go straight into a tensor's memory, and come straight from it."""
    fmt = fl.get_format(name)
    bits = torch.uint16 if fmt.bits == 16 else torch.uint8
    x = edges(name, "float32")
    tensor = torch.empty(len(x), dtype=getattr(torch, name))
    memory = tensor.view(bits).numpy()
    assert memory.ctypes.data == tensor.data_ptr()
    fl.encode(x, name, out=memory)
    assert_array_equal(tensor.float().numpy(), fl.quantize(x, name))
    assert_array_equal(fl.decode(tensor.view(bits), name), tensor.float().numpy())


@pytest.mark.parametrize("fmt", ["e4m3", "int4", "bfp_m4_e8_g16"])
def test_straight_through(torch, ste, fmt):
    x = torch.from_numpy(np.where(np.abs(X) > 1e6, 500, X).astype(np.float32)).requires_grad_()
    for tensor in (x, x.T, x[::2]):
        y = ste.Quantize.apply(tensor, fmt, {})
        assert_array_equal(y.detach().numpy(), fl.quantize(tensor.detach().numpy(), fmt))
        weights = torch.arange(y.numel(), dtype=torch.float32).reshape(y.shape)
        (gradient,) = torch.autograd.grad((y * weights).sum(), tensor)
        inside = tensor.detach().abs() <= fl.get_format(fmt).max
        assert torch.equal(gradient, weights * inside)
        low = ste.Quantize.apply(tensor.bfloat16(), fmt, {})
        expected = fl.quantize(tensor.detach().bfloat16().float().numpy(), fmt)
        assert low.dtype == torch.bfloat16
        assert_array_equal(low.detach().float().numpy(), expected)
    how = {"rounding": "stochastic", "seed": 3}
    y = ste.Quantize.apply(x, fmt, how)
    assert_array_equal(y.detach().numpy(), fl.quantize(x.detach().numpy(), fmt, **how))


def test_torch_learns(torch, ste):
    accuracy, network = ste.train("e4m3", steps=80)
    assert accuracy > 0.9
    assert all(p.grad is not None for p in network.parameters())
    again, _ = ste.train("e4m3", steps=80)
    assert again == accuracy


# --- JAX ----------------------------------------------------------------------------------------

# In a process of its own: JAX warns of forks for as long as it is loaded.
JAX = """
import sys
sys.path.insert(0, sys.argv[1])
import jax, jax.numpy as jnp, numpy as np
import fmtlib as fl
import jax_callback as example

x = np.float32(np.linspace(-600, 600, 24)).reshape(4, 6)
for name in ("float8_e4m3fn", "float4_e2m1fn", "int8"):
    expected = fl.quantize(x, name)
    same = lambda found: np.testing.assert_array_equal(np.asarray(found), expected)
    same(example.quantize(x, name))
    same(jax.jit(example.quantize, static_argnums=1)(x, name))
    same(jax.vmap(lambda row: example.quantize(row, name))(x))
    same(jax.vmap(lambda column: example.quantize(column, name), 1, 1)(x))
    loss = lambda x: (example.quantize(x, name) * x).sum()
    wanted = expected + np.where(np.abs(x) <= fl.get_format(name).max, x, 0)
    np.testing.assert_array_equal(np.asarray(jax.jit(jax.grad(loss))(x)), wanted)
    by_rows = jax.jit(jax.vmap(jax.grad(lambda row: (example.quantize(row, name) * row).sum())))
    np.testing.assert_array_equal(np.asarray(by_rows(x)), wanted)
    forward = jax.jvp(lambda x: example.quantize(x, name), (x,), (x,))[1]
    inside = np.abs(x) <= fl.get_format(name).max
    np.testing.assert_array_equal(np.asarray(forward), np.where(inside, x, 0))
    codes = jax.jit(example.encode, static_argnums=1)(x, name)
    np.testing.assert_array_equal(np.asarray(codes), fl.encode(x, name))
codes = example.encode(x, "float8_e4m3fn")
theirs = jax.lax.bitcast_convert_type(codes, jnp.float8_e4m3fn).astype(jnp.float32)
np.testing.assert_array_equal(np.asarray(theirs), fl.quantize(x, "e4m3"))
np.testing.assert_array_equal(fl.quantize(jnp.asarray(x), "e4m3"), fl.quantize(x, "e4m3"))
for call in (example.quantize, example.encode):  # told when it is traced
    for wrong, words in (
        (lambda: jax.jit(call, static_argnums=1)(x, "e4m33"), "unknown format 'e4m33'"),
        (lambda: call(jnp.zeros(3, jnp.float8_e5m2), "e4m3"), "those are codes"),
    ):
        try:
            wrong()
        except (ValueError, TypeError) as error:
            assert words in str(error)
        else:
            raise AssertionError(words)
example.main()
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax")
def test_jax(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(JAX)
    done = subprocess.run(
        [sys.executable, "-P", script, EXAMPLES], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "as float8 [-448 -256 0 256 448]"
