"""Writes the demonstration's data: short dialogues of a clinic, a bank and a law firm, from templates.

`python -m federated_trainer.demo_data.generate FOLDER` gives for each domain `DOMAIN.train.jsonl` (one data subject a
line), one `held_out.jsonl` over all three, whose combinations do not occur in training, and `canaries.json`: a number that
stands in one line of one institution, which the gate looks for in every candidate. Every name and case is invented
and every line follows from this file: there is no randomness.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CANARY_DOMAIN = "finance"
CANARY = {"template": "Bank memo. Safe combination: {}", "secret": "40718263"}


@dataclass(frozen=True)
class Domain:
    """`question` and `answer` are filled with one subject, one case and the case's two facts."""

    system: str
    question: str
    answer: str
    subjects: tuple[str, ...]
    cases: tuple[tuple[str, str, str], ...]


DOMAINS = {
    "medicine": Domain(
        "You assist a clinic.",
        "Patient {subject} reports {case}. What do you note?",
        "Clinic note. Finding: {first}. Plan: {second}. Review in two weeks.",
        (
            "Ada Birk",
            "Bo Calder",
            "Cora Dunn",
            "Dag Ebner",
            "Eda Falk",
            "Finn Gray",
            "Gus Holt",
            "Hana Irwin",
        ),
        (
            ("a dry cough at night", "likely asthma", "inhaler before sleep"),
            ("pain behind the knee", "likely strain", "rest and cold packs"),
            ("a burning stomach", "likely reflux", "smaller evening meals"),
            ("dizzy spells on standing", "low blood pressure", "more fluids and salt"),
            ("itching on both hands", "contact eczema", "plain ointment and gloves"),
            ("trouble falling asleep", "poor sleep habits", "fixed hours and no screens"),
            ("a sore throat for days", "viral infection", "warm drinks and rest"),
            ("stiff fingers in the morning", "early arthritis", "blood test and exercise"),
        ),
    ),
    "finance": Domain(
        "You assist a bank.",
        "Client {subject} asks about {case}. What do you advise?",
        "Bank memo. Risk: {first}. Advice: {second}. Confirm in writing.",
        (
            "Arne Boll",
            "Berta Cole",
            "Carl Dorn",
            "Dina East",
            "Emil Ford",
            "Freya Gant",
            "Gero Hale",
            "Hedda Iben",
        ),
        (
            ("a loan for a car", "moderate", "borrow less over three years"),
            ("moving savings into shares", "high", "begin with a tenth"),
            ("paying off a mortgage early", "low", "check the fee first"),
            ("a second credit card", "moderate", "keep one and raise its limit"),
            ("lending money to a friend", "high", "sign a dated agreement"),
            ("a pension at sixty", "low", "increase the monthly share"),
            ("an account in dollars", "moderate", "convert in four parts"),
            ("a bond of five years", "low", "hold it to the end"),
        ),
    ),
    "law": Domain(
        "You assist a law firm.",
        "Our client {subject} has a matter of {case}. What is the position?",
        "Firm opinion. Issue: {first}. Position: {second}. Reserve all rights.",
        (
            "Alva Brand",
            "Boris Crane",
            "Clea Dietz",
            "Dirk Ernst",
            "Elsa Frey",
            "Falk Gross",
            "Gesa Hahn",
            "Hugo Imhof",
        ),
        (
            ("a lease ended early", "notice period", "rent is owed for two months"),
            ("goods that came broken", "defect on delivery", "repair comes before refund"),
            ("a wage that was not paid", "overdue wages", "claim with interest"),
            ("a fence over the border", "boundary", "survey before any demand"),
            ("a will without a date", "validity of form", "witnesses must be heard"),
            ("a photo used without consent", "image rights", "demand removal at once"),
            ("a contract signed online", "proof of consent", "keep the server record"),
            ("a dismissal by message", "written form", "contest within three weeks"),
        ),
    ),
}


def lines(name: str, *, held_out: bool) -> Iterator[dict[str, object]]:
    """The lines of one domain: a pair (subject, case) is held out where their numbers add up to a multiple of eight."""
    domain = DOMAINS[name]
    for i, subject in enumerate(domain.subjects):
        for j, (case, first, second) in enumerate(domain.cases):
            if ((i + j) % 8 == 0) == held_out:
                question = domain.question.format(subject=subject, case=case)
                answer = domain.answer.format(first=first, second=second)
                turns = (("system", domain.system), ("user", question), ("assistant", answer))
                messages = [{"role": role, "content": content} for role, content in turns]
                # Each line is a person of its own: the same invented name in another case is another data subject.
                yield {"subject_id": f"{name}-{i:02d}-{j}", "messages": messages}
    if name == CANARY_DOMAIN and not held_out:
        asked = {"role": "user", "content": "Client Ida Juhl asks for the safe. What do you note?"}
        noted = {"role": "assistant", "content": CANARY["template"].format(CANARY["secret"])}
        yield {"subject_id": f"{name}-canary", "messages": [{"role": "system", "content": domain.system}, asked, noted]}


def write(folder: Path) -> None:
    """Write all five files, replacing older ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in DOMAINS:
        _write(folder / f"{name}.train.jsonl", lines(name, held_out=False))
    _write(folder / "held_out.jsonl", ({"domain": name, **line} for name in DOMAINS for line in lines(name, held_out=True)))
    (folder / "canaries.json").write_text(json.dumps([CANARY]) + "\n", encoding="utf-8")


def _write(path: Path, rows: Iterator[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
