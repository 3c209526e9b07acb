"""TLS on every edge of the gateway at once, mutual on each: a client, an upstream and a store that are vouched for, or not."""

import asyncio
import ssl
import threading

import httpx
import openai
import pytest

from gateway.serving.free_ports import free_port
from tests.faults.certificates import Authority
from tests.faults.rig import KEY, Gateway, Process, Store, Upstream, await_true, running

TEXT = "I am Sarah Connor."


class TlsRelay:
    """Ends TLS before a plain server, as a production server would itself: to a port, or to a Unix socket."""

    def __init__(self, pair, target, client_ca=None) -> None:
        self.port, self.target = free_port(), target
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pair.certificate, pair.key)
        if client_ca is not None:
            self.context.load_verify_locations(client_ca)
            self.context.verify_mode = ssl.CERT_REQUIRED

    def __enter__(self):
        self.loop, ready = asyncio.new_event_loop(), threading.Event()

        async def serve() -> None:
            self.server = await asyncio.start_server(self._relay, "127.0.0.1", self.port, ssl=self.context)
            ready.set()
            self.ended = asyncio.Event()
            await self.ended.wait()

        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(serve(),), daemon=True)
        self.thread.start()
        assert ready.wait(60)
        return self

    def __exit__(self, *_) -> None:
        self.loop.call_soon_threadsafe(self.ended.set)
        self.thread.join(10)

    async def _relay(self, reader, writer) -> None:
        opened = asyncio.open_connection(*self.target) if isinstance(self.target, tuple) else asyncio.open_unix_connection(self.target)
        there_reader, there_writer = await opened

        async def copy(source, sink) -> None:
            try:
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            except (OSError, ssl.SSLError):
                pass
            finally:
                sink.close()

        await asyncio.gather(copy(reader, there_writer), copy(there_reader, writer))


@pytest.mark.slow
def test_every_edge_speaks_tls_and_refuses_who_is_not_vouched_for(tmp_path):
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    pairs = {name: authority.pair(name) for name in ("gateway", "upstream", "store", "client", "egress")}
    outsider = stranger.pair("outsider")
    for folder in ("upstream", "store"):
        (tmp_path / f"{folder}-data").mkdir()
    upstream, store = Upstream(tmp_path / "upstream-data", ["Sarah Connor"]), Store(tmp_path / "store-data")
    socket_path = store.url.removeprefix("unix://")
    with (
        running(store, upstream),
        TlsRelay(pairs["upstream"], ("127.0.0.1", upstream.port), authority.file) as to_upstream,
        TlsRelay(pairs["store"], socket_path, authority.file) as to_store,
    ):
        settings = {
            "LLMOS_TLS_CERT_FILE": str(pairs["gateway"].certificate),
            "LLMOS_TLS_KEY_FILE": str(pairs["gateway"].key),
            "LLMOS_TLS_CLIENT_CA_FILE": str(authority.file),
            "LLMOS_UPSTREAM_CA_FILE": str(authority.file),
            "LLMOS_UPSTREAM_CERT_FILE": str(pairs["egress"].certificate),
            "LLMOS_UPSTREAM_KEY_FILE": str(pairs["egress"].key),
            "LLMOS_REDIS_URL": f"rediss://127.0.0.1:{to_store.port}/0",
            "LLMOS_REDIS_CA_FILE": str(authority.file),
            "LLMOS_REDIS_CERT_FILE": str(pairs["egress"].certificate),
            "LLMOS_REDIS_KEY_FILE": str(pairs["egress"].key),
        }
        gateway = Gateway(tmp_path / "data", f"https://127.0.0.1:{to_upstream.port}/v1", scheme="https", **settings)
        context = ssl.create_default_context(cafile=authority.file)
        context.load_cert_chain(pairs["client"].certificate, pairs["client"].key)
        try:
            gateway.start(verify=context)
            client = openai.OpenAI(base_url=gateway.url + "/v1", api_key=KEY, http_client=httpx.Client(verify=context), max_retries=0)
            answer = client.chat.completions.create(model="echo", messages=[{"role": "user", "content": TEXT}])
            assert answer.choices[0].message.content == TEXT
            nobody = ssl.create_default_context(cafile=authority.file)
            wrong = ssl.create_default_context(cafile=authority.file)
            wrong.load_cert_chain(outsider.certificate, outsider.key)
            for refused in (nobody, wrong):
                with pytest.raises(httpx.HTTPError):
                    httpx.get(gateway.url + "/healthz", verify=refused)
            with pytest.raises(httpx.HTTPError):
                httpx.get(gateway.url.replace("https", "http") + "/healthz")
        finally:
            gateway.stop()
        # an upstream that the authorities don't vouch for gets nothing
        seen = upstream.seen()
        settings["LLMOS_UPSTREAM_CA_FILE"] = str(stranger.file)
        distrustful = Gateway(tmp_path / "data", f"https://127.0.0.1:{to_upstream.port}/v1", scheme="https", **settings)
        try:
            distrustful.start("/healthz", verify=context)
            client = openai.OpenAI(base_url=distrustful.url + "/v1", api_key=KEY, http_client=httpx.Client(verify=context), max_retries=0)
            with pytest.raises(openai.InternalServerError) as failed:
                client.chat.completions.create(model="echo", messages=[{"role": "user", "content": TEXT}])
            assert failed.value.code == "upstream_failed"
            assert upstream.seen() == seen
        finally:
            distrustful.stop()
        # and a store that they don't vouch for is never used
        settings["LLMOS_REDIS_CA_FILE"] = str(stranger.file)
        lost = Gateway(tmp_path / "data", f"https://127.0.0.1:{to_upstream.port}/v1", scheme="https", **settings)
        Process.start(lost)
        try:
            await_true(lambda: "waiting for the store" in lost.log.read_text(), 120, "it does not wait")
            assert not lost.answers("/healthz", verify=context)
        finally:
            lost.stop()
    assert not upstream.violations()
