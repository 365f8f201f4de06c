"""Orders to die, and the environment in which started processes carry them out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Orders:
    """`folder` holds a file for each point at which a process is to die."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        own = str(Path(__file__).parent)
        path = os.pathsep.join(filter(None, [own, os.environ.get("PYTHONPATH")]))
        return {"PYTHONPATH": path, "DIE_ORDERS": str(self.folder)}

    def give(self, *points: str) -> None:
        for point in points:
            (self.folder / point).touch()

    def take_back(self) -> None:
        for order in self.folder.iterdir():
            order.unlink()

    @property
    def open(self) -> set[str]:
        """Points nobody has died at yet."""
        return {order.name for order in self.folder.iterdir() if order.suffix != ".died"}
