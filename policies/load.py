"""From the text of a policy to a checked `Policy`, with an error that names the line and the nearest field.

Reading is `policies.strict_yaml`, inheritance is `policies.merge`, the fields are `policies.schema`. A policy that does
not pass here never replaces one that did. What is checked is form, not judgement: a policy that allows every entity
through loads without complaint; one that says nothing of entities does not load, since it would replace nothing without a word.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable
from functools import cache
from importlib import resources

import yaml
from pydantic import ValidationError

from policies.entities import ENTITIES
from policies.merge import flatten
from policies.schema import Action, Policy
from policies.strict_yaml import Document, PolicyError, parse

__all__ = ["PolicyError", "digest", "load_pack", "load_policy", "pack_names", "pack_text", "to_yaml", "unfound_entities"]

Sources = Callable[[str], str | None]


def pack_names() -> tuple[str, ...]:
    """The names of the packs that come with LLMOS."""
    files = (entry.name for entry in resources.files("policies").joinpath("packs").iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml")))


def pack_text(name: str) -> str:
    """The YAML of a pack. Raises PolicyError for a name that is no pack."""
    if name not in pack_names():
        near = difflib.get_close_matches(name, pack_names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"packs: {', '.join(pack_names())}"
        raise PolicyError(f"there is no pack {name!r}; {hint}")
    return resources.files("policies").joinpath("packs", f"{name}.yaml").read_text(encoding="utf-8")


@cache
def load_pack(name: str) -> Policy:
    """A pack as a policy. Raises PolicyError for a name that is no pack."""
    return load_policy(pack_text(name))


def load_policy(text: str, sources: Sources | None = None) -> Policy:
    """Read, merge and check one policy.

    `sources` gives the text of other policies that `extends` may name; a pack of the same name comes first.
    Raises PolicyError; its message names the line, the field and what to write instead, and never quotes more of the
    document than the field's name.
    """
    document = parse(text)
    merged = flatten(document, lambda name: _base(name, sources))
    try:
        policy = Policy.model_validate(merged)
    except ValidationError as invalid:
        raise _explain(invalid, document) from None
    _check_entities(policy, document)
    if "entities" not in merged:
        raise PolicyError(
            "entities: is missing, so that nothing would be detected or replaced; name them, write `extends: default`, or write "
            "`entities: {}` where that is meant"
        )
    return policy


def digest(policy: Policy) -> str:
    """SHA-256 (hex) of what the policy says, the same for equal policies whatever their YAML looked like."""
    canonical = json.dumps(policy.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def unfound_entities(policy: Policy) -> list[str]:
    """Entities that the policy protects or routes by and nothing finds; only a policy stored by another version of LLMOS has any."""
    relied_on = {name for name, rule in policy.entities.items() if rule.action is not Action.ALLOW}
    return sorted(relied_on.union(*(rule.entities for rule in policy.routing.rules)) - _found_entities(policy))


def to_yaml(policy: Policy) -> str:
    """The policy as a YAML document that loads to an equal policy, without the fields that have their default."""
    plain = policy.model_dump(mode="json", exclude_defaults=True, exclude={"extends", "entities"})
    entities = {name: rule.model_dump(mode="json") for name, rule in policy.entities.items()}
    plain["entities"] = entities
    return yaml.safe_dump({"id": policy.id, **plain}, sort_keys=False, allow_unicode=True, width=120)


def _base(name: str, sources: Sources | None) -> Document | None:
    if name in pack_names():
        return parse(pack_text(name))
    text = sources(name) if sources is not None else None
    return parse(text) if text is not None else None


def _explain(invalid: ValidationError, document: Document) -> PolicyError:
    """The first fault in the order of the document, in one sentence."""
    faults = []
    for error in invalid.errors(include_url=False, include_input=False):
        path = tuple(part for part in error["loc"] if part != "[key]")
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] in ("enum", "literal_error"):
            message = f"must be {error['ctx']['expected']}"
        elif error["type"] == "missing":
            message = "is missing"
        elif error["type"] == "string_pattern_mismatch":
            message = f"must match {error['ctx']['pattern']}"
        where = ".".join(str(part) for part in path)
        written = (*path, str(error["ctx"]["name"])) if error["type"] == "unknown_field" else path
        faults.append((document.line_of(written), f"{where}: {message}" if where else message))
    line, message = min(faults, key=lambda fault: fault[0] or 0)
    more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
    return PolicyError(message + more, line=line)


def _found_entities(policy: Policy) -> set[str]:
    return {recognizer.entity for recognizer in policy.recognizers} | set(ENTITIES)


def _check_entities(policy: Policy, document: Document) -> None:
    known = _found_entities(policy)
    named: list[tuple[str, tuple[str | int, ...]]] = [(name, ("entities", name)) for name in policy.entities]
    named += [(name, ("recall_floor", "entities", name)) for name in policy.recall_floor.entities]
    for index, rule in enumerate(policy.routing.rules):
        named += [(name, ("routing", "rules", index, "entities")) for name in rule.entities]
    for name, path in named:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"did you mean {near[0]}?" if near else "a recognizer of this policy may define it"
            raise PolicyError(f"{'.'.join(map(str, path))}: no detector finds the entity {name!r}; {hint}", line=document.line_of(path))
