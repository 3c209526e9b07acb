"""The small tasks of the benchmark: is a one-sentence review positive, and how does a text go on."""

from __future__ import annotations

EXAMPLES = (
    ("A wonderful evening from start to finish.", True),
    ("The room was dirty and the staff were rude.", False),
    ("I would buy this again without a second thought.", True),
    ("It broke after two days and nobody answered my calls.", False),
)
REVIEWS = (
    ("The food was delicious and the service was excellent.", True),
    ("Terrible film, I walked out after half an hour.", False),
    ("The best concert that I have ever been to.", True),
    ("The battery died within a week, a complete waste of money.", False),
    ("Lovely people, beautiful garden, great breakfast.", True),
    ("Cold soup, slow waiters and a bill that was wrong.", False),
    ("My children loved every minute of this book.", True),
    ("The worst flight of my life, late and uncomfortable.", False),
    ("A clean and quiet hotel with a perfect view.", True),
    ("The app crashes all the time and loses my data.", False),
    ("Fantastic quality for the price, I am very happy.", True),
    ("The plot made no sense and the acting was awful.", False),
    ("The doctor was kind and explained everything well.", True),
    ("I was ignored for an hour and then sent home.", False),
    ("This phone is fast, light and simply great.", True),
    ("Disappointing in every way, avoid this place.", False),
)
# Sixteen records of each kind, for the ensembles.
RECORDS = (
    *REVIEWS,
    *EXAMPLES,
    ("Friendly staff and a superb lunch.", True),
    ("The soup tasted of nothing and cost a fortune.", False),
    ("A charming play with a brilliant cast.", True),
    ("They lost my luggage and did not care.", False),
    ("Setup took one minute and it works perfectly.", True),
    ("The screen was cracked when it arrived.", False),
    ("The nurse was gentle and very patient.", True),
    ("Two hours on hold and no answer at all.", False),
    ("An excellent teacher, I learned so much.", True),
    ("Noisy, smelly and far too expensive.", False),
    ("The most beautiful beach that I know.", True),
    ("The seller lied about the size.", False),
)
# Public pairs of reviews of one kind, as examples of the ensembles' task.
ALIKE = (
    ("Great value and quick delivery.", "The shoes fit well and arrived early."),
    ("The lecture was boring and far too long.", "I fell asleep in the second act."),
)
# Beginnings that go on in many ways; public.
BEGINNINGS = (
    "The patient came to the clinic with",
    "Once upon a time there was a",
    "The meeting will begin at",
    "In the morning she walked to the",
    "The contract says that the",
    "Water is important because it",
    "The bank told its customers that",
    "He opened the door and saw",
)


def prompt(review: str) -> str:
    """The examples, then the review; the next token is the answer."""
    shown = "".join(f"Review: {text}\nSentiment: {word(positive)}\n\n" for text, positive in EXAMPLES)
    return f"{shown}Review: {review}\nSentiment:"


def records_of(positive: bool) -> list[str]:
    """The records of one kind."""
    return [text for text, kind in RECORDS if kind == positive]


def invented(record: str) -> str:
    """A prompt that asks for one more review of the same kind as a private one: the task of Amin et al. 2024."""
    shown = "".join(f"Review: {text}\nAnother review: {other}\n\n" for text, other in ALIKE)
    return f"{shown}Review: {record}\nAnother review:"


def word(positive: bool) -> str:
    return "positive" if positive else "negative"
