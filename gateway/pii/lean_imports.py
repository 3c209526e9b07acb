"""Keeps libraries that only training needs from being imported beside detection.

Presidio, spaCy and OpenDP import torch, transformers or scikit-learn where these happen to be installed, and use none of them here; that
costs 5 s and 370 MB in every process. Call it before the first import of one of the three; later it has no effect.
"""

from __future__ import annotations

import sys

_UNUSED = ("torch", "transformers", "tensorflow", "mxnet", "cupy", "sklearn")


def without_training_libraries() -> None:
    """A name that maps to None in `sys.modules` raises ImportError, which those libraries expect and handle."""
    for name in _UNUSED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
