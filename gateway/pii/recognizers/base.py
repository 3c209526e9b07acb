"""What a recognizer is: Presidio's interface, with patterns that match in linear time.

A recognizer reads a `Reading` and yields findings. Patterns are RE2 expressions over UTF-8 bytes, so no input makes them
slow; what RE2 can't say (look-around, checksums, context) is said in Python on the few matches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from presidio_analyzer import EntityRecognizer, RecognizerResult
from presidio_analyzer.nlp_engine import NlpArtifacts

from gateway.pii.reading import Found, Reading, compile_pattern

LANGUAGE = "xx"  # one registry for mixed scripts: each recognizer tells by script what concerns it
CONTEXT_BEFORE = 60  # code points before a match in which context words count
CONTEXT_AFTER = 24


@dataclass(frozen=True, slots=True)
class Finding:
    """Code points [start, end), the entity type and a score from 0 to 1."""

    start: int
    end: int
    entity: str
    score: float


@dataclass(frozen=True, slots=True)
class Pattern:
    """An RE2 expression, the score of its match, the group that is the value, the score with a context word near.

    A pattern whose `score` is 0 counts with context only.
    """

    regex: str
    score: float
    group: int = 0
    with_context: float | None = None


class Recognizer(EntityRecognizer):
    """A recognizer in Presidio's registry. Subclasses give `entities` and `find`."""

    entities: tuple[str, ...] = ()
    verbatim = False  # read the text as it is written: "\\n" is two characters, not a line's end

    def __init__(self, name: str | None = None) -> None:
        super().__init__(supported_entities=list(self.entities), supported_language=LANGUAGE, name=name or type(self).__name__)

    def load(self) -> None:
        """Nothing to load: expressions compile in the constructor."""

    def find(self, reading: Reading) -> Iterator[Finding]:
        """Yield the findings of one text, in any order, overlaps allowed."""
        return iter(())

    def analyze(self, text: str, entities: Sequence[str], nlp_artifacts: NlpArtifacts) -> list[RecognizerResult]:
        """Presidio's entry: `find` over the `Reading` that the detector passes as the artifacts."""
        assert isinstance(nlp_artifacts, Reading)
        return [
            RecognizerResult(finding.entity, finding.start, finding.end, finding.score)
            for finding in self.find(nlp_artifacts.verbatim if self.verbatim else nlp_artifacts)
            if finding.entity in entities
        ]


def words(*alternatives: str) -> str:
    """An expression that matches any of the words, at word boundaries where the word is ASCII. Spaces match hyphens too."""
    parts = []
    for word in alternatives:
        escaped = "".join(character if character.isalnum() or ord(character) > 127 else "\\" + character for character in word)
        escaped = escaped.replace("\\ ", r"[\s_-]?")
        parts.append(
            (r"\b" if word[0].isascii() and word[0].isalnum() else "")
            + escaped
            + (r"\b" if word[-1].isascii() and word[-1].isalnum() else "")
        )
    return "(?i)(?:" + "|".join(parts) + ")"


class PatternRecognizer(Recognizer):
    """Patterns of one entity, a validation and words that raise the score when they stand near."""

    entity: str = ""
    patterns: tuple[Pattern, ...] = ()
    context_words: tuple[str, ...] = ()
    apart_from_digits = False  # refuse a match that a digit continues across . - / : or ,

    def __init__(self, name: str | None = None) -> None:
        self.entities = self.entities or (self.entity,)
        super().__init__(name)
        self._compiled = [(compile_pattern(pattern.regex), pattern) for pattern in self.patterns]
        self._context = compile_pattern(words(*self.context_words)) if self.context_words else None

    def validate(self, value: str) -> bool:
        """Whether a match is a value of this type by its own check (a checksum, a range)."""
        return True

    def near(self, reading: Reading, found: Found) -> bool:
        """Whether a context word stands near the match."""
        return self._context is not None and (
            reading.has(self._context, found.start - CONTEXT_BEFORE, found.start)
            or reading.has(self._context, found.end, found.end + CONTEXT_AFTER)
        )

    def score(self, reading: Reading, found: Found, pattern: Pattern) -> float:
        if pattern.with_context is not None and pattern.with_context > pattern.score and self.near(reading, found):
            return pattern.with_context
        return pattern.score

    def find(self, reading: Reading) -> Iterator[Finding]:
        for compiled, pattern in self._compiled:
            for found in reading.matches(compiled, pattern.group):
                if self.apart_from_digits and _continued(reading.text, found.start, found.end):
                    continue
                if not self.validate(reading.text[found.start : found.end]):
                    continue
                score = self.score(reading, found, pattern)
                if score > 0:
                    yield Finding(found.start, found.end, self.entity, score)


def _continued(text: str, start: int, end: int) -> bool:
    """Whether a digit continues the match beyond a joining character, as in 1.2.3.4.5 for an IPv4 address."""
    before = start >= 2 and text[start - 1] in ".-/:" and text[start - 2].isdigit()
    after = end + 1 < len(text) and text[end] in ".-/:" and text[end + 1].isdigit()
    return before or after
