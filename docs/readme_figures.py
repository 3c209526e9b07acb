"""Writes the table of figures into both READMEs, from the reports of the benchmarks: `python docs/readme_figures.py`, or `make docs`.

No figure is typed by hand: a test compares the READMEs with what this writes. A report that is not there gives no row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
MARKED = re.compile(r"<!-- figures -->\n.*?<!-- /figures -->", re.DOTALL)
HEADS = {
    "README.md": "| what | LLMOS | beside it, in the same run | command |\n|---|---|---|---|\n",
    "README.zh-CN.md": "| 指标 | LLMOS | 同一次运行中的对照 | 命令 |\n|---|---|---|---|\n",
}


class Row(NamedTuple):
    """One figure: its report, the command that makes it, its name in both languages, and how to read the two values."""

    report: str
    command: str
    english: str
    chinese: str
    ours: Callable[[Any], str]
    beside: Callable[[Any], str]


def _added(report: Any, section: str, name: str) -> float:
    times = report["p50_ms"][section]
    return float(times[name] - times["direct"])


def _share(report: Any, name: str) -> str:
    counted = report[name]
    return f"{sum(counted['back'].values()) / sum(counted['asked'].values()):.2f}"


def _mode(report: Any, mode: str) -> str:
    """Seconds a token of one mode, 64 tokens of context, on loopback."""
    return f"{next(row['token_s'] for row in report['rows'] if row.get('mode') == mode and not row['delay_ms']):.2f} s"


def _peers(figure: str) -> str:
    """What the peers' blocks need for the same, times the model's 30 layers: each peer that has the figure."""
    rows = json.loads((ROOT / MPC_PEERS).read_text("utf-8"))["rows"]
    return "; ".join(f"{row['peer']} {row[figure]:.1f} s" for row in rows if figure in row)


PII = "docs/benchmarks/pii.json"
MPC, MPC_PEERS, AUDIT = "docs/benchmarks/mpc-online.json", "docs/benchmarks/mpc-peers.json", "docs/benchmarks/audit.json"
GATEWAY, SURVIVAL = "docs/benchmarks/gateway.json", "docs/benchmarks/survival.json"
LOAD = "docs/benchmarks/load.json"
LITELLM, MASKED = "LiteLLM", "LiteLLM + Presidio"
ROWS = [
    Row(
        PII,
        "make bench-pii",
        "personal data found whole, eleven types, presidio-evaluator's sentences",
        "个人数据完整识别率,十一类,presidio-evaluator 句子",
        lambda r: f"{r['generator']['llmos']['recall_of_the_eleven']:.3f}",
        lambda r: f"Presidio's defaults {r['generator']['presidio']['recall_of_the_eleven']:.3f}",
    ),
    Row(
        PII,
        "make bench-pii",
        "characters taken for personal data by mistake, in 1,000",
        "每 1,000 字符中误判为个人数据的字符",
        lambda r: f"{r['generator']['llmos']['false_per_thousand']:.1f}",
        lambda r: f"Presidio's defaults {r['generator']['presidio']['false_per_thousand']:.1f}",
    ),
    Row(
        PII,
        "make bench-pii",
        "a message matched against a roster of a million people (p50)",
        "一条消息与百万人名册的匹配时间(p50)",
        lambda r: f"{r['roster']['milliseconds']['1000'][0]:.1f} ms for 1,000 characters",
        lambda r: "–",
    ),
    Row(
        GATEWAY,
        "make bench-gateway",
        "added to a request, detection cached (p50)",
        "每次请求增加的时间,检测已缓存(p50)",
        lambda r: f"{_added(r, 'same', 'LLMOS'):.1f} ms",
        lambda r: f"LiteLLM {_added(r, 'same', LITELLM):.1f} ms; LiteLLM + Presidio {_added(r, 'same', MASKED):.1f} ms",
    ),
    Row(
        GATEWAY,
        "make bench-gateway",
        "added to a request of new text (p50)",
        "新文本的请求增加的时间(p50)",
        lambda r: f"{_added(r, 'new', 'LLMOS'):.1f} ms",
        lambda r: f"LiteLLM + Presidio {_added(r, 'new', MASKED):.1f} ms; Presidio's analysis {r['presidio_ms']:.1f} ms",
    ),
    Row(
        GATEWAY,
        "make bench-gateway",
        "first chunk of a stream of new text, added (p50)",
        "新文本流式回答的首块延迟(p50)",
        lambda r: f"{r['first_ms']['stream-new']['LLMOS'] - r['first_ms']['stream-new']['direct']:.1f} ms",
        lambda r: f"LiteLLM + Presidio {r['first_ms']['stream-new'][MASKED] - r['first_ms']['stream-new']['direct']:.1f} ms",
    ),
    Row(
        GATEWAY,
        "make bench-gateway",
        "requests a second, 32 at once",
        "每秒请求数,32 并发",
        lambda r: f"{r['requests_per_s']['many']['LLMOS']:.0f}",
        lambda r: (
            f"LiteLLM without detection {r['requests_per_s']['many'][LITELLM]:.0f}; "
            f"LiteLLM + Presidio {r['requests_per_s']['many'][MASKED]:.0f}"
        ),
    ),
    Row(
        GATEWAY,
        "make bench-gateway",
        "CPU of a request, 32 at once",
        "每次请求的 CPU 时间,32 并发",
        lambda r: f"{r['cpu_ms']['many']['LLMOS']:.1f} ms",
        lambda r: f"LiteLLM {r['cpu_ms']['many'][LITELLM]:.1f} ms",
    ),
    Row(
        GATEWAY,
        "make bench-gateway",
        "memory of a worker with its detector",
        "一个工作进程及其检测器的内存",
        lambda r: f"{r['memory_mb']['LLMOS']:.0f} MB",
        lambda r: f"LiteLLM {r['memory_mb'][LITELLM]:.0f} MB, Presidio {r['memory_mb']['Presidio over HTTP, for LiteLLM']:.0f} MB",
    ),
    Row(
        LOAD,
        "make bench-load",
        "added to a stream, 500 at once on one worker (p99)",
        "500 路并发流、单工作进程,每路流增加的时间(p99)",
        lambda r: f"{r['LLMOS']['added_p99_ms']:.0f} ms",
        lambda r: f"LiteLLM without detection {r['LiteLLM']['added_p99_ms']:.0f} ms",
    ),
    Row(
        SURVIVAL,
        "make bench-survival",
        "values that come back through SmolLM2, as surrogates",
        "经过 SmolLM2 后回到调用者的值的比例(替身值)",
        lambda r: _share(r, "LLMOS, surrogates"),
        lambda r: f"placeholders {_share(r, 'LLMOS, placeholders')}; plain text, no gateway {_share(r, 'plain text, no gateway')}",
    ),
    Row(
        MPC,
        "make bench-mpc",
        "a token on secret shares, open weights, 64 tokens of context",
        "秘密共享推理每个词元,公开权重,上下文 64 词元",
        lambda r: _mode(r, "public"),
        lambda r: _peers("decode_public_s"),
    ),
    Row(
        MPC,
        "make bench-mpc",
        "the same, the weights secret-shared too",
        "同上,权重也秘密共享",
        lambda r: _mode(r, "shared"),
        lambda r: _peers("decode_private_s"),
    ),
    Row(
        AUDIT,
        "make bench-audit",
        "audit records appended, chained and signed, a second",
        "每秒追加的审计记录(链式、签名)",
        lambda r: f"{r['audit']['append_per_s']:,}",
        lambda r: f"the same bytes by a plain XADD {r['audit']['plain_xadd_per_s']:,}",
    ),
]


def table(readme: str) -> str:
    """The table between the markers of one README."""
    lines = HEADS[readme]
    for row in ROWS:
        path = ROOT / row.report
        if path.exists():
            report = json.loads(path.read_text("utf-8"))
            name = row.english if readme == "README.md" else row.chinese
            lines += f"| {name} | {row.ours(report)} | {row.beside(report)} | `{row.command}` |\n"
    return f"<!-- figures -->\n{lines}<!-- /figures -->"


def main() -> None:
    for readme in HEADS:
        path = ROOT / readme
        path.write_text(MARKED.sub(lambda _, readme=readme: table(readme), path.read_text("utf-8")), "utf-8")
        print(readme)


if __name__ == "__main__":
    main()
