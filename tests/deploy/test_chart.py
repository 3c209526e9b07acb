"""The chart renders what Kubernetes knows, a release holds what its operator needs and nothing else, and its MPC pods start and answer."""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpc_inference import folders, launch
from mpc_inference.config import read_config
from mpc_inference.native.core import core
from mpc_inference.sampling import Sampling
from tests.deploy.files import DEPLOY, EVERYTHING, SOMEWHERE, TOOLS, pods, rendered
from tests.deploy.kubelet import lay_out, secret_from
from tests.faults.certificates import Authority
from tests.faults.rig import Process, running
from tests.mpc_inference.greedy import expected

pytestmark = pytest.mark.skipif(not TOOLS.exists(), reason="the tools' environment is missing: make tools")
CHART = DEPLOY / "helm" / "llmos"
EXAMPLES = {path.stem: yaml.safe_load(path.read_text()) for path in (DEPLOY / "helm" / "examples").glob("*.yaml")}
MUTUAL = EXAMPLES["mutual-tls"]
NOTHING_ELSE = {"gateway": {"enabled": False}, "vllm": {"enabled": False}}
DIGESTS = {
    name: f"sha256:{number:064x}" for number, name in enumerate(yaml.safe_load((CHART / "values.yaml").read_text())["image"]["digests"])
}


def run(*argv: object) -> subprocess.CompletedProcess:
    return subprocess.run([str(each) for each in argv], capture_output=True, text=True, timeout=120, check=False)


def named(manifests: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {manifest["metadata"]["name"]: manifest for manifest in manifests if manifest["kind"] == kind}


def held(values: dict[str, Any]) -> set[tuple[str, str]]:
    return {(manifest["kind"], manifest["metadata"]["name"]) for manifest in rendered(values)}


@pytest.mark.parametrize("values", [{}, EVERYTHING, *EXAMPLES.values()], ids=["defaults", "everything", *EXAMPLES])
def test_kubernetes_knows_the_manifests(values, tmp_path):
    file = tmp_path / "all.yaml"
    file.write_text("---\n".join(yaml.safe_dump(manifest) for manifest in rendered(values)))
    done = run(TOOLS / "kubernetes-validate", "--strict", "-k", "1.30", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_helm_lints_the_chart():
    program = "import json, sys; from helm_python.chart import lint; print(json.dumps(lint(sys.argv[1], {}, strict=True)))"
    report = json.loads(run(TOOLS / "python", "-c", program, CHART).stdout)
    assert [message for message in report["messages"] if message["severity"] > 1] == []
    assert report["errors"] in ([], None)


GATEWAY = {
    ("Deployment", "llmos-gateway"), ("Service", "llmos-gateway"), ("HorizontalPodAutoscaler", "llmos-gateway"),
    ("PodDisruptionBudget", "llmos-gateway"), ("NetworkPolicy", "llmos-gateway"), ("NetworkPolicy", "llmos-store"),
    ("NetworkPolicy", "llmos-deny"),
}  # fmt: skip
VLLM = {("Deployment", "llmos-vllm"), ("Service", "llmos-vllm"), ("NetworkPolicy", "llmos-vllm")}
RELEASES = {
    "mpc-party": {("Deployment", "llmos-party0"), ("Service", "llmos-party0"), ("NetworkPolicy", "llmos-party0"),
                  ("NetworkPolicy", "llmos-deny")},
    "institution": {("Deployment", "llmos-supernode"), ("NetworkPolicy", "llmos-supernode"), ("NetworkPolicy", "llmos-deny")},
    "mpc-gateway": GATEWAY,
    "mutual-tls": GATEWAY | VLLM,
    "coordinator": GATEWAY | VLLM | {("Deployment", "llmos-superlink"), ("Service", "llmos-superlink"),
                                     ("NetworkPolicy", "llmos-superlink"), ("CronJob", "llmos-scheduler"),
                                     ("NetworkPolicy", "llmos-scheduler")},
}  # fmt: skip


@pytest.mark.parametrize("release", EXAMPLES)
def test_a_release_holds_its_own_part_and_nothing_else(release):
    assert held(EXAMPLES[release]) == RELEASES[release]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"mpc": {"role": "party7"}}, "role"),
        ({"gateway": {"replica": 3}}, "replica"),
        ({"gatewy": {}}, "gatewy"),
        ({"trainer": {"digest": ""}}, "digest"),
        ({"image": {"digests": {"llmos-trainer": ""}}}, "llmos-trainer"),
        ({"image": {"digests": {"llmos-vllm": "sha256:1"}}}, "sha256"),
        ({"store": {"peers": []}}, "peers"),
        ({"vllm": {"enabled": False}}, "no model server: set vllm.enabled, or upstream.url"),
        ({"upstream": {"url": "https://h/v1"}}, "upstream.url needs upstream.peers"),
        ({"gateway": {"clientCaSecret": "ca", "tlsSecret": "tls"}}, "needs gateway.tlsSecret, and gateway.probeSecret"),
        ({"vllm": {"clientCaSecret": "ca", "tlsSecret": "tls"}}, "needs vllm.tlsSecret, and vllm.probeSecret"),
        ({"vllm": {"clientCaSecret": "ca", "tlsSecret": "tls", "probeSecret": "p"}}, "needs upstream.clientCertSecret"),
        ({"mpcClient": {"secret": "s"}}, "mpcClient.secret needs mpcClient.modelClaim and mpcClient.peers"),
        (NOTHING_ELSE | {"trainer": {"client": True}}, "trainer.client needs trainer.superlink and trainer.superlinkPeers"),
    ],
)
def test_values_that_mean_nothing_are_refused_by_name(values, complaint):
    with pytest.raises(AssertionError, match=re.escape(complaint)):
        rendered(values)


