"""Formats inside jitted JAX functions, by a callback to the host.

    python examples/jax_callback.py

`quantize` can be jitted, mapped with vmap and differentiated, forward and backward: JAX calls
fmtlib with NumPy arrays when the value is needed.  Its derivative is that of the identity (the
straight-through estimator), or zero where x is beyond the format's range.  What is wrong with a
format or a type is told when the function is traced, and not from inside of the callback.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fmtlib as fl


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def quantize(x: jax.Array, fmt: Any) -> jax.Array:
    """Values of an elementwise format, in x's shape and type."""
    _on_host(np.empty(0, x.dtype), fmt)  # raises here what it would raise there
    result = jax.ShapeDtypeStruct(x.shape, x.dtype)
    call = partial(_on_host, fmt=fmt)
    # elementwise: a batch is one more axis of the same call
    found: jax.Array = jax.pure_callback(call, result, x, vmap_method="expand_dims")
    return found


def _on_host(x: Any, fmt: Any) -> np.ndarray[Any, Any]:
    return np.asarray(fl.quantize(np.asarray(x), fmt))


@quantize.defjvp
def _straight_through(fmt: Any, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (x,), (tangent,) = primals, tangents
    inside = jnp.abs(x) <= fl.get_format(fmt).max
    return quantize(x, fmt), jnp.where(inside, tangent, 0)


def encode(x: jax.Array, fmt: Any) -> jax.Array:
    """Codes of an elementwise format; those of FP8 are the bits of JAX's types."""
    code = fl.get_format(fmt).code_dtype
    fl.encode(np.empty(0, x.dtype), fmt, out=np.empty(0, code))  # as above
    result = jax.ShapeDtypeStruct(x.shape, code)
    found: jax.Array = jax.pure_callback(
        lambda host: np.asarray(fl.encode(np.asarray(host), fmt)),
        result, x, vmap_method="expand_dims",
    )  # fmt: skip
    return found


def main() -> None:
    """A loss with quantised weights, its gradient, and codes as JAX's own float8."""
    w = jnp.linspace(-500, 500, 5)
    loss = jax.jit(lambda w: (quantize(w, "float8_e4m3fn") ** 2).sum())
    print("loss", loss(w))
    print("gradient", jax.grad(loss)(w))
    codes = jax.jit(encode, static_argnums=1)(w, "float8_e4m3fn")
    print("as float8", jax.lax.bitcast_convert_type(codes, jnp.float8_e4m3fn))


if __name__ == "__main__":
    main()
