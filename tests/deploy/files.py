"""Reads what each file of `deploy` starts: a command and its environment."""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TOOLS = ROOT / ".venv-tools" / "bin"
ENTRYPOINTS = {
    "gateway": ["llmos"],
    "vllm": ["python", "-m", "vllm.entrypoints.openai.api_server"],
    "dealer": ["python", "-m", "mpc_inference"],
    "party": ["python", "-m", "mpc_inference"],
    "trainer": ["llmos", "federate"],
}
SOMEWHERE = [{"ipBlock": {"cidr": "10.0.0.0/8"}}]
EVERYTHING = {
    "mpc": {"role": "party1", "peers": SOMEWHERE},
    "mpcClient": {"secret": "llmos-mpc-client", "modelClaim": "llmos-mpc-model", "peers": SOMEWHERE},
    "trainer": {"server": True, "client": True},
    "gateway": {"tlsSecret": "tls"},
    "store": {"caSecret": "ca"},
    "vllm": {"tlsSecret": "tls", "adaptersClaim": "llmos-federation-data"},
}


@dataclass(frozen=True)
class Started:
    """One process that a file starts."""

    source: str
    role: str  # of ENTRYPOINTS
    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)


def container(path: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """ENTRYPOINT and CMD together, and ENV, of each last stage (`""`) or target of a Containerfile."""
    stages: dict[str, dict[str, Any]] = {}
    name = ""
    text = path.read_text("utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            parts = rest.split()
            name = parts[2] if len(parts) > 2 else ""
            base = stages.get(parts[0], {"entrypoint": [], "cmd": [], "env": {}})
            stages[name] = {key: value.copy() for key, value in base.items()}
        elif word == "ENTRYPOINT":
            stages[name]["entrypoint"] = json.loads(rest)
        elif word == "CMD":
            stages[name]["cmd"] = json.loads(rest)
        elif word == "ENV":
            stages[name]["env"] |= dict(pair.split("=", 1) for pair in shlex.split(rest))
    return {name: (stage["entrypoint"] + stage["cmd"], stage["env"]) for name, stage in stages.items() if stage["entrypoint"]}


def role_of(argv: list[str]) -> str:
    text = " ".join(argv)
    if "mpc_inference" in text:
        return "dealer" if "dealer" in argv else "party"
    return "vllm" if "vllm" in text else "trainer" if "federate" in argv else "gateway"


def of_containers() -> list[Started]:
    found = []
    for path in sorted((DEPLOY / "images").glob("*.Containerfile")):
        for target, (argv, environment) in container(path).items():
            if target not in ("build", "role"):
                found.append(Started(f"{path.name}:{target}", role_of(argv), argv, environment))
    return found


def of_compose() -> list[Started]:
    found = []
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]
    for name, service in services.items():
        if "build" not in service:
            continue
        stages = container(ROOT / service["build"]["dockerfile"])
        argv, environment = stages[service["build"].get("target", "")]
        entry = ENTRYPOINTS[role_of(argv)]
        argv = entry + service.get("command", argv[len(entry) :])
        found.append(Started(f"compose:{name}", role_of(argv), argv, environment | service.get("environment", {})))
    return found


def unit(path: Path) -> dict[str, list[str]]:
    """A unit's settings by their names; `%i` is 1, and what its file of variables would say stands in the command."""
    told = {"%i": "1", "$TLS_OPTIONS": "", "${SUPERLINK}": "coordinator.example.org:9400"}
    found: dict[str, list[str]] = {}
    text = path.read_text("utf-8").replace("\\\n", " ")
    for variable, value in told.items():
        text = text.replace(variable, value)
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def of_units() -> list[Started]:
    found = []
    for path in sorted((DEPLOY / "systemd").glob("*.service")):
        settings = unit(path)
        [command] = settings["ExecStart"]
        argv = shlex.split(command)
        argv = [Path(argv[0]).name, *argv[1:]]
        environment = dict(pair.split("=", 1) for line in settings.get("Environment", []) for pair in shlex.split(line))
        found.append(Started(path.name, role_of(argv), argv, environment))
    return found


def rendered(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The manifests of the chart, rendered by Helm itself (its library in the tools' environment)."""
    program = (
        "import json, sys; from helm_python import Chart; "
        "chart = Chart.load(sys.argv[1]); values = json.loads(sys.argv[2]); chart.validate_schema(values); "
        "print(json.dumps(chart.render(values, name='llmos', namespace='default')))"
    )
    argv = [str(TOOLS / "python"), "-c", program, str(DEPLOY / "helm" / "llmos"), json.dumps(values)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    texts = json.loads(done.stdout)
    return [document for name, text in texts.items() if name.endswith(".yaml") for document in yaml.safe_load_all(text) if document]


def pods(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The pods' specifications by their component."""
    found = {}
    for manifest in manifests:
        spec = manifest.get("spec", {})
        pod = spec.get("template") or spec.get("jobTemplate", {}).get("spec", {}).get("template")
        if pod:
            found[pod["metadata"]["labels"]["app.kubernetes.io/component"]] = pod["spec"]
    return found


def of_chart() -> list[Started]:
    found = []
    for role in ("dealer", "party0", "party1"):
        for pod in pods(rendered(EVERYTHING | {"mpc": {"role": role}})).values():
            for each in pod["containers"]:
                image = each["image"].rpartition("/")[2].partition(":")[0].removeprefix("llmos-").removeprefix("mpc-").partition("-")[0]
                environment = {variable["name"]: variable["value"] for variable in each.get("env", [])}
                argv = each.get("command", ENTRYPOINTS[image]) + each["args"]
                found.append(Started(f"chart:{role}:{each['name']}", image, argv, environment))
    return found
