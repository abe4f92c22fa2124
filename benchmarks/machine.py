"""What a measurement was made on, and with."""

from __future__ import annotations

import datetime
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

import rgrl_jax as rgrl


def describe_machine() -> str:
    """Device, processor and cores in one line."""
    device = jax.devices()[0]
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processor = f"{models[0] if models else platform.processor()}, {cores} cores"
    return processor if device.platform == "cpu" else f"{jax.device_count()} x {device.device_kind}, {processor}"


def describe_run(*packages: str) -> dict[str, Any]:
    """Date, machine, and versions of packages and of this library, to stand beside numbers."""
    versions = {name: metadata.version(name) for name in packages} | {"rgrl_jax": rgrl.__version__}
    return {"date": str(datetime.date.today()), "machine": describe_machine(), "versions": versions}
