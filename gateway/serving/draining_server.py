"""uvicorn's server with an end that loses nothing.

SIGTERM (or SIGINT, SIGHUP), in order: /readyz says 503 and each reply asks for a new connection, while requests are still taken for
`drain_delay_s`; then no connection is accepted any more, and what is in progress may finish; after `drain_timeout_s` what still runs
ends in a typed error. A second signal ends it at once. It does not help against SIGKILL: then the audit's admission record is what
stands of a request.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.settings import Settings, SettingsError

LAST_WORDS_S = 2.0  # for the typed errors to get out, after the time to drain is over
CLOSING_S = 1.0
BEAT_S = 1  # the granularity that uvicorn offers


class _Protocol(HttpToolsProtocol):
    """Closes TLS connections without waiting for a client that does not answer the closing (the event loop would wait 30 s)."""

    def shutdown(self) -> None:
        super().shutdown()
        self._let_go()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._let_go()

    def _let_go(self) -> None:
        if self.transport.is_closing():
            self.loop.call_later(CLOSING_S, self.transport.abort)


class DrainingServer(uvicorn.Server):
    """Serves `app` as the settings say; `on_beat` is called about once a second while it takes requests."""

    def __init__(self, app: FastAPI, settings: Settings, on_beat: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__(_config(app, settings, on_beat))
        self._state = app.state
        self._delay_s = settings.drain_delay_s
        self._timeout_s = settings.drain_timeout_s
        self._leave_at_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn installs this for SIGINT and SIGTERM."""
        if self._leave_at_s is not None:
            self.force_exit = self.should_exit = True
            return
        self._state.draining = True
        self._leave_at_s = time.monotonic() + self._delay_s

    async def on_tick(self, counter: int) -> bool:
        """uvicorn calls this ten times a second; true ends the taking of requests."""
        leaving = self._leave_at_s is not None and time.monotonic() >= self._leave_at_s
        return await super().on_tick(counter) or leaving

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Returns when all is done. A hang-up is a request to stop, as SIGTERM is."""
        signal.signal(signal.SIGHUP, self.handle_exit)
        await super().serve(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what still runs in a typed error when the time is over."""
        last_call = asyncio.get_running_loop().call_later(self._timeout_s, self._state.gate.stop)
        try:
            await super().shutdown(sockets)
        finally:
            last_call.cancel()


def _config(app: FastAPI, settings: Settings, on_beat: Callable[[], Awaitable[None]] | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=_Protocol,
        ws="none",
        access_log=False,  # paths and addresses are the audit's business
        log_config=None,  # its lines go the way of all others: gateway.audit.log_filter
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(settings.drain_timeout_s + LAST_WORDS_S + 1),
        callback_notify=on_beat,
        timeout_notify=BEAT_S,
        ssl_context_factory=_tls(settings),
    )


def _tls(settings: Settings) -> Callable[..., ssl.SSLContext] | None:
    """TLS 1.2 and up by Python's defaults; with authorities for clients, nobody without a certificate gets as far as HTTP."""
    if settings.tls_cert_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file)
        if settings.tls_client_ca_file is not None:
            context.load_verify_locations(settings.tls_client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"the listener's certificates can't be used ({error.__class__.__name__}); see LLMOS_TLS_*") from None
    return lambda *_: context