@pytest.mark.parametrize("role", ["dealer", "party0"])
def test_every_image_has_a_digest_of_its_own(role):
    images = set()
    for pod in pods(rendered(EVERYTHING | {"mpc": {"role": role}, "image": {"digests": DIGESTS}})).values():
        images |= {container["image"] for container in pod["containers"]}
    other = {"dealer": "llmos-mpc-party", "party0": "llmos-mpc-dealer"}[role]
    assert images == {f"registry.example.org/llmos/{name}@{digest}" for name, digest in DIGESTS.items() if name != other}


@pytest.mark.parametrize("values", [EVERYTHING, MUTUAL], ids=["everything", "mutual-tls"])
def test_every_file_that_a_process_is_told_of_is_mounted(values):
    """And --model is where the claim with the model at its root is."""
    for component, pod in pods(rendered(values)).items():
        [container] = pod["containers"]
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert {mount["name"] for mount in mounts.values()} == set(volumes), component
        words = [*container["args"], *(variable["value"] for variable in container.get("env", []))]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            words += re.findall(r'"(/run/[^"]*)"', str(container.get(probe, {}).get("exec", {}).get("command", "")))
        paths = [
            Path(path) for path in (word.partition("=")[2] if word.startswith("--") else word for word in words) if path.startswith("/")
        ]
        assert paths
        for path in paths:
            place = next((each for each in (path, *path.parents) if str(each) in mounts), None)
            assert place is not None, f"{component} has nothing at {path}"
            items = volumes[mounts[str(place)]["name"]].get("secret", {}).get("items")
            assert items is None or path.name in [item["path"] for item in items]
    [model] = [arg.partition("=")[2] for arg in pods(rendered(values))["vllm"]["containers"][0]["args"] if arg.startswith("--model=")]
    assert model == "/models/served"


def test_every_pod_is_locked_down_and_goes_where_it_is_told():
    place = {"nodeSelector": {"pool": "a"}, "tolerations": [{"key": "pool", "operator": "Exists"}]}
    values = {name: EVERYTHING[name] | place for name in ("gateway", "vllm", "mpc", "trainer")}
    values |= {"image": {"pullPolicy": "Always", "pullSecrets": [{"name": "registry"}]}, "mpcClient": EVERYTHING["mpcClient"]}
    found = pods(rendered(values))
    assert set(found) == {"gateway", "vllm", "party1", "superlink", "scheduler", "supernode"}
    for component, pod in found.items():
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
        assert {"nodeSelector": pod["nodeSelector"], "tolerations": pod["tolerations"]} == place
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["imagePullPolicy"] == "Always"
            assert {"requests", "limits"} <= set(container["resources"]), component


def allowed(policy: dict[str, Any], direction: str) -> dict[tuple[int, ...], list[str]]:
    """Who, by the ports: a component of this release, `dns`, or the peer as it stands. No rule is open to everybody."""
    end, found = {"ingress": "from", "egress": "to"}[direction], {}
    for rule in policy["spec"].get(direction, []):
        assert rule[end], f"{policy['metadata']['name']} is open to everybody"
        names = []
        for peer in rule[end]:
            labels = peer.get("podSelector", {}).get("matchLabels", {})
            names.append(labels.get("app.kubernetes.io/component") or ("dns" if "k8s-app" in labels else json.dumps(peer)))
        found[tuple(port["port"] for port in rule["ports"])] = names
    return found


