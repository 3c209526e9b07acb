"""The small task of the benchmark: whether a one-sentence review is positive, asked for by examples in the prompt."""

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


def prompt(review: str) -> str:
    """The examples, then the review; the next token is the answer."""
    shown = "".join(f"Review: {text}\nSentiment: {word(positive)}\n\n" for text, positive in EXAMPLES)
    return f"{shown}Review: {review}\nSentiment:"


def word(positive: bool) -> str:
    return "positive" if positive else "negative"
