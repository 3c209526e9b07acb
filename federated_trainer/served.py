"""Which version is served and which was before, in one small file that is replaced atomically."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from federated_trainer.errors import RegistryError

BASE = -1  # the base model, without an adapter


@dataclass(frozen=True, slots=True)
class ServedState:
    """`previous` is the way back, still loaded. `withdrawn`: versions that were rolled back; no round starts from one."""

    current: int = BASE
    previous: int | None = None
    withdrawn: tuple[int, ...] = ()

    def rolled_back(self, to: int) -> ServedState:
        return ServedState(to, None, (*self.withdrawn, self.current) if self.current >= 0 else self.withdrawn)

    def promoted(self, version: int) -> ServedState:
        return ServedState(version, self.current, tuple(n for n in self.withdrawn if n != version))


class ServedStore:
    """The file at `path`; without one the base model is served."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> ServedState:
        """Raises RegistryError where the file is damaged."""
        if not self._path.exists():
            return ServedState()
        try:
            raw = json.loads(self._path.read_text())
            return ServedState(raw["current"], raw["previous"], tuple(raw.get("withdrawn", ())))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RegistryError(f"{self._path.name} is damaged; `llmos federate promote VERSION` writes it anew.") from error

    def write(self, state: ServedState) -> None:
        write_atomically(self._path, json.dumps(asdict(state)) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Readers see the old file or the new one, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
