"""Finds personal data in one text by a policy: models and recognizers through Presidio, thresholds, one label a span.

This is the synchronous core, in the process that calls it; `detector_pool` runs it off the event loop. Detection is
statistical for names, organisations and places, so some are missed; docs and `bench/pii` give the measured recall.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.context_aware_enhancers import ContextAwareEnhancer

from gateway.exchange import Span
from gateway.pii.address_parts import join_addresses
from gateway.pii.language_models import LanguageModels
from gateway.pii.policy_digest import policy_digest
from gateway.pii.reading import Reading
from gateway.pii.recognizers.base import LANGUAGE, Recognizer
from gateway.pii.recognizers.custom import PolicyRecognizer
from gateway.pii.recognizers.names import NAMED_ENTITIES
from gateway.pii.recognizers.registry import built_in
from gateway.pii.roster.match import Roster
from gateway.pii.spans import join_names, resolve
from policies.schema import Action, Policy

_PLANS_KEPT = 256


class _NoEnhancer(ContextAwareEnhancer):
    """Context is the recognizers' own business here: Presidio's enhancer needs lemmas, which no pipe makes."""

    def __init__(self) -> None:
        super().__init__(
            context_similarity_factor=0.0, min_score_with_context_similarity=0.0, context_prefix_count=0, context_suffix_count=0
        )

    def enhance_using_context(self, text, raw_results, nlp_artifacts, recognizers, context=None):  # type: ignore[no-untyped-def]
        return raw_results


@dataclass(frozen=True)
class Plan:
    """What one policy asks of detection, worked out once: entities, thresholds, its own recognizers, the models needed."""

    entities: tuple[str, ...]
    thresholds: dict[str, float]
    allowed: frozenset[str]
    custom: tuple[PolicyRecognizer, ...]
    languages: tuple[str, ...]
    engine: AnalyzerEngine | None = field(repr=False)


class TextDetector:
    """Detection in this process. `load` first; then `detect` is safe to call any number of times, from one thread."""

    def __init__(self, models: LanguageModels | None = None) -> None:
        self._models = models or LanguageModels()
        self._recognizers: list[Recognizer] = []
        self._plans: OrderedDict[bytes, Plan] = OrderedDict()

    def load(self) -> None:
        """Load models and compile every expression."""
        logging.getLogger("presidio-analyzer").setLevel(logging.CRITICAL)  # its messages may quote what it saw
        self._models.load()
        self._recognizers = built_in()

    def detect(self, text: str, policy: Policy, roster: Roster | None = None) -> tuple[Span, ...]:
        """`detect_all` of one text."""
        return self.detect_all([text], policy, roster)[0]

    def detect_all(self, texts: Sequence[str], policy: Policy, roster: Roster | None = None) -> list[tuple[Span, ...]]:
        """The spans of each text: sorted, not overlapping, of the policy's entities at the policy's scores.

        The people of the roster are found whatever the policy's entities and scores are; only its `allow` lets one of their
        values be.

        Raises:
            ValueError: a pattern of the policy is not RE2; the message names the pattern, never the text.
        """
        plan = self.plan(policy)
        readings: Sequence[Reading | None] = [None] * len(texts) if plan.engine is None else self._models.read_all(texts, plan.languages)
        found = []
        for text, reading in zip(texts, readings, strict=True):
            spans = roster.find(text) if roster is not None else []
            if reading is not None:
                spans.extend(_recognized(reading, plan))
                spans += [*join_names(reading.text, spans), *join_addresses(reading.text, spans)]
            found.append(resolve(spans, plan.allowed))
        return found

    def plan(self, policy: Policy) -> Plan:
        """The plan of a policy, kept for the last 256 policies."""
        digest = policy_digest(policy)
        plan = self._plans.get(digest)
        if plan is None:
            plan = self._plans[digest] = self._make_plan(policy)
            if len(self._plans) > _PLANS_KEPT:
                self._plans.popitem(last=False)
        self._plans.move_to_end(digest)
        return plan

    def _make_plan(self, policy: Policy) -> Plan:
        custom = tuple(
            PolicyRecognizer(recognizer)
            for recognizer in policy.recognizers
            if recognizer.entity in policy.entities and set(recognizer.languages) & set(policy.languages)
        )
        chosen = [own for own in self._recognizers if set(own.entities) & set(policy.entities)] + list(custom)
        entities = tuple(sorted({entity for own in chosen for entity in own.entities} & set(policy.entities)))
        engine = None
        if chosen:
            registry = RecognizerRegistry(recognizers=chosen, supported_languages=[LANGUAGE])
            engine = AnalyzerEngine(
                registry=registry,
                nlp_engine=self._models,
                supported_languages=[LANGUAGE],
                context_aware_enhancer=_NoEnhancer(),
                log_decision_process=False,
            )
        return Plan(
            entities=entities,
            thresholds={entity: policy.entities[entity].score for entity in entities},
            allowed=frozenset(entity for entity, rule in policy.entities.items() if rule.action is Action.ALLOW),
            custom=custom,
            languages=tuple(policy.languages) if set(entities) & set(NAMED_ENTITIES) else (),
            engine=engine,
        )


def _recognized(reading: Reading, plan: Plan) -> Iterator[Span]:
    """What the models and recognizers of a plan find in one text."""
    assert plan.engine is not None
    if not reading.text:
        return
    results = plan.engine.analyze(reading.text, LANGUAGE, entities=list(plan.entities), nlp_artifacts=reading)
    for result in results:
        start, end = _trimmed(reading.text, result.start, result.end)
        if start < end and result.score >= plan.thresholds[result.entity_type]:
            value = reading.text[start:end]
            if not any(own.allows(value) for own in plan.custom):
                yield Span(start, end, result.entity_type, float(result.score))


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space at its ends."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
