"""db upgrade, db current."""

from __future__ import annotations

import typer

from orchestrator.cli.options import Json

app = typer.Typer(no_args_is_help=True, help="The database's tables.")


@app.command(epilog="Example: orchestrator db upgrade")
def upgrade(json: Json = False) -> int:
    """Make or migrate the tables to what this release needs."""
    from orchestrator import places
    from orchestrator.cli.output import print_json
    from orchestrator.runtime import open_store
    from orchestrator.settings import load_settings
    from orchestrator.store import schema, server
    from orchestrator.store.engine import safe_url

    settings = load_settings()
    places.create_data_dir(settings.data_dir)
    store = open_store(settings)
    if schema.is_old(store):
        server.check(store, creates=True)
    before, after = schema.upgrade(store)
    if json:
        print_json({"database": safe_url(settings.database_url), "before": before, "after": after})
    elif before == after:
        print(f"the database is at revision {after} already")
    else:
        print(f"the database was at {before or 'nothing'} and is at revision {after} now")
    return 0


@app.command(epilog="Example: orchestrator db current")
def current(json: Json = False) -> int:
    """Show which revision the tables are at."""
    from orchestrator import places
    from orchestrator.cli.output import print_json
    from orchestrator.settings import load_settings
    from orchestrator.store import schema
    from orchestrator.store.engine import Store, safe_url
    from orchestrator.store.tables import SCHEMA

    settings = load_settings()
    if settings.database_url_setting is None:
        places.installation_id(settings.data_dir)
    found = schema.current(Store(settings.database_url))
    url = safe_url(settings.database_url)
    if json:
        print_json({"database": url, "current": found, "needed": SCHEMA})
    else:
        print(f"{url}: revision {found or 'none'}, this release needs {SCHEMA}")
    return 0
