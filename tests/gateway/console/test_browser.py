"""The console in a real Chromium: sign in, change a policy, see the next request obey it; axe-core finds no serious fault.

Screenshots are kept in docs/console. `make test-console` installs Chromium, Playwright and axe-core.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.serving.free_ports import free_ports

ROOT = Path(__file__).parents[3]
SCREENSHOTS = ROOT / "docs" / "console"
AXE = Path(os.environ.get("LLMOS_TEST_AXE", ROOT / "build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"))
START_S = 300.0
TEXT = "I am Sarah Connor, write to sarah.connor@acme.com"

SURVEY = """
id: survey
extends: strict
match: {tenants: [survey]}
dp:
  mechanism:
    kind: structured
    max_tokens: 40
    json_schema:
      type: object
      properties:
        urgency: {type: number, minimum: 0, maximum: 10, x-dp: {mechanism: laplace, epsilon: 2.0}}
  budget: {epsilon: 30.0, window: {kind: calendar, period: day}}
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
playwright = pytest.importorskip("playwright.sync_api", reason="make test-console installs Playwright")


@dataclass(frozen=True)
class Running:
    """A gateway in front of the stub, with an administrator's and a caller's key."""

    url: str
    upstream: str
    admin_key: str
    caller_key: str

    def ask(self, key: str | None = None) -> dict[str, Any]:
        """One chat request; what the model server received."""
        body = json.dumps({"model": "smollm2", "messages": [{"role": "user", "content": TEXT}]}).encode()
        headers = {"authorization": f"Bearer {key or self.caller_key}", "content-type": "application/json"}
        try:
            urllib.request.urlopen(urllib.request.Request(f"{self.url}/v1/chat/completions", body, headers), timeout=60).read()
        except urllib.error.HTTPError as refused:
            return dict(json.load(refused))
        with urllib.request.urlopen(f"{self.upstream}/last", timeout=10) as last:
            return dict(json.load(last))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("console")
    port, stub_port = free_ports(2)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LLMOS_")}
    environ |= {"LLMOS_DATA_DIR": str(data), "LLMOS_DETECTOR_WORKERS": "1", "PYTHONPATH": str(ROOT)}
    upstream = f"http://127.0.0.1:{stub_port}"
    llmos = [sys.executable, "-m", "gateway.cli"]
    with (data / "log").open("wb") as log:
        started = [
            subprocess.Popen([sys.executable, str(ROOT / "bench/peers/stub_upstream.py"), "--port", str(stub_port)], stderr=log),
            subprocess.Popen(
                [*llmos, "serve", "--upstream", f"{upstream}/v1", "--port", str(port), "--model", "smollm2"],
                env=environ,
                stdout=log,
                stderr=log,
            ),
        ]
        try:
            wait_for(f"http://127.0.0.1:{port}/readyz")

            def key(*arguments: str) -> str:
                made = subprocess.run([*llmos, "keys", "create", *arguments], env=environ, capture_output=True, timeout=120, check=True)
                return made.stdout.decode().strip()

            admin, caller = key("operations", "--role", "admin", "--label", "on call"), key("acme", "--label", "chat app", "--days", "90")
            survey = key("survey", "--label", "survey")
            (data / "survey.yaml").write_text(SURVEY)
            subprocess.run(
                [*llmos, "policy", "apply", str(data / "survey.yaml")], env=environ, capture_output=True, timeout=120, check=True
            )
            made = Running(f"http://127.0.0.1:{port}", upstream, admin, caller)
            for _ in range(4):
                made.ask(survey)  # the stub's answer is no JSON, so each leaf is drawn from its default: it costs all the same
            yield made
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(60)


def wait_for(url: str) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=10).read()
            return
        except OSError:
            assert time.monotonic() < deadline, "the gateway did not become ready"
            time.sleep(0.5)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("make test-console installs chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"], timeout=120_000)
        yield chromium
        chromium.close()


def signed_in(context: Any, running: Running) -> Any:
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{running.url}/console/")
    page.fill("#credential", running.admin_key)
    page.click("main button[type=submit]")
    page.wait_for_url("**/console/playground")
    return page


def shoot(page: Any, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(SCREENSHOTS / f"{name}.png"), full_page=True)


