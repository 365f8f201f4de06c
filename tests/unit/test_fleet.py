"""What the signs of life of a fleet mean together."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from orchestrator.domain.findings import Level
from orchestrator.domain.fleet import About, Member, about_from, connections_of, examine
from orchestrator.machine import plain_secrets

QUEUES = ("submit", "poll", "ticks")
GOOD = About(
    host="a",
    machine="boot-a",
    version="1.0",
    queues=QUEUES,
    connections=5,
    provider="https://provider/v1",
    journal="/journal",
    journal_id="j-a",
    journal_kind="ext4",
    journal_lasting="disk",
    journal_free=50_000_000_000,
    ahead=3,
    doubt=1,
)
OTHER = replace(GOOD, host="b", machine="boot-b", journal_id="j-b")
BEATS = ("gen1@a", "gen2@b")


def member(about: About | None, *, name: str = "a:1", processes: int = 2) -> Member:
    return Member(name, processes, submits=True, about=about)


def found(*abouts: About | None, beats: tuple[str, ...] = BEATS) -> dict[str, list[str]]:
    """Check -> the sentences that are not fine, with their level."""
    names = [f"{about.host if about else 'old'}:{i}" for i, about in enumerate(abouts)]
    members = [member(about, name=name) for about, name in zip(abouts, names, strict=True)]
    told: dict[str, list[str]] = {}
    for one in examine(members, beats, version="1.0", queues=QUEUES):
        assert (one.level is Level.OK) == (one.mend is None)
        if one.level is not Level.OK:
            told.setdefault(one.check, []).append(f"{one.level}: {one.found}")
    return told


def test_a_good_fleet() -> None:
    assert found(GOOD, OTHER) == {}
    assert connections_of([member(GOOD), member(OTHER), member(None)]) == 10


def test_nobody_is_there() -> None:
    assert found(beats=()) == {
        "workers": ["bad: no worker is alive, so nothing is sent"],
        "beats": [
            "bad: no tick has come from a beat lately: nothing is dispatched, polled or rescued"
        ],
    }


def test_a_queue_that_nobody_takes() -> None:
    assert found(replace(GOOD, queues=("submit",)), OTHER) == {}
    only = found(replace(GOOD, queues=("submit",)))
    assert only["queues"] == [
        "bad: no worker takes the queue poll",
        "bad: no worker takes the queue ticks",
    ]


def test_one_beat_alone() -> None:
    assert found(GOOD, beats=("gen1@a",))["beats"][0].startswith("warning: one beat sends ticks")


def test_releases_apart() -> None:
    (told,) = found(GOOD, replace(OTHER, version="1.1"), None)["versions"]
    assert told.startswith("warning")
    assert "1.0: a; 1.1: b; an older release: old" in told


def test_clocks_name_the_machine_once() -> None:
    hour = replace(OTHER, ahead=3_600_000)
    told = found(GOOD, hour, replace(hour, ahead=3_599_000), replace(GOOD, ahead=-4_000))["clocks"]
    assert told == [
        "warning: the clock of a is 4 s behind the database's",
        "bad: the clock of b is 3,600 s ahead of the database's: nothing is sent from there",
    ]


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({"journal_lasting": "ephemeral", "journal_kind": "tmpfs"}, "bad", "(tmpfs) is gone with"),
        ({"journal_lasting": "network", "journal_kind": "nfs4"}, "warning", "network file system"),
        ({"journal_id": ""}, "bad", "cannot be written"),
        ({"journal_free": 5_000_000}, "warning", "5 MB are free"),
    ],
)
def test_journals(change: dict[str, object], level: str, words: str) -> None:
    (told,) = found(replace(GOOD, **change), replace(GOOD, **change), OTHER)["journals"]
    assert told.startswith(level)
    assert words in told


def test_two_machines_on_one_directory_and_two_containers_of_one_machine() -> None:
    (told,) = found(GOOD, replace(OTHER, journal_id="j-a"))["journals"]
    assert told.startswith("warning: a, b write their journals into one directory")
    assert found(GOOD, replace(OTHER, journal_id="j-a", machine="boot-a")) == {}


def test_secrets_are_named_never_told() -> None:
    told = found(replace(GOOD, plain_secrets=("MINDVIDEO_API_KEY",)), OTHER)["secrets"]
    assert len(told) == 1
    assert "MINDVIDEO_API_KEY stands in the environment on a" in told[0]


def test_a_machine_without_an_accounts_key_is_named() -> None:
    both = replace(GOOD, accounts=("default:k1", "team_b:k2"))
    assert found(both, replace(OTHER, accounts=both.accounts)) == {}
    (told,) = found(both, replace(OTHER, accounts=("default:k1",)))["accounts"]
    assert told == "warning: b has no key for the account team_b, which others have"
    (told,) = found(both, replace(OTHER, accounts=("default:k3", "team_b:k2")))["accounts"]
    assert "the account default is not the same key on a, b" in told


def test_different_providers() -> None:
    (told,) = found(GOOD, replace(OTHER, provider="http://localhost/v1"))["provider"]
    assert told.startswith("bad: workers send to different addresses")


def test_what_is_written_is_read_by_older_and_newer_releases() -> None:
    assert about_from(GOOD.to_json()) == GOOD
    newer = json.loads(GOOD.to_json()) | {"something": "new"}
    assert about_from(json.dumps(newer)) == GOOD
    assert about_from('{"host":"a"}') == About(host="a")
    assert about_from(None) is None


def test_which_variables_hold_a_secret_themselves() -> None:
    environment = {
        "MINDVIDEO_API_KEY": "mv_live_x",
        "MINDVIDEO_API_KEY_TEAM": "mv_live_y",
        "MINDVIDEO_API_KEY_OTHER_FILE": "/run/secrets/other",
        "ORCHESTRATOR_DATABASE_URL": "postgresql://u:p@db/x",
        "ORCHESTRATOR_BROKER_URL": "redis://broker:6379/0",
        "ORCHESTRATOR_WEBHOOK_SECRET": "",
        "FLOWER_BASIC_AUTH": "a:b",
        "FLOWER_BASIC_AUTH_FILE": "/run/secrets/flower",
        "HOME": "/root",
    }
    assert plain_secrets(environment) == [
        "MINDVIDEO_API_KEY",
        "MINDVIDEO_API_KEY_TEAM",
        "ORCHESTRATOR_DATABASE_URL",
    ]
