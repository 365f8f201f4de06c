"""Every benchmark, one after another; figures are ratios of one run."""

from __future__ import annotations

from tests.benchmarks import cadence, downloads, intake, purchase


def main() -> None:
    intake.report()
    print()
    purchase.report()
    print()
    downloads.report()
    print()
    cadence.report()


if __name__ == "__main__":
    main()
