"""The gateway's side of blind use: boxes to a party and back, none of which it can open.

`open_lane` connects to one party as the deployment's client and says that what follows is sealed (`mpc_inference.sealing`). From then on it
knows only sizes and times. Asynchronous: a gateway carries many at once.
"""

from __future__ import annotations

import asyncio
import json
import ssl

from mpc_inference import certificates, transport
from mpc_inference.config import Deployment
from mpc_inference.errors import DeadlineExceeded, FrameInvalid, HandshakeRefused, PeerUnavailable
from mpc_inference.sealing import LARGEST_BOX


class BoxLink:
    """One party's link. Frames are those of `mpc_inference.transport`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._sent = self._received = 0

    async def send(self, box: bytes, kind: int = transport.SEALED) -> None:
        """Raises PeerUnavailable."""
        try:
            self._writer.write(transport.HEADER.pack(len(box), self._sent, kind) + box)
            self._sent += 1
            await self._writer.drain()
        except OSError as error:
            raise PeerUnavailable("the connection to a party broke") from error

    async def receive(self, kind: int = transport.SEALED) -> bytes:
        """Raises PeerUnavailable, FrameInvalid."""
        try:
            length, number, got = transport.HEADER.unpack(await self._reader.readexactly(transport.HEADER.size))
            if (number, got) != (self._received, kind) or length > LARGEST_BOX:
                raise FrameInvalid("a party sent a frame out of turn")
            self._received += 1
            return await self._reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError) as error:
            raise PeerUnavailable("a party closed the connection") from error

    def close(self) -> None:
        """End the request at the party."""
        self._writer.transport.abort()


async def open_lane(deployment: Deployment, party: int) -> BoxLink:
    """A link to a party on which boxes may follow. Raises PeerUnavailable, HandshakeRefused, DeadlineExceeded."""
    tls = certificates.context(deployment.certificates, "client", server=False)
    place = deployment.parties[party]
    link: BoxLink | None = None
    try:
        async with asyncio.timeout(deployment.deadline_s):
            streams = await asyncio.open_connection(
                place.host, place.port, ssl=tls, server_hostname=certificates.host_name(f"party{party}")
            )
            link = BoxLink(*streams)
            await link.send(json.dumps({"version": transport.VERSION, "digest": deployment.digest}).encode(), transport.CONTROL)
            theirs = transport.as_object(await link.receive(transport.CONTROL))
            if (theirs.get("version"), theirs.get("digest")) != (transport.VERSION, deployment.digest):
                raise HandshakeRefused("the party speaks another version or holds other weights")
            await link.send(json.dumps({"sealed": True}).encode(), transport.CONTROL)
            opened, link = link, None
            return opened
    except TimeoutError as error:
        raise DeadlineExceeded("the party did not answer in time") from error
    except ssl.SSLError as error:
        raise HandshakeRefused("the party shows a certificate that is not ours") from error
    except OSError as error:
        raise PeerUnavailable("the party does not answer") from error
    finally:
        if link is not None:
            link.close()
