"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import jax


def describe_machine() -> str:
    """Device, processor and cores in one line."""
    device = jax.devices()[0]
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processor = f"{models[0] if models else platform.processor()}, {cores} cores"
    return processor if device.platform == "cpu" else f"{jax.device_count()} x {device.device_kind}, {processor}"
