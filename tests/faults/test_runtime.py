"""`llmos serve` as an orchestrator treats it: started, told to stop in the middle of answers, replaced under load, its workers killed."""

import os
import signal
import threading
import time
from pathlib import Path

import httpx
import openai
import pytest

from tests.faults.rig import KEY, Gateway, Process, Upstream, answers, await_true, running

TEXT = "My name is Sarah Connor, my mail is sarah.connor@cyberdyne.com. " * 3
LONG = [{"role": "user", "content": TEXT * 5}]  # half a minute at a chunk every 200 ms
CANARIES = ["Sarah Connor", "sarah.connor@cyberdyne.com"]


@pytest.fixture
def upstream(tmp_path):
    (tmp_path / "upstream").mkdir()
    server = Upstream(tmp_path / "upstream", CANARIES)
    with running(server):
        server.await_true(lambda: answers(server.url + "/models"), 90)
        yield server
    assert not server.violations()


def _cpu_s(pid: int) -> float:
    """The processor time of one process: unlike the seconds on the wall, a busy machine does not stretch it much."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(client: openai.OpenAI, model: str = "echo", stream: bool = False) -> str:
    messages = [{"role": "user", "content": TEXT}]
    answer = client.chat.completions.create(model=model, messages=messages, stream=stream)
    if not stream:
        return answer.choices[0].message.content
    return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)


def test_it_answers_within_five_seconds_and_loads_its_models_behind(tmp_path, upstream):
    gateway = Gateway(tmp_path / "data", upstream.url)
    Process.start(gateway)
    try:
        await_true(lambda: gateway.answers("/healthz"), 120, "no answer")
        used_s = _cpu_s(gateway.pid)
        assert ask(gateway.client()) == TEXT, "a request during the loading waits for the detector"
        assert used_s < 5.0, f"{used_s:.1f} s of processor time, which an idle machine takes at least: what does the start import?"
    finally:
        assert gateway.stop() == 0


def test_a_stop_lets_a_stream_finish_and_says_503_to_the_load_balancer(tmp_path, upstream):
    gateway = Gateway(tmp_path / "data", upstream.url, LLMOS_DRAIN_DELAY_S="10", LLMOS_DRAIN_TIMEOUT_S="120")
    gateway.start()
    client = gateway.client()
    stream = client.chat.completions.create(model="echo-200", messages=[{"role": "user", "content": TEXT * 2}], stream=True)
    pieces = [next(iter(stream))]
    gateway.signal(signal.SIGTERM)
    await_true(lambda: httpx.get(gateway.url + "/readyz", timeout=60).status_code == 503, 9, "a load balancer is not told")
    ready = httpx.get(gateway.url + "/readyz", timeout=60)
    assert (ready.status_code, ready.json()["status"], ready.headers["connection"]) == (503, "stopping", "close")
    assert ask(gateway.client()) == TEXT, "during the delay requests are still served"
    pieces += list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in pieces if chunk.choices) == TEXT * 2
    assert gateway.process.wait(60) == 0
    assert not gateway.answers("/healthz")


def test_a_stream_longer_than_the_time_to_drain_ends_in_a_typed_error(tmp_path, upstream):
    gateway = Gateway(tmp_path / "data", upstream.url, LLMOS_DRAIN_TIMEOUT_S="1")
    gateway.start()
    stream = iter(gateway.client().chat.completions.create(model="echo-200", messages=LONG, stream=True))
    next(stream)
    gateway.signal(signal.SIGTERM)
    with pytest.raises(openai.APIError, match="stopping"):
        list(stream)
    assert gateway.process.wait(60) == 0


@pytest.mark.slow
def test_workers_are_replaced_under_load_and_nothing_is_lost(tmp_path, upstream):
    gateway = Gateway(tmp_path / "data", upstream.url, workers=2, LLMOS_DRAIN_DELAY_S="0.5")
    gateway.start()
    try:
        before = set(gateway.workers())
        assert len(before) == 2
        failures, served, halt = [], [0], threading.Event()

        def load(number: int) -> None:
            client = gateway.client()
            while not halt.is_set():
                try:
                    assert ask(client, "echo-5", stream=bool(number % 2)) == TEXT
                    served[0] += 1
                except Exception as error:
                    failures.append(repr(error))

        threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        gateway.signal(signal.SIGHUP)
        await_true(lambda: not before & set(gateway.workers()) and len(gateway.workers()) == 2, 200, "the workers were not replaced")
        time.sleep(1)
        halt.set()
        for thread in threads:
            thread.join(60)
        assert not failures, failures[:3]
        assert served[0] > 8
    finally:
        assert gateway.stop() == 0


@pytest.mark.slow
def test_a_killed_or_paused_worker_is_replaced_and_the_metrics_are_the_sum(tmp_path, upstream):
    gateway = Gateway(tmp_path / "data", upstream.url, workers=2)
    gateway.start()
    try:
        killed, paused = gateway.workers()
        for _ in range(6):
            with httpx.Client() as client:  # each over a connection of its own, so that both workers serve
                body = {"model": "echo", "messages": [{"role": "user", "content": TEXT}]}
                reply = client.post(gateway.url + "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"})
                assert reply.status_code == 200
        page = httpx.get(gateway.url + "/metrics", timeout=60).text
        assert 'llmos_requests_total{api="chat.completions",outcome="ok"} 6.0' in page
        os.kill(killed, signal.SIGKILL)
        await_true(lambda: killed not in gateway.workers() and len(gateway.workers()) == 2, 60, "the killed worker was not replaced")
        os.kill(paused, signal.SIGSTOP)
        await_true(lambda: paused not in gateway.workers() and len(gateway.workers()) == 2, 90, "the paused worker was not replaced")
        await_true(lambda: gateway.answers("/readyz"), 90, "not ready again")
        assert ask(gateway.client()) == TEXT
    finally:
        gateway.stop()
