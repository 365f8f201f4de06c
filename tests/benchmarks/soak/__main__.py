"""Start the fleet of deploy/compose, keep it busy and disturbed, sample it, and judge it."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

from tests.benchmarks.soak.disturbing import Disturber
from tests.benchmarks.soak.drawing import draw
from tests.benchmarks.soak.samples import Sampler, table
from tests.benchmarks.soak.work import Work
from tests.support.composed import Fleet, make_fleet
from tests.support.postgres import postgres_cluster

SECOND = {
    "worker-submit": "worker-submit-2",
    "worker-poll": "worker-poll-2",
}
"""Of each kind one stays for the whole time, to be watched; the other is ended and started."""
FAULTS = "submit:error_503:0.01", "submit:rate_limit_429:0.01", "poll:error_500:0.02"


@contextmanager
def soaking_fleet(folder: Path, speed: float) -> Iterator[Fleet]:
    with (
        postgres_cluster() as cluster,
        make_fleet(
            folder, cluster, "--env-file", "sandbox.env", "--profile", "sandbox", "--profile", "cli"
        ) as fleet,
    ):
        for name, second in SECOND.items():
            fleet.services[second] = service = deepcopy(fleet.services[name])
            service["command"] = [w.replace("@%h", "-2@%h") for w in service["command"]]
        sandbox = fleet.services["sandbox"]["command"]
        sandbox[sandbox.index("--speed") + 1] = f"{speed:g}"
        sandbox += ["--median", "60", "--failure-rate", "0.02"]
        for fault in FAULTS:
            sandbox += ["--fault", fault]
        yield fleet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--speed", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--svg", type=Path)
    options = parser.parse_args()
    seed = random.Random(options.seed)
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as place,
        soaking_fleet(Path(place), options.speed) as fleet,
    ):
        fleet.up("sandbox", "worker-submit", "worker-poll", "beat-1", "beat-2", "metrics")
        fleet.up(*SECOND.values())
        work = Work(fleet, random.Random(seed.random()))
        disturber = Disturber(fleet, random.Random(seed.random()))
        with Sampler(fleet) as sampler:
            end = time.monotonic() + 60 * options.minutes
            while time.monotonic() < end:
                work.go_on()
                disturber.go_on()
        told = work.ended()
        print(f"{options.minutes:g} minutes, {options.speed:g} times as fast: {told}")
        print(f"disturbed: {disturber}\n")
        print(table(sampler.curves))
        if options.svg is not None:
            options.svg.write_text(draw(sampler.curves))


if __name__ == "__main__":
    main()
