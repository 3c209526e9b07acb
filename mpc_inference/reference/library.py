"""CrypTen 0.4.1, imported on a torch that has dropped a module which only its ONNX converter names.

It does NOT make CrypTen fit for production: docs/decisions/mpc-crypten.md lists what its random numbers, its triples and its
approximations fall short of.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import torch.onnx


def crypten() -> Any:
    """The library. Raises ImportError when it is not installed."""
    name = "torch.onnx.symbolic_registry"
    if name not in sys.modules:
        sys.modules[name] = torch.onnx.symbolic_registry = types.ModuleType(name)  # type: ignore[attr-defined]
    import crypten as library

    return library
