"""The peers' programs in the same run: CrypTen's block always, SPU's where its package can be installed in an environment of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).parents[1] / "peers"
LAYERS = 30
LIMIT_S = 280


def _blocks(command: list[str]) -> dict[str, float]:
    """Seconds of LAYERS blocks, by shape and weights."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    found = re.findall(r"^(decode|prefill)\s+(?:\S+\s+)?weights (\w+)\s.*?best ([0-9.]+)", done.stdout, re.M)
    return {f"{shape}_{weights}_s": LAYERS * float(seconds) for shape, weights, seconds in found}


def measure(spu_python: Path | None) -> list[dict[str, Any]]:
    """One row a peer; a peer that cannot run says so."""
    rows: list[dict[str, Any]] = []
    crypten = _blocks([sys.executable, str(PROGRAMS / "peer_crypten_block.py"), "--weights", "public,private", "--reps", "2"])
    rows.append({"peer": "CrypTen 0.4.1, its block x 30", **(crypten or {"failed": "it did not run"})})
    if spu_python is not None:
        spu = _blocks([str(spu_python), str(PROGRAMS / "peer_spu_block.py"), "--proto", "semi2k", "--weights", "private", "--reps", "2"])
        rows.append({"peer": "SPU semi2k, its block x 30", **(spu or {"failed": "it did not run"})})
    return rows


def ratios(peers: list[dict[str, Any]], online: list[dict[str, Any]]) -> dict[str, float]:
    """How many times faster than CrypTen, figure by figure."""
    crypten, out = peers[0], {}
    for row in online:
        kind = "public" if row["mode"] == "public" else "private"
        for shape, name in (("decode", "token_s"), ("prefill", "prefill_32_s")):
            if f"{shape}_{kind}_s" in crypten:
                out[f"{row['mode']} {shape}, times CrypTen"] = crypten[f"{shape}_{kind}_s"] / row[name]
    return out
