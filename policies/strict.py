"""The base of every policy model: frozen, and an unknown field is an error that names the nearest known one."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


class Strict(BaseModel):
    """A frozen model that refuses unknown fields by name and proposes the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_fields(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = set(cls.model_fields) | {f.alias for f in cls.model_fields.values() if f.alias}
            for name in data:
                if name not in known:
                    near = difflib.get_close_matches(str(name), known, n=1)
                    hint = f"; did you mean {near[0]!r}?" if near else f"; known fields: {', '.join(sorted(known))}"
                    message = f"unknown field {str(name)!r} in {cls.__name__}{hint}"
                    raise PydanticCustomError("unknown_field", "{message}", {"message": message, "name": str(name)})
        return data