def test_a_policy_changed_in_the_console_binds_the_next_request(running: Running, browser: Any) -> None:
    assert "Sarah" not in json.dumps(running.ask())  # the default policy: a surrogate
    context = browser.new_context(viewport={"width": 1280, "height": 860}, color_scheme="light")
    faults: list[str] = []
    page = signed_in(context, running)
    # the browser logs each answer over 399 too, and a refused document is one on purpose
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" and "422" not in message.text else None)

    page.click("text=Try it")
    page.wait_for_selector("mark")
    shoot(page, "playground")

    page.goto(f"{running.url}/console/policy?pack=default")
    page.fill("#source", "id: acme\nextends: default\nmatch: {tenants: [acme]}\nentities: {PERSON: {acton: mask}}\n")
    page.click("text=Show what would change")
    assert "did you mean 'action'" in page.inner_text("[role=alert]")
    page.fill("#source", page.input_value("#source").replace("acton", "action"))
    page.click("text=Show what would change")
    assert "entities.PERSON.action" in page.inner_text("table.diff")
    page.fill("#reason", "Names may not be restored")
    page.click("text=Put in force")
    page.wait_for_url("**/console/policy?id=acme")

    sent = json.dumps(running.ask())
    assert "I am ****" in sent
    assert "Sarah" not in sent

    page.fill("#source", page.input_value("#source").replace("action: mask", "action: block"))
    page.click("text=Show what would change")
    shoot(page, "policy-diff")
    page.click("text=Put in force")
    page.wait_for_url("**/console/policy?id=acme")
    shoot(page, "policy")
    assert running.ask()["error"]["code"] == "policy_refusal"

    page.click("text=Go back to this")
    page.wait_for_url("**/console/policy?id=acme")
    assert "I am ****" in json.dumps(running.ask())
    assert faults == []
    context.close()


def test_a_made_key_is_shown_once_and_a_revoked_one_ends_its_session(running: Running, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = signed_in(context, running)
    page.goto(f"{running.url}/console/keys")
    page.fill("#tenant", "operations")
    page.select_option("#role", "auditor")
    page.click("main form.card button")
    text = page.inner_text(".secret")
    assert text.startswith("llmos-")
    page.goto(f"{running.url}/console/keys")
    assert text not in page.content()

    auditor = browser.new_context()
    theirs = auditor.new_page()
    theirs.goto(f"{running.url}/console/")
    theirs.fill("#credential", text)
    theirs.click("main button[type=submit]")
    theirs.wait_for_url("**/console/policies")
    assert theirs.goto(f"{running.url}/console/keys").status == 403
    page.click("tr:has-text('auditor') button:has-text('Revoke')")
    page.wait_for_url("**/console/keys")
    assert theirs.goto(f"{running.url}/console/policies").status == 401
    auditor.close()
    context.close()


def test_a_form_from_another_site_or_without_its_token_is_refused(running: Running, browser: Any) -> None:
    context = browser.new_context()
    page = signed_in(context, running)
    form = {"act": "create", "tenant": "evil", "role": "admin"}
    refused = page.request.post(f"{running.url}/console/keys", form=form)
    assert refused.status == 403
    csrf = page.input_value("form input[name=csrf] >> nth=0")
    foreign = page.request.post(f"{running.url}/console/keys", form={**form, "csrf": csrf}, headers={"origin": "https://evil.example"})
    assert foreign.status == 403
    page.goto(f"{running.url}/console/keys")
    assert "evil" not in page.inner_text("main")
    context.close()


PAGES = ("playground", "policies", "policy?id=default", "keys", "budgets", "rounds", "audit", "audit?verify=acme", "traffic", "health")


@pytest.mark.parametrize(("scheme", "language"), [("light", "en"), ("dark", "zh")])
def test_axe_finds_no_serious_fault(running: Running, browser: Any, scheme: str, language: str) -> None:
    if not AXE.exists():
        pytest.skip("make test-console installs axe-core")
    for _ in range(5):
        running.ask()
    context = browser.new_context(viewport={"width": 1280, "height": 860}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{running.url}/console/language?to={language}")
    faults = serious(page, "sign-in")
    shoot(page, f"sign-in-{scheme}-{language}")
    page.close()
    page = signed_in(context, running)
    for path in PAGES:
        assert page.goto(f"{running.url}/console/{path}").status == 200, path
        faults += serious(page, path)
        shoot(page, f"{path.replace('?', '-').replace('=', '-')}-{scheme}-{language}")
    page.goto(f"{running.url}/console/playground")
    page.click("main button[type=submit]")
    page.wait_for_selector("mark")
    faults += serious(page, "playground, tried")
    shoot(page, f"playground-tried-{scheme}-{language}")
    page.set_viewport_size({"width": 390, "height": 844})
    faults += serious(page, "playground, narrow")
    shoot(page, f"playground-narrow-{scheme}-{language}")
    assert faults == []
    assert page.evaluate("document.documentElement.scrollWidth <= 391"), "a narrow page scrolls sideways"
    context.close()


def serious(page: Any, where: str) -> list[str]:
    """What axe-core calls serious or critical."""
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("axe.run().then(r => r.violations.map(v => [v.impact, v.id, v.nodes.map(n => n.html).slice(0, 3)]))")
    return [f"{where}: {rule}: {nodes}" for impact, rule, nodes in found if impact in ("serious", "critical")]
