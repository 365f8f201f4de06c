"""doctor: what is reachable, configured, wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import Json

if TYPE_CHECKING:
    from orchestrator.domain.findings import Finding
    from orchestrator.settings import Settings


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: orchestrator doctor --fleet --json")(doctor)


def doctor(
    fleet: Annotated[
        bool,
        typer.Option("--fleet", help="Look at servers, workers and beats of a whole fleet too."),
    ] = False,
    json: Json = False,
) -> int:
    """Show what is configured, what can be reached, and what to mend."""
    from orchestrator.cli import fleet as whole
    from orchestrator.cli.output import print_json
    from orchestrator.domain.findings import Level
    from orchestrator.settings import load_settings

    settings = load_settings()
    checks: list[tuple[str, Callable[[Settings], str]]] = [
        ("data directory", _data_dir),
        ("database", _database),
        ("journal", _journal),
        ("lineage", _lineage),
        ("broker", _broker),
        ("workers", _workers),
        ("settings", _settings),
        ("API key", _api_key),
        ("provider", _provider),
    ]
    findings = [_find(name, check, settings) for name, check in checks]
    if fleet:
        findings += whole.findings(settings)
    if json:
        print_json([finding.as_json() for finding in findings])
    else:
        marks = {Level.OK: "ok  ", Level.WARNING: "warn", Level.BAD: "BAD "}
        for finding in findings:
            print(f"{marks[finding.level]} {finding.check:15} {finding.found}")
            if finding.mend:
                print(f"     {'':15} {finding.mend}")
    return 3 if any(finding.level is Level.BAD for finding in findings) else 0


def _find(name: str, check: Callable[[Settings], str], settings: Settings) -> Finding:
    from orchestrator.domain.findings import bad, ok
    from orchestrator.errors import OrchestratorError

    try:
        return ok(name, check(settings))
    except OrchestratorError as error:
        return bad(name, error.message, error.mend, code=error.code)


def _data_dir(settings: Settings) -> str:
    from orchestrator import places

    if not settings.data_dir.exists():
        return f"{settings.data_dir} (will be made by the first submit)"
    places.create_data_dir(settings.data_dir)
    return str(settings.data_dir)


def _database(settings: Settings) -> str:
    from orchestrator.runtime import open_store
    from orchestrator.store import schema, server
    from orchestrator.store.engine import safe_url
    from orchestrator.store.tables import SCHEMA

    url = safe_url(settings.database_url)
    if settings.database_url_setting is None and not settings.data_dir.exists():
        return f"{url} (will be made by the first submit)"
    store = open_store(settings)
    server.check(store)
    schema.check(store)
    return f"{url}, revision {SCHEMA}"


def _journal(settings: Settings) -> str:
    import os

    from orchestrator.errors import ConfigError

    if settings.journal_dir_setting is None and not settings.data_dir.exists():
        return "in the user's state directory (will be made by the first submit)"
    folder = settings.journal_dir
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        raise ConfigError(
            f"the journal directory {folder} cannot be written",
            mend="Give yourself permission there, or set ORCHESTRATOR_JOURNAL_DIR.",
        )
    return str(folder)


def _lineage(settings: Settings) -> str:
    """Whether the database knows what was sent, and which batches only a journal remembers."""
    from orchestrator.errors import NeedsPersonError, OrchestratorError
    from orchestrator.services import rejoining
    from orchestrator.store import lineage
    from orchestrator.store.engine import Store

    if settings.database_url_setting is None and not settings.data_dir.exists():
        return "nothing was sent yet"
    try:
        with Store(settings.database_url).read() as tx:
            gate, lost = rejoining.gate(tx), lineage.lost(tx)
            hosts = sorted({file.host for file in lineage.missing(tx)})
    except OrchestratorError:
        return "not known: the database does not answer"
    if gate is not None:
        gone = " or ".join(f"`orchestrator journal waive {host}`" for host in hosts)
        hint = f" Where a machine is gone for good with its journal: {gone}." if gone else ""
        raise NeedsPersonError(gate.message, mend=gate.mend + hint)
    if lost:
        titles = ", ".join(f"{one.name}@{one.label} ({one.host})" for one in lost)
        raise NeedsPersonError(
            f"only a journal knows of {titles}",
            mend="`orchestrator recover SPEC` on that machine puts each back without buying.",
        )
    return "the database knows what the journals say"


def _broker(settings: Settings) -> str:
    from orchestrator.store.engine import safe_url
    from orchestrator.supervisor import children

    if settings.embedded_broker:
        return f"embedded ({children.broker_binary()}), started by `run` and `up`"
    from orchestrator.runtime import check_servers

    check_servers(settings, database=False)
    return safe_url(settings.broker_url)


def _workers(settings: Settings) -> str:
    from orchestrator.errors import OrchestratorError
    from orchestrator.store import workers
    from orchestrator.store.engine import Store

    if settings.database_url_setting is None and not settings.data_dir.exists():
        return "none (`run` and `up` start them)"
    try:
        with Store(settings.database_url).read() as tx:
            alive = workers.alive(tx)
    except OrchestratorError:
        return "not known: the database does not answer"
    return ", ".join(alive) or "none (`run` and `up` start them)"


def _settings(settings: Settings) -> str:
    from orchestrator.errors import ConfigError

    strange = settings.strangers()
    if strange:
        raise ConfigError("; ".join(strange), mend="Mend the name, or unset it.")
    return "no unknown variable"


def _api_key(settings: Settings) -> str:
    settings.require_any_account()
    first, *more = (f"{one.name} {one.id}" for one in settings.accounts)
    if not more and settings.api_key is not None:
        return f"set, fingerprint {settings.accounts.every[0].id}"
    return f"set, by account with its fingerprint: {', '.join((first, *more))}"


def _provider(settings: Settings) -> str:
    from orchestrator.cli import starting
    from orchestrator.errors import ConfigError

    if not settings.accounts:
        return f"{settings.base_url} (not tried without a key)"
    for account in settings.accounts:
        try:
            starting.check_key(settings, account)
        except ConfigError as error:
            error.message += f" ({account.variable})"
            raise
    keys = "the key" if len(settings.accounts) == 1 else f"all {len(settings.accounts)} keys"
    return f"{settings.base_url} answers and takes {keys}"
