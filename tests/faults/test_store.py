"""A store that is full, slow, read-only, forgetful or cut: each is a typed error or a refusal to start, and none lets a value through."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time

import openai
import pytest
import redis

from gateway.serving.free_ports import free_port
from tests.faults.rig import Gateway, Process, Store, Upstream, await_true, running

TEXT = "My name is Sarah Connor, my mail is sarah.connor@cyberdyne.com."
CANARIES = ["Sarah Connor", "sarah.connor@cyberdyne.com"]


def ask(gateway: Gateway, text: str = TEXT) -> str:
    return gateway.client().chat.completions.create(model="echo", messages=[{"role": "user", "content": text}]).choices[0].message.content


@pytest.fixture
def upstream(tmp_path):
    (tmp_path / "upstream").mkdir()
    server = Upstream(tmp_path / "upstream", CANARIES)
    with running(server):
        yield server
    assert not server.violations()


@pytest.fixture
def store(tmp_path):
    (tmp_path / "store").mkdir()
    server = Store(tmp_path / "store")
    with running(server):
        yield server


def test_a_store_that_may_evict_is_refused_at_start_with_a_sentence(tmp_path, upstream, store):
    with redis.Redis.from_url(store.url) as admin:
        admin.config_set("maxmemory-policy", "volatile-lru")
    gateway = Gateway(tmp_path / "data", upstream.url, LLMOS_REDIS_URL=store.url)
    Process.start(gateway)
    assert gateway.process.wait(120) == 1
    said = gateway.log.read_text()
    assert "maxmemory-policy is volatile-lru" in said
    assert "CONFIG SET maxmemory-policy noeviction" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_store_that_becomes_unfit_or_read_only_shows_in_readiness_and_refuses_requests(tmp_path, upstream, store):
    gateway = Gateway(tmp_path / "data", upstream.url, LLMOS_REDIS_URL=store.url)
    with running(gateway), redis.Redis.from_url(store.url) as admin:
        assert ask(gateway) == TEXT
        admin.config_set("maxmemory-policy", "allkeys-lru")
        assert not gateway.answers("/readyz")
        admin.config_set("maxmemory-policy", "noeviction")
        assert gateway.answers("/readyz")
        admin.replicaof("127.0.0.1", free_port())
        assert not gateway.answers("/readyz")
        seen = upstream.seen()
        with pytest.raises(openai.InternalServerError) as refused:
            ask(gateway, TEXT + " Once more.")
        assert refused.value.code == "store_unavailable"
        assert upstream.seen() == seen, "nothing was sent"
        admin.replicaof("no", "one")
        await_true(lambda: gateway.answers("/readyz"), 90, "not ready again")
        assert ask(gateway) == TEXT


@pytest.mark.slow
def test_a_full_disk_refuses_and_serves_again_once_there_is_room(tmp_path, upstream):
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        store = Store(folder)
        with running(store):
            gateway = Gateway(tmp_path / "data", upstream.url, LLMOS_REDIS_URL=store.url)
            with running(gateway):
                assert ask(gateway) == TEXT
                ballast = folder / "ballast"
                _fill(ballast)
                refused = None
                for number in range(200):  # until the append-only file meets the end of the disk
                    try:
                        ask(gateway, f"{TEXT} Number {number}.")
                    except openai.InternalServerError as error:
                        refused = error
                        break
                assert refused is not None, "a full disk went unnoticed"
                assert refused.code == "store_unavailable"
                ballast.unlink()
                await_true(lambda: _serves(gateway), 90, "it does not serve again although there is room")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def _fill(path) -> None:
    """Write until the file system has no room."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(file, bytes(4096))
    os.close(file)


def _serves(gateway: Gateway) -> bool:
    try:
        return ask(gateway) == TEXT
    except openai.APIError:
        return False


class SlowRelay:
    """A relay before the store that holds each answer back for `delay_s`."""

    def __init__(self, target: str) -> None:
        self.port, self.target, self.delay_s = free_port(), target, 0.0

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=200)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            there = socket.socket(socket.AF_UNIX)
            there.connect(self.target)
            for source, sink, slow in ((here, there, False), (there, here, True)):
                threading.Thread(target=self._copy, args=(source, sink, slow), daemon=True).start()

    def _copy(self, source, sink, slow):
        try:
            while data := source.recv(65536):
                if slow:
                    time.sleep(self.delay_s)
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for each in (source, sink):
                with_suppressed_shutdown(each)


def with_suppressed_shutdown(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.slow
def test_a_store_that_takes_a_second_slows_answers_and_one_that_takes_three_refuses(tmp_path, upstream, store):
    with SlowRelay(store.url.removeprefix("unix://")) as relay:
        gateway = Gateway(tmp_path / "data", upstream.url, LLMOS_REDIS_URL=f"redis://127.0.0.1:{relay.port}/0")
        with running(gateway):
            assert ask(gateway) == TEXT
            relay.delay_s = 1.0
            assert ask(gateway) == TEXT
            relay.delay_s = 3.0
            seen = upstream.seen()
            with pytest.raises(openai.InternalServerError) as refused:
                ask(gateway)
            assert refused.value.code == "store_unavailable"
            assert upstream.seen() == seen
            relay.delay_s = 0.0
            await_true(lambda: _serves(gateway), 90, "it does not serve again")


@pytest.mark.slow
def test_an_append_only_file_that_is_cut_in_the_middle_is_loaded_to_the_cut_or_refused(tmp_path, upstream, store):
    gateway = Gateway(tmp_path / "data", upstream.url, LLMOS_REDIS_URL=store.url)
    with running(gateway):
        assert ask(gateway) == TEXT
        store.kill()
        [log] = (store.data_dir / "valkey" / "appendonlydir").glob("*.incr.aof")
        with log.open("r+b") as file:
            file.truncate(log.stat().st_size - 7)  # as a power cut leaves it
        store.start()
        await_true(lambda: _serves(gateway), 90, "it does not serve after the tail was lost")
        store.kill()
        content = log.read_bytes()
        at = len(content) // 2
        log.write_bytes(content[:at] + b"\xff" * 64 + content[at:])  # as a failing disk leaves it
        Process.start(store)
        assert store.process.wait(30) != 0, "a store with a damaged file must not start as if nothing were"
        with pytest.raises(openai.InternalServerError) as refused:
            ask(gateway)
        assert refused.value.code == "store_unavailable"
    program = "import sys, pathlib; from gateway.serving.valkey import *; EmbeddedValkey(pathlib.Path(sys.argv[1])).start()"
    embedded = subprocess.run([sys.executable, "-c", program, str(store.data_dir)], capture_output=True, text=True, timeout=90, check=False)
    assert "valkey.log" in embedded.stderr
    assert "check-aof" in embedded.stderr, "the message says how to mend it"
