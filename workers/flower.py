"""Flower as `celery -A workers flower` starts it: never open to all unless somebody says so."""

from __future__ import annotations

import secrets
from collections.abc import MutableMapping, Sequence

from orchestrator.settings import Settings

COLUMNS = "name,uuid,state,args,kwargs,result,received,runtime,worker"


def protect(
    arguments: Sequence[str], environment: MutableMapping[str, str], settings: Settings
) -> str | None:
    """Give Flower what it was not told: address, log-in, a memory; returns a log-in made up here.

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
    default("port", str(settings.flower_port))
    default("tasks_columns", COLUMNS)
    if default("persistent", "true"):
        default("db", str(settings.data_dir / "flower.db"))
        default("state_save_interval", "60000")
    elsewhere = {"auth", "auth_provider"} & given or environment.get("FLOWER_AUTH")
    told = settings.flower_basic_auth
    login = told.get_secret_value() if told else f"admin:{secrets.token_urlsafe(12)}"
    if elsewhere or not default("basic_auth", login) or told:
        return None
    return login
