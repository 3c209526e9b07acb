"""Reads a request's body by the tree of its API.

`stages.admit` calls it once the policy is known; what comes out is a copy whose text leaves `stages.scrub` fills.
"""

from __future__ import annotations

from typing import Any

from gateway.exchange import Api, Json
from gateway.fields.chat import CHAT
from gateway.fields.completions import COMPLETIONS
from gateway.fields.embeddings import EMBEDDINGS
from gateway.fields.kinds import Kind, Reading
from gateway.fields.leaves import Leaves
from gateway.fields.responses import RESPONSES

REQUESTS: dict[Api, Kind] = {
    "chat.completions": CHAT,
    "completions": COMPLETIONS,
    "responses": RESPONSES,
    "embeddings": EMBEDDINGS,
}


def read_request(api: Api, body: Json, *, max_depth: int, max_items: int, allowed_fields: frozenset[str]) -> tuple[Json, Leaves]:
    """A copy of `body` with known fields only, and its text leaves.

    Raises UnknownField, UnsupportedContent, TooLarge or BadRequest; the message names a place, never content.
    """
    leaves = Leaves()
    holder: list[Any] = [None]
    REQUESTS[api].read(holder, 0, body, "", Reading(leaves, max_depth, max_items, allowed_fields))
    return holder[0], leaves
