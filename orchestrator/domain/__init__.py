"""Pure decisions: arguments in, decision out; no I/O, no clock, no randomness."""
