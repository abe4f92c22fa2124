"""Seconds, operations and bytes of compiled programs, the peaks of a device, and tables that resume."""

from __future__ import annotations

import csv
import datetime
import gzip
import json
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import rgrl_jax as rgrl
from benchmarks.machine import describe_machine
from rgrl_jax import spmd
from rgrl_jax.experiment.compile import put_on_devices

PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32", "bf16": "BF16_BF16_F32"}
"""Names of jax for the rounding of factors in products of float32 matrices; sums are in float32 in all of them."""


def make_config(env_id: str, changes: dict[str, Any]) -> rgrl.RGRLConfig:
    """Returns the default config with fields changed, those of groups by dotted names."""
    config = rgrl.RGRLConfig(env_id=env_id)
    for path, value in changes.items():
        config = config.replace_at(path, value)
    config.validate()
    return config


class Program(NamedTuple):
    """A compiled program.

    Attributes:
      call: the compiled program.
      compile_seconds: seconds of tracing and compiling.
      flops: operations by XLA's own count, which takes the body of a loop once.
      peak_bytes: bytes of arguments, results and intermediate results.
    """

    call: Callable[..., Any]
    compile_seconds: float
    flops: float
    peak_bytes: int


def build(function: Callable[..., Any], *arguments: Any, precision: str = "float32") -> Program:
    """Compiles a function for arguments, and for the devices that they lie on: each runs it on its part."""
    sharding = jax.tree.leaves(arguments)[0].sharding
    if len(sharding.device_set) > 1:
        place = {"mesh": sharding.mesh, "in_specs": sharding.spec, "out_specs": sharding.spec}
        function = jax.shard_map(function, **place, check_vma=False)
    start = time.perf_counter()
    with jax.default_matmul_precision(PRECISIONS[precision]):
        compiled = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - start
    cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    sizes = (memory.argument_size_in_bytes, memory.output_size_in_bytes, memory.temp_size_in_bytes)
    return Program(compiled, seconds, float(cost.get("flops", np.nan)), sum(sizes) - memory.alias_size_in_bytes)


def median_seconds(call: Callable[[], Any], *, seconds: float, least: int = 3) -> float:
    """Returns the median time of a call, repeated for ``seconds`` and ``least`` times; the first does not count."""
    jax.block_until_ready(call())
    samples: list[float] = []
    began = time.perf_counter()
    while len(samples) < least or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        jax.block_until_ready(call())
        samples.append(time.perf_counter() - start)
        if len(samples) == 1000:
            break
    return float(np.median(samples))


def time_outside_products(program: Program, *arguments: Any) -> float:
    """Returns the share of time that operations other than matrix products take, by a profile of one call.

    Loops and calls around operations are not counted, nor is the time between operations.
    """
    jax.block_until_ready(program.call(*arguments))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(program.call(*arguments))
        (path,) = Path(folder).rglob("*.trace.json.gz")
        with gzip.open(path) as file:
            events = json.load(file)["traceEvents"]
    products = _products(program.call.as_text())
    spent = {True: 0.0, False: 0.0}
    for event in events:
        name = event.get("args", {}).get("hlo_op", "")
        if name and not name.startswith(("while", "cond", "call")):
            spent[name in products] += event.get("dur", 0.0)
    return spent[False] / sum(spent.values())


def _products(hlo: str) -> set[str]:
    """Finds the instructions of a compiled program that are matrix products, or fusions with one inside."""
    blocks = {match[1]: match[0] for match in re.finditer(r"^(?:ENTRY )?%(\S+) \(.*?^}", hlo, re.M | re.S)}
    product = re.compile(r'\bdot\(|custom_call_target="\S*(?:gemm|matmul)')
    inside = {name for name, text in blocks.items() if product.search(text)}
    found = set()
    for line in hlo.splitlines():
        if match := re.match(r"\s+(?:ROOT )?%(\S+) = ", line):
            called = re.search(r" fusion\(.*calls=%([^\s,]+)", line)
            if product.search(line) or (called and called[1] in inside):
                found.add(match[1])
    return found


def matmul_peak(precision: str, size: int, seconds: float, devices: int = 1) -> float:
    """Measures operations per second of one large product of square matrices: the peak of a program of products.

    Of several devices each makes one, or the first alone, whichever is faster: those of one CPU share its cores.
    """
    dtype = jnp.bfloat16 if precision == "bf16" else jnp.float32
    x = jax.random.normal(jax.random.key(0), (size, size), dtype)

    def rate(products: int) -> float:
        given = put_on_devices(x, products, spmd.AXIS)
        program = build(lambda a: a @ a, given, precision=precision)
        return products * 2.0 * size**3 / median_seconds(lambda: program.call(given), seconds=seconds)

    return max(rate(n) for n in {1, devices})


def memory_bandwidth(count: int, seconds: float) -> float:
    """Measures bytes per second of reading and writing a long vector."""
    x = jnp.ones(count, jnp.float32)
    program = build(lambda a: a + 1.0, x)
    return 8.0 * count / median_seconds(lambda: program.call(x), seconds=seconds)


def where() -> dict[str, str]:
    """Returns the columns that say where and when a row was measured."""
    kind = jax.devices()[0].device_kind
    return {"date": str(datetime.date.today()), "device": kind, "machine": describe_machine(), "jax": jax.__version__}


def read_table(path: Path) -> list[dict[str, str]]:
    """Reads the rows of a CSV as strings; none if it does not exist."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def is_known(table: Sequence[dict[str, str]], case: dict[str, Any]) -> bool:
    """Returns whether a case has been measured on this device."""
    wanted = {name: str(value) for name, value in (case | {"device": where()["device"]}).items()}
    return any(all(row[name] == value for name, value in wanted.items()) for row in table)
