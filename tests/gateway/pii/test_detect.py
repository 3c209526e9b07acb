"""Detection in one process: texts read together, and names that stand out of context."""

from __future__ import annotations

import pytest

from gateway.pii.detect import TextDetector
from gateway.pii.reading import Reading
from gateway.pii.recognizers.given_names import GivenNameRecognizer
from policies.entities import ENTITIES
from policies.schema import EntityRule, Policy


@pytest.fixture(scope="module")
def detector() -> TextDetector:
    made = TextDetector()
    made.load()
    return made


def test_texts_read_together_are_read_as_one_by_one(detector: TextDetector) -> None:
    texts = ["I am Sarah Connor from Boston.", "", "我叫王伟，住在北京市海淀区中关村大街27号。", "nothing", "Ask Shaun. " * 900]
    policy = Policy(id="all", entities={entity: EntityRule() for entity in ENTITIES})
    assert detector.detect_all(texts, policy) == [detector.detect(text, policy) for text in texts]


def test_no_word_of_a_text_stays_in_the_process(detector: TextDetector) -> None:
    policy = Policy(id="all", entities={entity: EntityRule() for entity in ENTITIES})
    vocabulary = detector._models._spacy.vocab
    detector.detect("Dear Sarah, thank you.", policy)
    words = len(vocabulary.strings)
    assert detector.detect("I am Sarah Qwrtzplk, zxqvbnmw lives in Boston, ask qpwoeiru.", policy)
    assert len(vocabulary.strings) == words
    assert "Qwrtzplk" not in vocabulary.strings
    assert "zxqvbnmw" not in vocabulary.strings


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Action items: Shaun, Ferenc", ["Shaun", "Ferenc"]),
        ("ask Emese Kovács today", ["Emese Kovács"]),
        ("ZEYNEP called", ["ZEYNEP"]),
        ("Victoria Station, San Fernando, Will you? Grace period", []),
    ],
)
def test_given_names_by_the_list(text: str, found: list[str]) -> None:
    findings = GivenNameRecognizer().find(Reading(text))
    assert [text[finding.start : finding.end] for finding in findings] == found
