"""Every benchmark, one after another; figures are ratios of one run, kept in build/bench.json."""

from __future__ import annotations

from tests.benchmarks import (
    cadence,
    downloads,
    growth,
    intake,
    makespan,
    outstanding,
    purchase,
    submitting,
)


def main() -> None:
    for part in (
        submitting,
        makespan,
        outstanding,
        growth,
        intake,
        purchase,
        downloads,
        cadence,
    ):
        part.report()
        print(flush=True)


if __name__ == "__main__":
    main()
