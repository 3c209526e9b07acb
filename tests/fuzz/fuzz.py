"""Atheris on one target: `python fuzz.py sse|restoring|policy SECONDS`. A failing input is written to the working directory."""

import sys

import atheris

with atheris.instrument_imports(include=["gateway.backends.sse_reader", "gateway.pii", "policies"]):
    from tests.fuzz.targets import TARGETS

atheris.Setup([sys.argv[0], f"-max_total_time={sys.argv[2]}", "-timeout=20", "-max_len=600", "-seed=7"], TARGETS[sys.argv[1]])
atheris.Fuzz()
