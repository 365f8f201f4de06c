"""Flower as `celery -A workers flower` starts it: never open to all unless somebody says so."""

from __future__ import annotations

import secrets
from collections.abc import MutableMapping, Sequence
from pathlib import Path

COLUMNS = "name,uuid,state,args,kwargs,result,received,runtime,worker"


def protect(
    arguments: Sequence[str], environment: MutableMapping[str, str], data_dir: Path
) -> str | None:
    """Give Flower what it was not told: loopback, a password, a memory; returns a new password.

    Options on the command line and variables that are set already win.
    """
    if "flower" not in arguments[1:]:
        return None
    given = {argument.partition("=")[0].lstrip("-").replace("-", "_") for argument in arguments}

    def default(option: str, value: str) -> bool:
        name = f"FLOWER_{option.upper()}"
        if option in given or environment.get(name):
            return False
        environment[name] = value
        return True

    default("address", "127.0.0.1")
    default("tasks_columns", COLUMNS)
    if default("persistent", "true"):
        default("db", str(data_dir / "flower.db"))
        default("state_save_interval", "60000")
    elsewhere = {"auth", "auth_provider"} & given or environment.get("FLOWER_AUTH")
    password = secrets.token_urlsafe(12)
    if elsewhere or not default("basic_auth", f"admin:{password}"):
        return None
    return password
