"""Flower's processes as this trainer starts them: TLS, authenticated nodes, no telemetry, nothing installed at run time.

One SuperLink (the coordinator's) and one SuperNode an institution. `superlink_command` and `supernode_command` are what
`llmos federate server` and `client` run; `LocalNetwork` runs all of them on one machine, for the demonstration and tests.

Not covered: Flower ships the run's app bundle from the SuperLink to each SuperNode, which runs it. Ours holds import
lines alone, but whoever may start runs at the SuperLink could send another: give its Control API to the coordinator alone, and
run SuperNodes in a container that can read nothing but the institution's own folder.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from federated_trainer.errors import BadConfiguration, TrainerError

APP_FOLDER = Path(__file__).parent / "flower_app"
_SUPERLINK_STARTS_S = 120.0


def flower_environment(flower_home: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of every Flower process: no telemetry, no update check, no model hub."""
    fixed = {
        "FLWR_HOME": str(flower_home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.5",  # seconds; each look is a request that costs 10 ms of a core
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # several clients on one machine must not spin at each other's barriers
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', '')}",
    }
    return {**inherited, **fixed}


def superlink_command(host: str, port: int, tls: Path, database: Path | None = None) -> list[str]:
    """The SuperLink with TLS (files of `make_certificates`) and SuperNode authentication."""
    stored = [] if database is None else ["--database", str(database)]
    return [
        *(_executable("flower-superlink"), "--host", host, "--port", str(port)),
        *("--ssl-ca-certfile", str(tls / "ca.crt"), "--ssl-certfile", str(tls / "server.crt"), "--ssl-keyfile", str(tls / "server.key")),
        *("--enable-supernode-auth", "--disable-runtime-dependency-installation", *stored),
    ]


def supernode_command(superlink: str, ca: Path, node_key: Path, institution: Path, port: int) -> list[str]:
    """A SuperNode of the institution whose settings are in `institution`; `port` is its own loopback port."""
    return [
        *(sys.executable, "-m", "federated_trainer.supernode", "--superlink", superlink, "--root-certificates", str(ca)),
        *("--auth-supernode-private-key", str(node_key), "--port", str(port)),
        *("--node-config", f'institution="{institution}"'),
    ]


def write_connection(flower_home: Path, superlink: str, ca: Path) -> None:
    """Tell the `flwr` commands of this home where the SuperLink is."""
    flower_home.mkdir(parents=True, exist_ok=True)
    lines = [
        "[superlink]",
        'default = "federation"',
        "",
        "[superlink.federation]",
        f'address = "{superlink}"',
        f'root-certificates = "{ca}"',
    ]
    (flower_home / "config.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def run_command(federation: Path, rounds: int, app: Path = APP_FOLDER, token: int = 0) -> list[str]:
    """`flwr run` for the federation's settings; `token` is the fencing token of the round's lock."""
    config = f'federation="{federation}" rounds={rounds} token={token}'
    return [_executable("flwr"), "run", str(app), "federation", "--stream", "--run-config", config]


def stop_run_command(run_id: str) -> list[str]:
    return [_executable("flwr"), "stop", run_id, "federation"]


def run_status_command(run_id: str) -> list[str]:
    return [_executable("flwr"), "list", "--run-id", run_id, "--format", "json", "federation"]


def register_command(public_key: Path) -> list[str]:
    """Tells the SuperLink the public key of a SuperNode."""
    return [_executable("flwr"), "supernode", "register", str(public_key), "federation"]


def make_certificates(folder: Path, hosts: Sequence[str] = ("localhost", "127.0.0.1")) -> None:
    """ca.crt, server.crt and server.key (P-256, one year) for a private federation; the CA's key is not kept."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "LLMOS federation CA")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])

    def begin(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now)
        return builder.not_valid_after(now + datetime.timedelta(days=365))

    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ca = begin(ca_name, ca_key.public_key()).add_extension(x509.BasicConstraints(True, 0), True).add_extension(usage, True)
    ca = ca.add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False)
    server = begin(name, key.public_key()).add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), False)
    server = server.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    server = server.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False)
    (folder / "ca.crt").write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    (folder / "server.crt").write_bytes(server.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    _write_private(
        folder / "server.key",
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def make_node_key(path: Path) -> Path:
    """A SuperNode's P-384 key in OpenSSH's format at `path`; returns the path of its public half."""
    key = ec.generate_private_key(ec.SECP384R1())
    encoded = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    _write_private(path, encoded)
    public = path.with_name(path.name + ".pub")
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH) + b"\n")
    return public


def _write_private(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _executable(name: str) -> str:
    beside = Path(sys.executable).parent / name
    if not beside.exists():
        raise BadConfiguration(f"{name} is not installed beside this Python; install the trainer's extra: pip install 'llmos[federated]'.")
    return str(beside)


class LocalNetwork:
    """A SuperLink and one SuperNode an institution on this machine, each a process with its log in `folder`; ends them all on exit.

    institutions: settings file by name. Ports: `port` for the SuperLink, the following ones for the SuperNodes.
    """

    def __init__(self, folder: Path, port: int, institutions: Mapping[str, Path], environment: Mapping[str, str]) -> None:
        self._folder, self._port, self._institutions = folder, port, dict(institutions)
        self.flower_home, self.tls = folder / "flwr", folder / "tls"
        self._environment = flower_environment(self.flower_home, environment)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def __enter__(self) -> LocalNetwork:
        try:
            make_certificates(self.tls)
            self._folder.mkdir(parents=True, exist_ok=True)
            self.start_superlink()
            write_connection(self.flower_home, self.address, self.tls / "ca.crt")
            for name in self._institutions:
                public = make_node_key(self._folder / "keys" / name)
                self._register(public)
            for name in self._institutions:
                self.start_institution(name)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def start_superlink(self) -> None:
        """Returns when it takes connections: a run that is started before fails. Raises TrainerError."""
        self._start("superlink", superlink_command("127.0.0.1", self._port, self.tls, self._folder / "superlink.db"))
        deadline = time.monotonic() + _SUPERLINK_STARTS_S
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=5.0):
                return
            if self._processes["superlink"].poll() is not None or time.monotonic() > deadline:
                raise TrainerError(f"The SuperLink did not start; see {self._folder / 'superlink.log'}.")
            time.sleep(0.2)

    def start_institution(self, name: str) -> None:
        port = self._port + 1 + list(self._institutions).index(name)
        command = supernode_command(self.address, self.tls / "ca.crt", self._folder / "keys" / name, self._institutions[name], port)
        self._start(name, command)

    def stop(self, name: str) -> None:
        """End one process and its children (a client killed in a round)."""
        process = self._processes.pop(name)
        _end_group(process)

    @property
    def environment(self) -> dict[str, str]:
        """Of every Flower process and command here."""
        return dict(self._environment)

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for name in reversed(list(self._processes)):
            self.stop(name)

    def _start(self, name: str, command: list[str]) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(  # noqa: S603 - our own command
                command, env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def _register(self, public: Path) -> None:
        """The SuperLink takes connections before it takes keys: try for a while."""
        deadline = time.monotonic() + 60.0
        while True:
            done = subprocess.run(  # noqa: S603 - our own command
                register_command(public), env=self._environment, capture_output=True, timeout=60.0, check=False
            )
            if done.returncode == 0:
                return
            if time.monotonic() > deadline:
                raise TrainerError(f"The SuperLink did not take a SuperNode's key; see {self._folder / 'superlink.log'}.")
            time.sleep(1.0)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Terminate the process group that `start_new_session` made; kill what is left after 10 s."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
            process.wait(timeout=10.0)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return
