"""The request of /v1/embeddings: its known fields, and those among them that carry text.

Sources: OpenAI's API reference (Create embeddings) and vLLM's `EmbeddingCompletionRequest`. An embedding of scrubbed text is close to, but
not the same as, the embedding of the text itself: the same person has the same stand-in throughout one conversation scope only.
"""

from __future__ import annotations

from gateway.fields.kinds import Choice, Kind, Number, Object, TextOrList, Withheld
from gateway.fields.sampling import REFUSED

EMBEDDINGS: Kind = Object(
    {
        **REFUSED,
        "add_special_tokens": Number(),
        "dimensions": Number(),
        "encoding_format": Choice(("float", "base64")),
        "input": TextOrList(hint="In LangChain set check_embedding_ctx_length=False."),
        "model": Withheld(),
        "truncate_prompt_tokens": Number(),
        "truncation_side": Choice(("left", "right")),
        "use_activation": Number(),
        "user": Withheld(),
    },
    required=("input",),
    top=True,
)
