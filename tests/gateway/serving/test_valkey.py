import os
import signal
import stat
import subprocess
import sys
import time

import pytest
import redis

from gateway.serving import valkey
from gateway.serving.valkey import EmbeddedValkey


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_it_answers_keeps_its_data_and_leaves_no_process(tmp_path):
    with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        client.set("k", "v")
        pid = client.info("server")["process_id"]
        assert client.info("persistence")["aof_enabled"] == 1
    wait_until(lambda: not is_alive(pid))
    with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        assert client.get("k") == b"v"


def test_what_was_written_survives_a_kill(tmp_path):
    with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        client.set("k", "v")
        os.kill(client.info("server")["process_id"], signal.SIGKILL)
    with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        assert client.get("k") == b"v"


def test_only_this_user_reaches_it_and_no_port_is_open(tmp_path):
    with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        path = valkey.socket_path(tmp_path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert client.config_get("port")["port"] == "0"


def test_a_second_one_shares_the_first(tmp_path):
    with EmbeddedValkey(tmp_path) as first, redis.Redis.from_url(first.url) as client:
        with EmbeddedValkey(tmp_path) as second:
            assert second.url == first.url
        assert client.ping()


def test_a_long_data_directory_gets_a_private_socket_elsewhere(tmp_path):
    data_dir = tmp_path / ("d" * 120)
    path = valkey.socket_path(data_dir)
    assert len(os.fsencode(path)) <= valkey.MAX_SOCKET_PATH_BYTES
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with EmbeddedValkey(data_dir) as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()
    path.parent.rmdir()


def test_it_dies_with_a_parent_that_is_killed(tmp_path):
    script = "import sys, time; from pathlib import Path; from gateway.serving.valkey import EmbeddedValkey\n"
    script += "EmbeddedValkey(Path(sys.argv[1])).start(); print('up', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"up\n"
        with redis.Redis.from_url(valkey.url(tmp_path)) as client:
            pid = client.info("server")["process_id"]
        parent.kill()
    wait_until(lambda: not is_alive(pid))


def test_a_directory_that_cannot_be_used_is_an_error_with_the_log(tmp_path):
    (tmp_path / "valkey").mkdir()
    (tmp_path / "valkey" / "appendonlydir").write_text("a file where Valkey wants a directory")
    with pytest.raises(valkey.ValkeyStartError, match=r"(?s)valkey\.log:.*append-only dir"):
        EmbeddedValkey(tmp_path).start()
