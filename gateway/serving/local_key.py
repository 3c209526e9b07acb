"""The API key for one's own machine: `LLMOS_DEV_KEY`, or one made at the first start and shown once.

The gateway keeps it as a keyed hash only, and this module keeps nothing but the fact that one was shown. A later start makes
a key of its own for the demonstration's request and shows it to nobody. Production gets none: keys come from `llmos keys`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Self

from gateway.settings import Settings

KEY_BYTES = 32


class Origin(Enum):
    SETTING = "LLMOS_DEV_KEY"
    FIRST_START = "made now, shown once"
    DEMONSTRATION = "made now, never shown"
    NONE = "no key"


@dataclass(frozen=True, slots=True)
class LocalKey:
    value: str | None = field(repr=False)
    origin: Origin

    @classmethod
    def of(cls, settings: Settings, *, demonstrates: bool) -> Self:
        """The key that this start hands to the gateway."""
        if settings.dev_key is not None:
            return cls(settings.dev_key.get_secret_value(), Origin.SETTING)
        if settings.env == "production":
            return cls(None, Origin.NONE)
        if not _marker(settings).exists():
            return cls(_new(), Origin.FIRST_START)
        return cls(_new(), Origin.DEMONSTRATION) if demonstrates else cls(None, Origin.NONE)

    def remember(self, settings: Settings) -> None:
        """Call it once the gateway has taken the key: the next start will not make one to show."""
        if self.origin is Origin.FIRST_START:
            _marker(settings).touch(mode=0o600)

    @property
    def for_shell(self) -> str:
        """What stands for the key inside double quotes of a command line that a person copies."""
        if self.origin is Origin.FIRST_START and self.value is not None:
            return self.value
        return "$LLMOS_DEV_KEY" if self.origin is Origin.SETTING else "YOUR_KEY"

    @property
    def for_python(self) -> str:
        """The same as a Python expression."""
        return 'os.environ["LLMOS_DEV_KEY"]' if self.origin is Origin.SETTING else f'"{self.for_shell}"'

    @property
    def explanation(self) -> str:
        match self.origin:
            case Origin.SETTING:
                return "The key is the value of LLMOS_DEV_KEY."
            case Origin.FIRST_START:
                return "Its key is shown this once and kept as a keyed hash only; write it down."
            case _:
                return "The key is the one shown at the first start; lost, `llmos keys` makes another."


def _new() -> str:
    return f"sk-llmos-{secrets.token_urlsafe(KEY_BYTES)}"


def _marker(settings: Settings) -> Path:
    return settings.data_dir / "first-key-was-shown"