REDIS = json.dumps({"podSelector": {"matchLabels": {"app.kubernetes.io/name": "redis"}}})
ELSEWHERE = json.dumps(SOMEWHERE[0])
POLICIES = {
    "llmos-deny": ({}, {}),
    "llmos-gateway": (
        {(8080,): [json.dumps({"podSelector": {}}), "superlink"]},
        {(8001,): ["vllm"], (6379,): [REDIS], (9501, 9502): [ELSEWHERE], (53, 53): ["dns"]},
    ),
    "llmos-store": ({(6379,): ["gateway", "scheduler"]}, {}),
    "llmos-vllm": ({(8001,): ["gateway", "superlink"]}, {}),
    "llmos-superlink": ({(9400,): ["scheduler", "supernode"]}, {(8001,): ["vllm"], (8080,): ["gateway"], (53, 53): ["dns"]}),
    "llmos-scheduler": ({}, {(9400,): ["superlink"], (6379,): [REDIS], (53, 53): ["dns"]}),
    "llmos-supernode": ({}, {(9400,): ["superlink"], (53, 53): ["dns"]}),
    "llmos-party1": ({(9502,): [ELSEWHERE]}, {(9500, 9501, 9502): [ELSEWHERE], (53, 53): ["dns"]}),
}


def test_who_may_speak_to_whom():
    policies = named(rendered(EVERYTHING), "NetworkPolicy")
    assert {name: (allowed(policy, "ingress"), allowed(policy, "egress")) for name, policy in policies.items()} == POLICIES
    for name, policy in policies.items():
        assert policy["spec"]["policyTypes"] == (["Ingress"] if name == "llmos-store" else ["Ingress", "Egress"])
        labels = policy["spec"]["podSelector"]["matchLabels"]
        component = labels.pop("app.kubernetes.io/component", None)
        if name == "llmos-store":
            assert labels == {"app.kubernetes.io/name": "redis"}
        else:
            assert labels == {"app.kubernetes.io/name": "llmos", "app.kubernetes.io/instance": "llmos"}
            assert component == (None if name == "llmos-deny" else name.removeprefix("llmos-"))


def test_a_dealer_calls_nobody_and_a_role_without_peers_hears_nobody():
    dealer = named(rendered(NOTHING_ELSE | {"mpc": {"role": "dealer", "peers": SOMEWHERE}}), "NetworkPolicy")["llmos-dealer"]
    assert (allowed(dealer, "ingress"), allowed(dealer, "egress")) == ({(9500,): [ELSEWHERE]}, {})
    alone = named(rendered(NOTHING_ELSE | {"mpc": {"role": "party0"}}), "NetworkPolicy")["llmos-party0"]
    assert (allowed(alone, "ingress"), allowed(alone, "egress")) == ({}, {})


