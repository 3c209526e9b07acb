"""Writes the reference pages that are a table of the source: `python docs/reference.py`, or `make docs`.

A test compares each page with what this writes, so that a setting without documentation, or a page that is behind, fails.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from gateway.settings import CONFIG_FILE_VARIABLE, PREFIX, Settings
from policies.schema import Policy

DOCS = Path(__file__).parent

SETTINGS_HEAD = f"""# Settings

Read once at start. A variable wins over the TOML file that `{CONFIG_FILE_VARIABLE}` names; there a setting `LLMOS_X` is the key `x`.
A command's option wins over both. An unknown name is an error. A secret (`LLMOS_UPSTREAM_API_KEY`, `LLMOS_REDIS_URL`,
`LLMOS_DEV_KEY`) may come from a file instead: `LLMOS_REDIS_URL_FILE=/run/secrets/redis-url`.
What is scrubbed, noised and routed is policy, not a setting.

| Variable | Default | Meaning |
|---|---|---|
"""


def settings_page() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        if default is PydanticUndefined or default is None or default == () or isinstance(default, SecretStr):
            shown = "unset"
        else:
            shown = f"`{default}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |\n")
    return SETTINGS_HEAD + "".join(rows)


FIELDS_HEAD = """# The fields of a policy

What `llmos policy validate` checks. Every field has a default, but for `id`. [policies.md](policies.md) says how policies work.
"""


def policy_page() -> str:
    """A table for each mapping of a policy, the policy first, then in the order of their first mention."""
    schema = Policy.model_json_schema()
    parts, order = schema.pop("$defs"), ["Policy"]
    parts["Policy"] = schema
    for name in order:
        for shown in parts[name].get("properties", {}).values():
            order += [each for each in _mentioned(shown) if each not in order]
    sections = []
    for name in order:
        about, fields = parts[name].get("description", ""), parts[name].get("properties")
        if fields is None:
            sections.append(f"## {name}\n\n{about}\n\n{', '.join(f'`{value}`' for value in parts[name]['enum'])}\n")
            continue
        rows = "".join(f"| `{field}` | {_kind(shown)} | {_default(shown)} |\n" for field, shown in fields.items())
        sections.append(f"## {name}\n\n{about}\n\n| Field | Value | Default |\n|---|---|---|\n{rows}")
    return FIELDS_HEAD + "\n" + "\n".join(sections)


def _mentioned(shown: dict[str, Any]) -> list[str]:
    names = [shown["$ref"].rpartition("/")[2]] if "$ref" in shown else []
    inner = [shown.get("items"), _entries(shown), *shown.get("anyOf", ()), *shown.get("oneOf", ())]
    return names + [name for each in inner if isinstance(each, dict) for name in _mentioned(each)]


def _entries(shown: dict[str, Any]) -> dict[str, Any] | None:
    """What a mapping of free names holds."""
    found = next(iter(shown.get("patternProperties", {}).values()), shown.get("additionalProperties"))
    return found if isinstance(found, dict) and found else None


def _kind(shown: dict[str, Any]) -> str:
    if "$ref" in shown:
        name = shown["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if options := shown.get("anyOf") or shown.get("oneOf"):
        return " or ".join(_kind(each) for each in options if each.get("type") != "null")
    if "const" in shown or "enum" in shown:
        return ", ".join(f"`{value}`" for value in shown.get("enum", [shown.get("const")]))
    if shown.get("type") == "array":
        return f"list of {_kind(shown.get('items', {}))}"
    if (inner := _entries(shown)) is not None:
        return f"mapping of names to {_kind(inner)}"
    words = {"minimum": "at least", "exclusiveMinimum": "over", "maximum": "at most", "exclusiveMaximum": "under", "pattern": "matching"}
    bounds = ", ".join(f"{word} `{shown[key]}`".replace("|", "\\|") for key, word in words.items() if key in shown)
    return f"{shown.get('type', 'any')}{f', {bounds}' if bounds else ''}"


def _default(shown: dict[str, Any]) -> str:
    default = shown.get("default")
    return "" if default is None or isinstance(default, dict) or default == [] else f"`{json.dumps(default)}`"


PAGES = {"settings.md": settings_page, "policy-fields.md": policy_page}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), "utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
