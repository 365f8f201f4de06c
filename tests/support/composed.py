"""The services of deploy/compose as processes of this machine: their own commands, no containers.

What a container would give is mapped by one table: each service has a loopback address (so every
port stays as it is), and its mounts are folders. Nothing else of a command or a variable changes.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Container, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.postgres import Cluster
from tests.support.valkey import binary

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"
BIN = Path(sys.executable).parent
_STOP_SIGNALS = {"postgres": signal.SIGINT}
"""What the images say; every other's is SIGTERM."""
_READY_SECONDS = 120


def composed(*options: str) -> dict[str, Any]:
    """What Compose itself makes of the file: anchors, variables and defaults put in."""
    done = subprocess.run(
        [str(BIN / "docker-compose"), *options, "config", "--format", "json"],
        cwd=COMPOSE,
        env={"PATH": os.defpath, "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.replace("$$", "$"))
    return found


def image_variables() -> dict[str, str]:
    """The last stage's ENV."""
    text = (
        (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", " ").rpartition("\nFROM ")[2]
    )
    lines = [line.removeprefix("ENV ") for line in text.splitlines() if line.startswith("ENV ")]
    return dict(word.split("=", 1) for line in lines for word in shlex.split(line))


@dataclass
class Fleet(AbstractContextManager["Fleet"]):
    """Starts services with what they depend on; ends all that is left with the block."""

    folder: Path
    cluster: Cluster
    services: dict[str, Any]
    files: dict[str, Path]
    """Configs and secrets by `configs/NAME` and `secrets/NAME`."""
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def address(self, service: str) -> str:
        """The service's own; a second fleet on this machine has others."""
        high, low = divmod(os.getpid() % 50_000, 250)
        return f"127.{20 + high}.{low}.{2 + sorted(self.services).index(service)}"

    def mounts(self, name: str) -> dict[str, Path]:
        service = self.services[name]
        own = self.folder / name
        found = {path.partition(":")[0]: own for path in service.get("tmpfs", ())}
        found = {path: Path(f"{folder}{path}") for path, folder in found.items()}
        for mount in service.get("volumes", ()):
            found[mount["target"]] = self.folder / "volumes" / Path(mount["source"]).name
        if name == "postgres":
            found["/var/run/postgresql"] = self.cluster.folder
        for kind in ("secrets", "configs"):
            for one in service.get(kind, ()):
                found[one["target"]] = self.files[f"{kind}/{one['source']}"]
        return found

    def mapped(self, name: str, text: str) -> str:
        """A command's word or a variable's value, with this machine's places and addresses."""
        places = {path: str(place) for path, place in self.mounts(name).items()}
        places["/opt/orchestrator/bin"] = str(BIN)
        hosts = dict.fromkeys(("0.0.0.0", "localhost"), self.address(name))
        paths = "|".join(re.escape(path) for path in sorted(places, key=len, reverse=True))
        text = re.sub(
            rf"(?<![\w/.-])({paths})(?![\w.-])|\b(0\.0\.0\.0|localhost)\b",
            lambda found: places[found[1]] if found[1] else hosts[found[2]],
            text,
        )
        return self.with_addresses(text)

    def with_addresses(self, text: str) -> str:
        services = "|".join(self.services)
        return re.sub(rf"\b({services})(?=:\d)", lambda found: self.address(found[1]), text)

    def environment(self, name: str) -> dict[str, str]:
        service = self.services[name]
        given = image_variables() if "build" in service else {}
        given = given | {k: v for k, v in (service.get("environment") or {}).items() if v}
        mapped = {key: self.mapped(name, value) for key, value in given.items()}
        mapped["PATH"] = f"{BIN}:{self.cluster.programs}:{os.defpath}"
        mapped["HOSTNAME"] = os.uname().nodename
        return mapped

    def argv(self, name: str, *arguments: str) -> list[str]:
        service = self.services[name]
        words = [*(service.get("entrypoint") or ()), *(arguments or service.get("command") or ())]
        mapped = [self.mapped(name, word) for word in words]
        if "--host" in mapped:
            mapped[mapped.index("--host") + 1] = self.address(name)
        if mapped[0] == "valkey-server":
            mapped[0] = str(binary())
        if mapped[0] == "postgres":
            mapped += self.cluster.arguments(self.address(name))
        return mapped

    def popen(self, name: str, argv: Sequence[str], **more: Any) -> subprocess.Popen[bytes]:
        for place in self.mounts(name).values():
            if not place.exists():
                place.mkdir(parents=True)
        work = self.mounts(name).get("/work", self.folder)
        with (self.folder / f"{name}.log").open("ab") as log:
            more = {"stdout": log, "stderr": log} | more
            user = self.cluster.user if name == "postgres" else None
            return subprocess.Popen(argv, cwd=work, env=self.environment(name), user=user, **more)

    def up(self, *names: str) -> None:
        """Start these services, each after what it depends on is as it must be."""
        for name in names:
            if name in self.running:
                continue
            for needed, how in self.services[name].get("depends_on", {}).items():
                self.up(needed)
                self._await(needed, how["condition"])
            self.running[name] = self.popen(name, self.argv(name))

    def _await(self, name: str, condition: str) -> None:
        if condition == "service_completed_successfully":
            assert self.running[name].wait(_READY_SECONDS) == 0, self.log(name)
            return
        assert condition == "service_healthy", condition
        end = time.monotonic() + _READY_SECONDS
        while not self.healthy(name):
            assert self.running[name].poll() is None, self.log(name)
            assert time.monotonic() < end, f"{name} does not become healthy: {self.log(name)}"
            time.sleep(0.3)

    def healthy(self, name: str) -> bool:
        """What the service's own health check says."""
        check = self.services[name]["healthcheck"]["test"]
        argv = [self.mapped(name, word) for word in check[1:]]
        if check[0] == "CMD-SHELL":
            argv = ["sh", "-c", *argv]
        if argv[0] == "valkey-cli" and shutil.which("valkey-cli") is None:
            return self._pings(argv)
        return self.popen(name, argv).wait(_READY_SECONDS) == 0

    @staticmethod
    def _pings(argv: Sequence[str]) -> bool:
        import redis

        told = dict(itertools.pairwise(argv))
        try:
            with redis.Redis(told["-h"], username=told["--user"], password=told["--pass"]) as one:
                return bool(one.ping())
        except redis.RedisError:
            return False

    def run(
        self, name: str, *arguments: str, timeout: float = 300, codes: Container[int] = (0,)
    ) -> str:
        """`docker compose run NAME ARGUMENTS`; its output."""
        argv = self.argv(name, *arguments)
        process = self.popen(name, argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = process.communicate(timeout=timeout)
        assert process.returncode in codes, output.decode()
        return output.decode()

    def stop(self, name: str) -> int:
        """As `docker compose stop`: its signal, its grace; the exit code."""
        process = self.running.pop(name)
        process.send_signal(_STOP_SIGNALS.get(name, signal.SIGTERM))
        return process.wait(_seconds(self.services[name].get("stop_grace_period", "10s")))

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in reversed(self.running.values()):
            process.kill()
            process.wait()


def _seconds(text: str) -> float:
    minutes, seconds = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", text).groups()  # type: ignore[union-attr]
    return 60 * int(minutes or 0) + int(seconds or 0)


def make_fleet(folder: Path, cluster: Cluster, *options: str) -> Fleet:
    """A fleet that is configured and not started; its secrets come from deploy's own script."""
    secrets = folder / "secrets"
    subprocess.run(
        ["sh", str(COMPOSE / "make-secrets"), "--sandbox", str(secrets)],
        check=True,
        capture_output=True,
    )
    found = composed(*options)
    files = {f"secrets/{name}": secrets / name for name in found["secrets"]}
    files |= {f"configs/{name}": Path(one["file"]) for name, one in found["configs"].items()}
    fleet = Fleet(folder, cluster, found["services"], files)
    for place in secrets.iterdir():
        place.chmod(0o600)
        place.write_text(fleet.with_addresses(place.read_text()))
    variables: Mapping[str, str] = found["services"]["postgres"]["environment"]
    cluster.create(
        variables["POSTGRES_USER"],
        (secrets / "postgres_password").read_text().strip(),
        variables["POSTGRES_DB"],
    )
    return fleet
