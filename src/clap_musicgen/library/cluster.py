"""Ray itself: importing it, being connected, keeping it quiet, its errors in a line.

Only `scale` uses it. Knows neither workers nor music.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pickle import PicklingError
from typing import Any

from clap_musicgen.errors import InputError, LibraryError

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "A worker died or was killed",  # we tell it ourselves, in a line
}
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def import_ray() -> Any:
    """Return Ray; InputError where it is not installed."""
    try:
        with _quiet():
            import ray
    except ImportError as error:
        raise InputError(
            "the engine 'ray' needs Ray: pip install 'clap-musicgen[scale]'"
        ) from error
    return ray


@contextmanager
def connected(ray: Any, address: str | None, *, cpus: int) -> Iterator[None]:
    """Be connected to a cluster, or have one of `cpus` cores here; it ends with the block.

    Raises:
        LibraryError: it cannot be reached, or does not start.
    """
    if ray.is_initialized() and address is None:
        yield  # somebody else's
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"address": "local", "num_cpus": cpus, "include_dashboard": False}
    else:
        options["address"] = address
    try:
        with _quiet():
            ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise LibraryError(
            f"cannot reach the Ray cluster {address or 'of this machine'!r}: "
            f"{gist(error)}. Start one with `ray start --head`, or name no address"
        ) from error
    try:
        yield
    finally:
        with _quiet():
            ray.shutdown()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray from reporting its use over the network, and from warning of its own affairs.

    A cluster of our own is made of children, which are to find the modules that we find.
    """
    wanted = _QUIET | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def check_gpus(ray: Any, gpus: float) -> None:
    """InputError unless the cluster has so many, for one worker at least."""
    held = float(ray.cluster_resources().get("GPU", 0.0))
    if gpus > held:
        raise InputError(
            f"each worker shall have {gpus:g} GPUs, but the cluster has {held:g}: "
            "ask for fewer, or for none"
        )


def shared(ray: Any, model: Any) -> Any:
    """Put a model where all workers can take it from; InputError if it cannot be sent."""
    try:
        return ray.put(model)
    except (TypeError, AttributeError, PicklingError) as error:
        raise InputError(
            f"the model cannot be sent to the workers ({gist(error)}): give "
            "RayEngine(load=...), a function that loads it there"
        ) from error


def original(error: Any) -> BaseException:
    """What was raised on the worker, as if it had been raised here."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, Exception) else error


def gist(error: BaseException) -> str:
    """One line of an error: Ray's go on with traces and advice."""
    inner = getattr(error, "cause", None)
    if isinstance(inner, Exception):
        return f"{type(inner).__name__}: {gist(inner)}"
    lines = _lines(error)
    return lines[0].rstrip(".:")[:300] if lines else type(error).__name__


def last_line(error: BaseException) -> str:
    """What was raised in the end, where only the trace tells."""
    return _lines(error)[-1][:300]


def _lines(error: BaseException) -> list[str]:
    text = _COLOURS.sub("", str(error))
    return [line.strip() for line in text.splitlines() if line.strip()]
