"""Importing this imports all that a worker needs; local workers are forks of what has done so.

The process ends with the supervisor that started it, and its forks with it, which
`multiprocessing` would not see to: each fork holds what keeps it alive.
"""

from orchestrator.supervisor.forking import die_with_parent
from workers.run_celery import load

die_with_parent()
load()
