"""The workers' Celery app, with a broker that gives a message up after two seconds."""

from __future__ import annotations

from workers.app import app

app.conf.broker_transport_options = {
    **app.conf.broker_transport_options,
    "visibility_timeout": 2,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}
