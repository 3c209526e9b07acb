"""Text to token ids and back, in the client's own process.

The public prefix is what the chat template puts before the first word of any conversation without a system message: it
says nothing about the caller, so its keys and values are computed in the clear. The parties never see a token of the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from mpc_inference.errors import ModelUnsupported


class ChatTokens:
    """A model's tokenizer and chat template."""

    def __init__(self, model: Path) -> None:
        """Reads MODEL/tokenizer.json, tokenizer_config.json and chat_template.jinja. Raises ModelUnsupported."""
        try:
            self._tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
            config: dict[str, Any] = json.loads((model / "tokenizer_config.json").read_text())
            generation: dict[str, Any] = json.loads((model / "config.json").read_text())
        except Exception as error:  # the Rust tokenizer raises bare Exception
            raise ModelUnsupported(
                f"no usable tokenizer in {model}: it needs tokenizer.json, tokenizer_config.json and config.json"
            ) from error
        path = model / "chat_template.jinja"
        template = path.read_text() if path.exists() else config.get("chat_template")
        if not isinstance(template, str):
            raise ModelUnsupported(f"no chat template in {model}: add chat_template.jinja")
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        self._template = environment.from_string(template)
        self._special = {name: config.get(name) for name in ("bos_token", "eos_token")}
        eos = generation.get("eos_token_id")
        self.end_tokens = frozenset(eos if isinstance(eos, list) else [eos])

    def encode(self, text: str) -> list[int]:
        """Ids of a text, special tokens recognised, none added."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of ids, special tokens left out."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Ids of a conversation, ready for the assistant's turn."""
        return self.encode(self._template.render(messages=list(messages), add_generation_prompt=True, **self._special))

    def public_prefix(self) -> tuple[int, ...]:
        """The longest common start of two conversations that share nothing: at least one token."""
        first, second = (self.chat([{"role": "user", "content": text}]) for text in ("0 zero", "Zulu?"))
        common = next(i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
        return tuple(first[:common])
