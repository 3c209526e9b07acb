"""A model server that never lets a planted value pass unseen: `python checking_upstream.py PORT FOLDER`.

It repeats the last user message, whole or streamed, `x-delay-ms` of the model's name (`echo-40`) a chunk. FOLDER/canaries holds one planted
value a line; a request that holds one in its path, headers or body is written to FOLDER/violations, and FOLDER/seen grows by a byte a
question. Both files outlive this process, which the tests kill.
"""

import asyncio
import json
import sys
from pathlib import Path
from urllib.parse import unquote_to_bytes

import uvicorn

PORT, FOLDER = int(sys.argv[1]), Path(sys.argv[2])
CANARIES = [line.encode() for line in (FOLDER / "canaries").read_text("utf-8").splitlines() if line]
MODELS = ["echo", "echo-5", "echo-40", "echo-200"]
CHUNK = 6


def check(scope, body: bytes) -> None:
    headers = b"\n".join(b": ".join(header) for header in scope["headers"])
    address = unquote_to_bytes(scope["raw_path"]) + b"?" + unquote_to_bytes(scope["query_string"].replace(b"+", b" "))
    found = [canary for canary in CANARIES if any(canary in part for part in (address, headers, body))]
    if found:
        with (FOLDER / "violations").open("ab") as file:
            file.write(b" | ".join(found) + b"\n")


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)

    check(scope, body)

    async def answer(value):
        data = json.dumps(value).encode()
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": data})

    if scope["path"].endswith("/models"):
        await answer({"object": "list", "data": [{"id": name, "object": "model", "owned_by": "vllm"} for name in MODELS]})
        return
    with (FOLDER / "seen").open("ab") as file:
        file.write(b".")
    request = json.loads(body)
    text = request["messages"][-1]["content"]
    delay_s = int(([*request["model"].split("-"), "0"])[1]) / 1000
    base = {"id": "chatcmpl-1", "created": 1, "model": request["model"]}
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    if request.get("response_format"):  # the fault tests' one private question
        text = '{"score": 5.0, "urgent": true}'
    if not request.get("stream"):
        await asyncio.sleep(delay_s)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        await answer({**base, "object": "chat.completion", "choices": [choice], "usage": usage})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    deltas = [{"content": text[at : at + CHUNK]} for at in range(0, len(text), CHUNK)]
    for delta, finish in [*((delta, None) for delta in deltas), ({}, "stop")]:
        event = {**base, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        await send({"type": "http.response.body", "body": f"data: {json.dumps(event)}\n\n".encode(), "more_body": True})
        await asyncio.sleep(delay_s)
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", access_log=False)
