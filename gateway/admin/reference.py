"""The admin API's OpenAPI document as a page of plain HTML, without a script or an outside asset."""

from __future__ import annotations

from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "code{font:14px ui-monospace,monospace}dt{margin-top:1.2rem;font-weight:600}dd{margin-left:1rem}"
    ".m{display:inline-block;min-width:4.5rem}"
)


def reference_page(document: dict[str, Any]) -> str:
    """One entry an operation, grouped by tag, in the order of the document."""
    groups: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = (operation.get("tags") or ["other"])[0]
            names = [parameter["name"] for parameter in operation.get("parameters", ())]
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "")
            taken = ", ".join([*names, *([f"body: {body.rpartition('/')[2]}"] if body else [])])
            groups.setdefault(tag, []).append(
                f"<dt><code><span class=m>{method.upper()}</span>/admin/v1{escape(path)}</code></dt>"
                f"<dd>{escape(operation.get('description', ''))}{f'<br><code>{escape(taken)}</code>' if taken else ''}</dd>"
            )
    sections = "".join(f"<h2>{escape(tag)}</h2><dl>{''.join(entries)}</dl>" for tag, entries in groups.items())
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>LLMOS administration</title><style>{_STYLE}</style>"
        f"<main><h1>LLMOS administration, version {escape(document['info']['version'])}</h1>"
        "<p>Send an admin key or an OIDC token as <code>Authorization: Bearer …</code>. "
        f"The same as JSON: <a href=openapi.json>openapi.json</a>.</p>{sections}</main></html>"
    )
