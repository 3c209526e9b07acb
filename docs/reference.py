"""Writes the reference pages that are a table of the source: `python docs/reference.py`, or `make docs`.

A test compares each page with what this writes, so that a setting without documentation, or a page that is behind, fails.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from gateway.settings import CONFIG_FILE_VARIABLE, PREFIX, Settings

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


PAGES = {"settings.md": settings_page}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), "utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
