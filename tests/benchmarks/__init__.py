"""`make bench`: ratios measured in one run, never asserted."""
