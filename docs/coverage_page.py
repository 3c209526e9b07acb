"""Writes docs/benchmarks/coverage.{md,json} from the output of `coverage json`: `python docs/coverage_page.py FILE`, by `make coverage`."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from bench.stamp import stamped  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks" / "coverage.md"
SHOWN = 15  # of the files with most lines that no test ran


def figures(counted: dict[str, Any]) -> dict[str, Any]:
    """Lines and lines run: of all, by package, and of the files with most lines that were not run."""
    packages: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    missing = {}
    for name, file in counted["files"].items():
        summary, parts = file["summary"], Path(name).parts
        package = "/".join(parts[:2]) if parts[0] == "gateway" and len(parts) > 2 else parts[0]
        packages[package][0] += summary["num_statements"]
        packages[package][1] += summary["covered_lines"]
        missing[name] = summary["missing_lines"]
    worst = sorted(missing.items(), key=lambda each: -each[1])[:SHOWN]
    totals = counted["totals"]
    return {
        "lines": totals["num_statements"],
        "run": totals["covered_lines"],
        "packages": {name: {"lines": lines, "run": run} for name, (lines, run) in sorted(packages.items())},
        "not_run": dict(worst),
    }


def page(found: dict[str, Any]) -> str:
    rows = [f"| {name} | {each['lines']:,} | {each['run'] / max(each['lines'], 1):.1%} |" for name, each in found["packages"].items()]
    return "\n".join(
        [
            "# Coverage",
            "",
            "The share of lines that `make test` runs, in the processes that it starts too (one that is killed says nothing of",
            "what it ran). Made by `make coverage`. The tests that take minutes (`make test-slow`) are not in it.",
            "",
            f"{found['when']}, {found['machine']}.",
            "",
            f"All: {found['run']:,} of {found['lines']:,} lines, **{found['run'] / found['lines']:.1%}**.",
            "",
            "| package | lines | run |",
            "|---|---|---|",
            *rows,
            "",
            "Most lines that no test ran: " + ", ".join(f"`{name}` {number}" for name, number in found["not_run"].items()) + ".",
            "",
        ]
    )


def main(counted: Path) -> None:
    found = stamped(figures(json.loads(counted.read_text("utf-8"))))
    PAGE.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    PAGE.write_text(page(found), "utf-8")
    print(f"{found['run'] / found['lines']:.1%} of {found['lines']:,} lines; {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
