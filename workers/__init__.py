"""The Celery side: the app that `celery -A workers` finds, its tasks and its ticks."""

from workers.app import app as celery

__all__ = ["celery"]
