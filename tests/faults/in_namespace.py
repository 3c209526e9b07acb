"""Runs a gateway where the only way out is a wire that this program listens on: `unshare -n python in_namespace.py DIR`.

Prints what the caller got, and every packet that tried to leave, as one line of JSON. Loopback is not the wire.
"""

import fcntl
import json
import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.faults.rig import Gateway, Upstream, running

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
TEXT = "My name is Sarah Connor, my mail is sarah.connor@cyberdyne.com, see https://cyberdyne.com. 我叫王小明。"


def wire() -> int:
    """The one interface with a default route, and what it carries."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", b"wire0", IFF_TUN | IFF_NO_PI))
    for command in ("link set lo up", "addr add 192.0.2.1/24 dev wire0", "link set wire0 up", "route add default dev wire0"):
        subprocess.run(["ip", *command.split()], check=True)
    return descriptor


def destination(packet: bytes) -> str | None:
    """Where a packet goes; None for the kernel's own neighbour discovery."""
    if packet[0] >> 4 == 4:
        return ".".join(str(byte) for byte in packet[16:20])
    return None if packet[24:26] == b"\xff\x02" else packet[24:40].hex()


def main(folder: Path) -> None:
    descriptor, left = wire(), []

    def listen() -> None:
        while True:
            where = destination(os.read(descriptor, 65536))
            if where:
                left.append(where)

    threading.Thread(target=listen, daemon=True).start()
    probe = subprocess.run(
        [sys.executable, "-c", "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('203.0.113.7', 9))"],
        check=False,
    )
    time.sleep(0.3)
    assert probe.returncode == 0
    assert left == ["203.0.113.7"], "the wire does not carry what leaves"
    left.clear()
    (folder / "upstream").mkdir()
    upstream = Upstream(folder / "upstream", ["Sarah Connor", "sarah.connor@cyberdyne.com"])
    gateway = Gateway(folder / "data", upstream.url, workers=2)
    answers = []
    with running(upstream, gateway):
        client = gateway.client()
        for stream in (False, True):
            answer = client.chat.completions.create(model="echo", messages=[{"role": "user", "content": TEXT}], stream=stream)
            whole = "".join(c.choices[0].delta.content or "" for c in answer if c.choices) if stream else answer.choices[0].message.content
            answers.append(whole == TEXT)
        ready = gateway.answers("/readyz") and gateway.answers("/metrics")
        time.sleep(2)
    print(json.dumps({"answers": answers, "ready": ready, "left": left, "violations": upstream.violations()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
