"""Ray of this process alone: started for the first workers, stopped after the last.

Its servers listen on 127.0.0.1 only and ask for a token that nobody else has; its files lie
in a folder that only this user can read; there is no dashboard, and nothing is reported. A
Ray that the process has joined before, or that RAY_ADDRESS names, is used as it is.
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from elicit.providers.base import ModelError

ADDRESS = "RAY_ADDRESS"
"""Names the cluster to join."""
_TOKEN = secrets.token_hex(32)
"""One for all of this process's time, as Ray's driver reads it once."""
_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": _TOKEN,
    # The one way to have Ray take the loopback address for its node's; it is on by default
    # where firewalls would ask about it.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # It writes a trace to stderr at every SIGTERM.
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
    # Workers see the GPUs that this process sees.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray's messages about processes that ended, which it prints among the results on stdout.
    "RAY_DEDUP_LOGS": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
}
_OBJECTS = 80 * 2**20
"""Bytes for objects between processes, about the least that Ray takes: scores are small."""
_ENDING_SECONDS = 5.0
"""Within which Ray's processes have ended."""


@dataclass(slots=True)
class _Own:
    """The Ray that this process has started."""

    folder: Path
    environment: dict[str, str | None]
    """What the variables were before."""
    users: int = 1


_imported: dict[str, ModuleType] = {}
"""Ray, where it was first imported in the environment that it reads then."""
_own: _Own | None = None
_lock = threading.RLock()


def join() -> bool:
    """Have Ray running. Whoever calls it calls `leave` at the end.

    Returns whether it is of this process alone.

    Raises:
        ModelError: it can't be started, or not so that it listens on this machine only.
    """
    global _own  # noqa: PLW0603  # Ray itself is one for the process
    with _lock:
        if _own is not None:
            _own.users += 1
            return True
        address = os.environ.get(ADDRESS)
        if address:
            _joined(address)
            return False
        started = _started()
        _own = started
        return started is not None


def leave() -> None:
    """Stop Ray if this process has started it and nobody else uses it."""
    with _lock:
        if _own is not None:
            _own.users -= 1
            if not _own.users:
                _stop()


def _joined(address: str) -> None:
    import ray

    if ray.is_initialized():
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ModelError(f"{ADDRESS}={address}: can't be joined: {_line(error)}") from error


def _started() -> _Own | None:
    """None where the process has a Ray already."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    imported = sys.modules.get("ray")
    os.environ.update(_ENVIRONMENT)
    import ray

    if ray.is_initialized():
        _restore(before)
        return None
    if imported is not None and imported is not _imported.get("ray"):
        _restore(before)
        raise ModelError(
            "Ray was imported before elicit could tell it to listen on this machine only: "
            "call ray.init() yourself, and elicit joins it, or import Ray after the first "
            "scores"
        )
    _imported["ray"] = ray
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    own = _Own(_folder(), before)
    try:
        ray.init(
            address="local",
            # Ray deals no work here, so cores are of no account to it.
            num_cpus=1,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            configure_logging=False,
            object_store_memory=_OBJECTS,
            # Ray opens its own folder to everybody.
            _temp_dir=str(own.folder / "ray"),
        )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        _put_away(own)
        raise ModelError(f"Ray can't be started here: {_line(error)}") from error
    except BaseException:
        _put_away(own)
        raise
    return own


@atexit.register
def _stop() -> None:
    global _own  # see `join`
    with _lock:
        if _own is not None:
            own, _own = _own, None
            _put_away(own)


def _folder() -> Path:
    """A new one of this user alone. Ray has sockets in it, whose paths may not be long."""
    place = tempfile.gettempdir()
    return Path(
        tempfile.mkdtemp(prefix="elicit-ray-", dir=place if len(place) < 16 else "/tmp")
    )


def _put_away(own: _Own) -> None:
    import ray

    ray.shutdown()
    _restore(own.environment)
    # Ray's processes may still write into it while they end.
    end = time.monotonic() + _ENDING_SECONDS
    while own.folder.exists() and time.monotonic() < end:
        shutil.rmtree(own.folder, ignore_errors=True)
        time.sleep(0.02)


def _restore(environment: dict[str, str | None]) -> None:
    for name, value in environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
