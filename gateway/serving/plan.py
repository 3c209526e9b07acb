"""Which processes `llmos up` runs, in which order: the settings turned into children of the supervisor."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from gateway.serving import valkey, vllm_server
from gateway.serving.supervisor import Child
from gateway.serving.vllm_server import VllmServer
from gateway.settings import Settings

MODEL_NAME = "smollm2"
GATEWAY_START_TIMEOUT_S = 180.0  # beside the wait for vLLM: it loads spaCy's model in every detector process
VLLM_STOP_TIMEOUT_S = 20.0


def local_vllm(settings: Settings, python: Path) -> VllmServer:
    return VllmServer(python.absolute(), settings.model_dir, settings.vllm_port, MODEL_NAME, max_model_len=settings.vllm_max_model_len)


def children(
    settings: Settings,
    vllm: VllmServer | None,
    upstream_url: str,
    dev_key: str | None,
    mpc: Sequence[Child] = (),
    mpc_config: Path | None = None,
) -> list[Child]:
    """Valkey unless a server is named, `vllm` unless None, `mpc`, then the gateway, which asks `upstream_url` for inference."""
    plan: list[Child] = []
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url else None
    if redis_url is None:
        redis_url = valkey.url(settings.data_dir)
        is_ready = partial(valkey.answers, valkey.socket_path(settings.data_dir))
        plan.append(Child("valkey", valkey.command(settings.data_dir), is_ready, start_timeout_s=valkey.START_TIMEOUT_S))
    if vllm is not None:
        plan.append(
            Child(
                "vllm",
                vllm.command(),
                partial(vllm_server.is_healthy, f"http://127.0.0.1:{vllm.port}/health"),
                vllm.environment(),
                start_timeout_s=vllm_server.START_TIMEOUT_S,
                stop_timeout_s=VLLM_STOP_TIMEOUT_S,
            )
        )
    plan += mpc
    plan.append(
        Child(
            "gateway",
            [sys.executable, "-m", "gateway.cli", "serve"],
            _gateway_is_ready(settings),
            {
                "LLMOS_DATA_DIR": str(settings.data_dir),
                "LLMOS_REDIS_URL": redis_url,
                "LLMOS_UPSTREAM": upstream_url,
                "LLMOS_HOST": settings.host,
                "LLMOS_PORT": str(settings.port),
                "LLMOS_DEV_KEY": dev_key,
                **({"LLMOS_MPC_CONFIG": str(mpc_config)} if mpc_config else {}),
            },
            after=[child.name for child in plan if child.name == "valkey"],  # it loads its detectors while vLLM loads its model
            start_timeout_s=GATEWAY_START_TIMEOUT_S + (vllm_server.START_TIMEOUT_S if vllm else 0.0),
        )
    )
    return plan


def _gateway_is_ready(settings: Settings) -> Callable[[], bool]:
    """Behind TLS, which may ask for a client's certificate, it is enough that the port accepts: the gateway listens once it is open."""
    if settings.tls_cert_file is None:
        return partial(vllm_server.is_healthy, settings.base_url.removesuffix("/v1") + "/readyz")

    def accepts() -> bool:
        try:
            with socket.create_connection((settings.host, settings.port), timeout=1.0):
                return True
        except OSError:
            return False

    return accepts
