"""The Celery of the tutorials: a task for each row, a call of httpx, an ORM object, a commit.

`celery -A tests.benchmarks.tutorial worker`, with `TUTORIAL_BROKER`, `TUTORIAL_DATABASE` and
`TUTORIAL_URL` in the environment.
"""

from __future__ import annotations

import os

import httpx
from celery import Celery
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.benchmarks.contenders import body, headers

app = Celery("tutorial", broker=os.environ.get("TUTORIAL_BROKER"))
app.conf.task_ignore_result = True
engine = create_engine(os.environ.get("TUTORIAL_DATABASE", "sqlite://"))


class Base(DeclarativeBase):
    """The tutorial's tables."""


class Video(Base):
    """A row that was sent."""

    __tablename__ = "videos"

    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[str]
    status: Mapped[str]


@app.task(name="tutorial.send")
def send(number: int) -> None:
    url = os.environ["TUTORIAL_URL"]
    answer = httpx.post(f"{url}/tasks", json=body(number), headers=headers(), timeout=60)
    answer.raise_for_status()
    told = answer.json()
    with Session(engine) as session:
        session.add(Video(task_id=told["task_id"], status=told["status"]))
        session.commit()
