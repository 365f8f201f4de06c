"""What closes a gate, what a person can do about it, and how it may open again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.domain.account import KEY_VARIABLE
from orchestrator.domain.outcome import GateReason


class Probe(StrEnum):
    """How a closed gate is tried: by time alone, by asking for a task, by sending one row."""

    NONE = "none"
    ASK = "ask"
    ROW = "row"


@dataclass(frozen=True, slots=True)
class Kind:
    """A reason's sentence, its mend, its probe, and the code a command ends with.

    `patient`: a standing gate of this kind is waited out, since it may mend by itself.
    """

    sentence: str
    mend: str
    probe: Probe
    probe_every: int = 30_000
    """Milliseconds between two probes."""
    patient: bool = False
    exit_code: int = 3

    def mend_for(self, key_variable: str) -> str:
        """The mend, for an account whose key is set by this variable."""
        return self.mend.replace(KEY_VARIABLE, key_variable)


KINDS: dict[GateReason, Kind] = {
    GateReason.UNAUTHORIZED: Kind(
        "the provider refuses the API key",
        "Set MINDVIDEO_API_KEY to a valid key and run the same command again.",
        Probe.ASK,
    ),
    GateReason.NO_API_KEY: Kind(
        "no key is set for its account",
        "Set MINDVIDEO_API_KEY (or MINDVIDEO_API_KEY_FILE) wherever workers run, and start them "
        "again.",
        Probe.NONE,
    ),
    GateReason.FORBIDDEN: Kind(
        "the provider forbids this account to send",
        "Check the account and the key behind MINDVIDEO_API_KEY, then run the same command again.",
        Probe.ASK,
    ),
    GateReason.PAYMENT_REQUIRED: Kind(
        "the account's balance is used up",
        "Top up the account behind MINDVIDEO_API_KEY; sending goes on by itself.",
        Probe.ROW,
    ),
    GateReason.NOT_FOUND: Kind(
        "the provider knows no such address or model",
        "Check MINDVIDEO_BASE_URL and the model's name, then run the same command again.",
        Probe.ROW,
    ),
    GateReason.UNEXPECTED: Kind(
        "the provider gave an answer that is not in its documentation",
        "Check MINDVIDEO_BASE_URL; `orchestrator doctor` shows what answers there.",
        Probe.ROW,
    ),
    GateReason.RATE_LIMITED: Kind(
        "the provider asks to slow down",
        "Nothing to do; sending goes on by itself. ORCHESTRATOR_REQUESTS_PER_SECOND sets the pace.",
        Probe.NONE,
    ),
    GateReason.UNAVAILABLE: Kind(
        "the provider is unavailable",
        "Nothing to do; sending goes on by itself.",
        Probe.NONE,
    ),
    GateReason.UNREACHABLE: Kind(
        "the provider cannot be reached",
        "Check MINDVIDEO_BASE_URL and the network; sending goes on by itself.",
        Probe.NONE,
    ),
    GateReason.FAILING: Kind(
        "the provider fails again and again, so one row at a time tries whether it works",
        "Nothing to do; sending goes on by itself once a row gets through.",
        Probe.ROW,
        probe_every=5_000,
        patient=True,
    ),
    GateReason.DATABASE_WENT_BACK: Kind(
        "the database went back to an older state and does not know yet what was sent since",
        "Nothing to do while workers run: it goes on by itself once each has merged its journal. "
        "`orchestrator doctor` shows whose is missing.",
        Probe.NONE,
        patient=True,
    ),
}
