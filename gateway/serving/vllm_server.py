"""How the local vLLM is started: its command line, its environment, its health.

vLLM runs in its own environment (`.venv-vllm`), on loopback, offline, without usage statistics, without an access log or
request log (either could hold text). Adapters can be loaded at run time over its API: whoever reaches its port
can load one, so the port stays on loopback, or behind the network policy of a deployment.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PLUGIN_PATH = Path(__file__).parents[1] / "dp"
PRIVATE_SAMPLING = "vllm_plugin.runner_v1:DpLogitsProcessor"  # touches only requests that a policy's privacy mechanism marks
HEALTH_TIMEOUT_S = 6.0  # a machine that is busy with a start answers late
START_TIMEOUT_S = 600.0  # 40 s on two idle cores; a first start on a busy machine takes minutes


@dataclass(frozen=True, slots=True)
class VllmServer:
    """One vLLM process. `kv_cache_gib` is in GiB, `max_model_len` and `max_lora_rank` count tokens and dimensions."""

    python: Path
    model_dir: Path
    port: int
    served_name: str = "smollm2"
    max_model_len: int = 2048
    max_lora_rank: int = 16
    max_loras: int = 4  # in one batch: the served version, its canary, one that drains, one to spare (vLLM's own is 1)
    kv_cache_gib: int = 1
    logits_processors: Sequence[str] = (PRIVATE_SAMPLING,)  # MODULE:CLASS
    plugin_path: Path | None = PLUGIN_PATH  # goes to PYTHONPATH, for the same
    embeds: bool = False  # serves /v1/embeddings instead of text: vLLM wants a process of its own for that

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def command(self) -> list[str]:
        return [
            str(self.python),
            *("-m", "vllm.entrypoints.openai.api_server"),
            *("--model", str(self.model_dir)),
            *("--served-model-name", self.served_name),
            *("--host", "127.0.0.1"),
            *("--port", str(self.port)),
            *("--max-model-len", str(self.max_model_len)),
            "--disable-uvicorn-access-log",
            "--no-enable-log-requests",
            *(("--runner", "pooling") if self.embeds else self._generating()),
        ]

    def _generating(self) -> list[str]:
        processors = ["--logits-processors", *self.logits_processors] if self.logits_processors else []
        return [
            *("--generation-config", "vllm"),  # sampling defaults are vLLM's, not a file's
            "--enable-lora",
            *("--max-lora-rank", str(self.max_lora_rank)),
            *("--max-loras", str(self.max_loras)),
            "--enable-auto-tool-choice",
            *("--tool-call-parser", "hermes"),
            *processors,
        ]

    def environment(self) -> dict[str, str]:
        """What is set on top of this process's environment."""
        plugin = {"PYTHONPATH": str(self.plugin_path)} if self.plugin_path else {"PYTHONPATH": ""}
        return plugin | {
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "VLLM_CPU_KVCACHE_SPACE": str(self.kv_cache_gib),
        }


def is_healthy(url: str, api_key: str | None = None) -> bool:
    """Whether GET `url` answers with a 2xx; blocking, for some seconds at most."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {api_key}"} if api_key else {})  # noqa: S310 - settings
    try:
        with urllib.request.urlopen(request, timeout=HEALTH_TIMEOUT_S) as answer:  # noqa: S310 - admit http and https URLs only
            return bool(200 <= answer.status < 300)
    except (OSError, urllib.error.URLError, ValueError):
        return False
