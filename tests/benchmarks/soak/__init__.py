"""Hours of mixed batches on a fleet, in accelerated time, with restarts: what grows meanwhile?

`python -m tests.benchmarks.soak --minutes 12 --speed 10` runs two hours of the provider's time.
"""
