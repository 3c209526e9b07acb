"""The process that detects: reads frames from standard input, writes frames to standard output, keeps nothing.

Started by `detector_pool` as `python -m gateway.pii.detector_worker LANGUAGES`. A frame is a 4-byte big-endian length
and a JSON object. The first frame out is `{"ready": true}` or `{"error": …}`; then one frame out for each frame in. It
ends when its input ends, so it never outlives the gateway. Standard error goes nowhere and an error's frame carries the
exception's class only: no text can leave by them.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from pathlib import Path
from typing import IO, Any

FRAME_HEADER = struct.Struct(">I")
_ROSTERS_KEPT = 64  # mapped files, not memory of their own


def read_frame(stream: IO[bytes]) -> Any | None:
    """The next frame's object, or None at the end of the input."""
    header = stream.read(FRAME_HEADER.size)
    if len(header) < FRAME_HEADER.size:
        return None
    (length,) = FRAME_HEADER.unpack(header)
    body = stream.read(length)
    return json.loads(body) if len(body) == length else None


def write_frame(stream: IO[bytes], value: Any) -> None:
    body = json.dumps(value, separators=(",", ":")).encode()  # ASCII: lone surrogates travel as escapes
    stream.write(FRAME_HEADER.pack(len(body)) + body)
    stream.flush()


def serve(source: IO[bytes], sink: IO[bytes], languages: tuple[str, ...]) -> None:
    """Load, say ready, answer until the input ends."""
    from gateway.pii.lean_imports import without_training_libraries

    without_training_libraries()
    from gateway.pii.detect import TextDetector
    from gateway.pii.language_models import LanguageModels
    from gateway.pii.roster.match import Roster
    from policies.schema import Policy

    detector = TextDetector(LanguageModels(languages))
    try:
        detector.load()
    except Exception as error:  # whatever keeps a model from loading is the answer
        write_frame(sink, {"error": f"{type(error).__name__}: {error}"})
        return
    write_frame(sink, {"ready": True})
    policies: dict[str, Policy] = {}
    rosters: dict[str, Roster] = {}
    while (request := read_frame(source)) is not None:
        try:
            policy = policies.get(request["digest"])
            if policy is None:
                if len(policies) >= 256:
                    policies.clear()
                policy = policies[request["digest"]] = Policy.model_validate(request["policy"])
            roster = None
            if request["roster"] is not None:
                path = request["roster"]["path"]
                roster = rosters.get(path)
                if roster is None:
                    if len(rosters) >= _ROSTERS_KEPT:
                        rosters.clear()
                    roster = rosters[path] = Roster.open(Path(path), bytes.fromhex(request["roster"]["key"]))
            spans = [
                [[span.start, span.end, span.entity, round(span.score, 4)] for span in found]
                for found in detector.detect_all(request["texts"], policy, roster)
            ]
            write_frame(sink, {"spans": spans})
        except Exception as error:  # the class alone: a message may quote the text
            write_frame(sink, {"error": type(error).__name__})


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the pool ends its workers itself
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())  # a stray print must not break the frames
    serve(sys.stdin.buffer, sink, tuple(language for language in sys.argv[1].split(",") if language))


if __name__ == "__main__":
    main()
