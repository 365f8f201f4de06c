"""The commands, one file per noun. Everything heavy is imported when a command runs, not before."""