def test_what_is_elsewhere_is_reached_where_the_values_say():
    peer = {"namespaceSelector": {"matchLabels": {"team": "data"}}, "podSelector": {"matchLabels": {"app": "valkey"}}}
    rule = {"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}], "ports": [{"port": 8200}]}
    values = EXAMPLES["mpc-gateway"] | {"store": {"peers": [peer, *SOMEWHERE], "port": 6380}, "gateway": {"extraEgress": [rule]}}
    policies = named(rendered(values), "NetworkPolicy")
    assert set(policies) == {"llmos-deny", "llmos-gateway"}  # a store in another namespace is not ours to close
    egress = allowed(policies["llmos-gateway"], "egress")
    assert [json.loads(each) for each in egress.pop((9501, 9502))] == EXAMPLES["mpc-gateway"]["mpcClient"]["peers"]
    assert egress == {
        (443,): [json.dumps(EXAMPLES["mpc-gateway"]["upstream"]["peers"][0])],
        (6380,): [json.dumps(peer), ELSEWHERE],
        (53, 53): ["dns"],
        (8200,): [json.dumps(rule["to"][0])],
    }
    institution = named(rendered(EXAMPLES["institution"]), "NetworkPolicy")["llmos-supernode"]
    assert allowed(institution, "egress")[(9400,)] == [json.dumps(EXAMPLES["institution"]["trainer"]["superlinkPeers"][0])]


def environment(component: str, values: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in pods(rendered(values))[component]["containers"][0].get("env", [])}


def secrets_of(component: str, values: dict[str, Any]) -> dict[str, tuple[str, list[str] | None]]:
    """The Secret and the keys of it (None: all) by the volume's name."""
    volumes = {volume["name"]: volume["secret"] for volume in pods(rendered(values))[component]["volumes"] if "secret" in volume}
    return {
        name: (each["secretName"], [item["key"] for item in each["items"]] if "items" in each else None) for name, each in volumes.items()
    }


def test_the_gateway_goes_where_the_values_say():
    assert environment("gateway", {})["LLMOS_UPSTREAM"] == "http://llmos-vllm:8001/v1"
    elsewhere = environment("gateway", EXAMPLES["mpc-gateway"])
    assert elsewhere["LLMOS_UPSTREAM"] == "https://models.example.org/v1"
    assert elsewhere["LLMOS_MPC_CONFIG"] == "/run/llmos/mpc/mpc.yaml"
    more = {"extraVolumes": [{"name": "hsm", "emptyDir": {}}], "extraVolumeMounts": [{"name": "hsm", "mountPath": "/opt/hsm"}]}
    pod = pods(rendered({"gateway": more}))["gateway"]
    assert more["extraVolumes"][0] in pod["volumes"]
    assert more["extraVolumeMounts"][0] in pod["containers"][0]["volumeMounts"]


def test_every_edge_has_both_certificates_and_no_pod_a_key_that_is_not_its_own():
    manifests = pods(rendered(MUTUAL))
    told = environment("gateway", MUTUAL)
    assert told["LLMOS_UPSTREAM"] == "https://llmos-vllm:8001/v1"
    assert {name for name in told if name.endswith("_FILE")} == {
        "LLMOS_MASTER_KEY_FILE", "LLMOS_TLS_CERT_FILE", "LLMOS_TLS_KEY_FILE", "LLMOS_TLS_CLIENT_CA_FILE", "LLMOS_UPSTREAM_CA_FILE",
        "LLMOS_UPSTREAM_CERT_FILE", "LLMOS_UPSTREAM_KEY_FILE", "LLMOS_REDIS_URL_FILE", "LLMOS_REDIS_CA_FILE", "LLMOS_REDIS_CERT_FILE",
        "LLMOS_REDIS_KEY_FILE",
    }  # fmt: skip
    assert secrets_of("gateway", MUTUAL) == {
        "key": ("llmos-master-key", None),
        "redis": ("llmos-redis", None),
        "redis-ca": ("store-ca", ["ca.crt"]),
        "redis-cert": ("gateway-client-tls", None),
        "tls": ("gateway-tls", None),
        "client-ca": ("callers-ca", ["ca.crt"]),
        "probe": ("gateway-probe-tls", None),
        "upstream-ca": ("vllm-tls", ["ca.crt"]),  # not vLLM's private key
        "upstream-cert": ("gateway-client-tls", None),
    }
    options = {arg for arg in manifests["vllm"]["containers"][0]["args"] if arg.startswith("--ssl")}
    assert options == {
        "--ssl-certfile=/run/llmos/tls/tls.crt", "--ssl-keyfile=/run/llmos/tls/tls.key",
        "--ssl-ca-certs=/run/llmos/client-ca/ca.crt", f"--ssl-cert-reqs={int(ssl.CERT_REQUIRED)}",
    }  # fmt: skip
    one_sided = {"vllm": {"tlsSecret": "vllm-tls"}}
    [vllm] = pods(rendered(one_sided))["vllm"]["containers"]
    assert {vllm[probe]["httpGet"]["scheme"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")} == {"HTTPS"}
    assert environment("gateway", one_sided)["LLMOS_UPSTREAM_CA_FILE"] == "/run/llmos/upstream-ca/ca.crt"


def test_a_coordinator_keeps_its_nodes_and_a_scheduler_holds_no_private_key():
    values = EVERYTHING | {"trainer": {"server": True, "caSecret": "internal-ca", "federationClaim": "ours"}, "store": MUTUAL["store"]}
    found = pods(rendered(values))
    for component in ("superlink", "scheduler"):
        [data] = [volume for volume in found[component]["volumes"] if volume["name"] == "data"]
        assert data["persistentVolumeClaim"] == {"claimName": "ours"}
    assert secrets_of("scheduler", values) == {
        "federation": ("llmos-federation", ["federation.toml"]),
        "superlink-ca": ("llmos-superlink-tls", ["ca.crt"]),
        "redis": ("llmos-redis", None),
        "redis-ca": ("store-ca", ["ca.crt"]),
        "redis-cert": ("gateway-client-tls", None),
    }
    assert environment("scheduler", values)["LLMOS_REDIS_CERT_FILE"] == "/run/llmos/redis-cert/tls.crt"
    assert environment("superlink", values) == {"SSL_CERT_FILE": "/run/llmos/serving-ca/ca.crt"}


@contextlib.contextmanager
def mutual_tls_server(authority: Authority) -> Iterator[tuple[int, dict[str, int]]]:
    """Answers each path with the status that the dictionary has; only a client with the authority's certificate gets that far."""
    statuses: dict[str, int] = {}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses[self.path])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Silence."""

    pair = authority.pair("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    server = HTTPServer(("127.0.0.1", 0), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, statuses
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("component", "port", "path"), [("gateway", 8080, "/readyz"), ("vllm", 8001, "/health")])
def test_behind_mutual_tls_a_pod_that_drains_is_not_ready(component, port, path, tmp_path):
    [container] = pods(rendered(MUTUAL))[component]["containers"]
    python, option, program = container["readinessProbe"]["exec"]["command"]
    assert (python, option) == ("python3", "-c")
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    with mutual_tls_server(authority) as (here, statuses):

        def status(of: Authority) -> int:
            pair = of.pair("probe")
            ours = {"/run/llmos/probe/tls.crt": pair.certificate, "/run/llmos/probe/tls.key": pair.key, f", {port},": f", {here},"}
            text = program
            for theirs, mine in ours.items():
                assert theirs in text
                text = text.replace(theirs, str(mine))
            return run(sys.executable, option, text).returncode

        statuses[path] = 200
        assert status(authority) == 0
        assert status(stranger) != 0
        statuses[path] = 503
        assert status(authority) != 0


@pytest.mark.parametrize("mode", ["public", "owner", "shared"])
async def test_what_init_writes_starts_in_the_pods_and_answers_the_gateway_s_client(mode, deploy_tiny_mpc, tmp_path):
    config = deploy_tiny_mpc(tmp_path, mode)
    deployment = read_config(config)
    made = {folder.name: folder for folder in folders.write(config)}
    documented = re.findall(r"(kubectl create secret generic (\S+) .*)", (CHART / "values.yaml").read_text())
    create = {name: command for command, name in documented}
    core()  # compiled once here, not by all three at the same time
    processes = []
    for role, endpoint in zip(("dealer", "party0", "party1"), (deployment.dealer, *deployment.parties), strict=True):
        root = tmp_path / "pods" / role
        pod = pods(rendered(NOTHING_ELSE | {"mpc": {"role": role, "port": endpoint.port, "peers": SOMEWHERE}}))[role]
        lay_out(pod, {"llmos-mpc": secret_from(create["llmos-mpc"], made[role])}, {"llmos-mpc-prepared": made[role] / "prepared"}, root)
        [container] = pod["containers"]
        assert container["ports"] == [{"name": "mpc", "containerPort": endpoint.port}]
        program, *words = container["command"] + container["args"]
        assert program == "llmos"
        assert words[-2:] == ["--bind", "0.0.0.0"]
        argv = [sys.executable, "-m", "gateway.cli", *(word.replace("/run/llmos", f"{root}/run/llmos") for word in words)]
        processes.append(Process(argv, tmp_path / f"{role}.log", launch.ONE_THREAD))
    values = EXAMPLES["mpc-gateway"]
    pod, root = pods(rendered(values))["gateway"], tmp_path / "pods" / "gateway"
    secrets = {"llmos-mpc-client": secret_from(create["llmos-mpc-client"], made["client"]), "llmos-redis": {}, "llmos-master-key": {}}
    lay_out(pod, secrets, {"llmos-mpc-model": made["client"] / "model"}, root)
    shared = root / environment("gateway", values)["LLMOS_MPC_CONFIG"].lstrip("/")
    with running(*processes):
        launch.wait_ready(shared, 120)
        client = launch.client(shared)
        prompt = client.tokens.chat([{"role": "user", "content": "w44 w17 w38"}])
        tokens = [piece.token async for piece in client.generate(prompt, max_tokens=4, sampling=Sampling(temperature=0.0))]
    assert tokens == expected(config, prompt, 4)
