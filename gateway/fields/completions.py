"""The requests of /v1/completions: their known fields, and those among them that carry text.

Sources: OpenAI's API reference (Create completion) and vLLM's `CompletionRequest`.
"""

from __future__ import annotations

from gateway.fields.chat import RESPONSE_FORMAT
from gateway.fields.kinds import Kind, Nothing, Number, Object, Text, TextOrList, Withheld
from gateway.fields.sampling import GENERATION, REFUSED

COMPLETIONS: Kind = Object(
    {
        **GENERATION,
        **REFUSED,
        "best_of": Number(),
        "echo": Number(),
        "logprobs": Number(),
        "model": Withheld(),
        "prompt": TextOrList(),
        "prompt_embeds": Nothing("embeddings can't be scrubbed; send text in `prompt`."),
        "response_format": RESPONSE_FORMAT,
        "suffix": Text(),
    },
    required=("prompt",),
    top=True,
)
