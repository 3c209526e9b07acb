"""Every way to tamper with a log is found, and named by its record."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.chain import AuditKeys, Head, canonical, first_digest, mac, next_digest, public_key_text
from gateway.audit.export import chain_line, head_lines, record_line
from gateway.audit.verify import Finding, Link, Report, Verifier, verify_export

TENANT = "acme"
KEYS = AuditKeys.derive(b"k" * 32)


def log(count: int, tenant: str = TENANT, keys: AuditKeys = KEYS) -> list[Link]:
    links, digest = [], first_digest(tenant)
    for seq in range(1, count + 1):
        record = canonical({"tenant": tenant, "seq": seq, "kind": "outcome", "status": 200})
        digest = next_digest(digest, record)
        links.append(Link(seq, record, digest, mac(keys.tenant_key(tenant), digest)))
    return links


def head(links: list[Link], seq: int) -> Head:
    return KEYS.sign(TENANT, seq, links[seq - 1].digest, 1.0)


def verify(links: list[Link], heads: list[Head]) -> Report:
    verifier = Verifier(TENANT, tenant_key=KEYS.tenant_key(TENANT))
    for link in links:
        verifier.take(link)
    return verifier.finish(heads, KEYS.public)


def test_an_untouched_log_holds() -> None:
    links = log(10)
    report = verify(links, [head(links, 5), head(links, 10)])
    assert (report.holds, report.records, report.last_seq, report.signed_seq, report.findings) == (True, 10, 10, 10, ())


def test_records_after_the_last_head_are_named_and_no_fault() -> None:
    links = log(10)
    report = verify(links, [head(links, 7)])
    assert report.holds
    assert report.findings == (Finding("unsigned_tail", 8, 10),)


def change(links: list[Link]) -> list[Link]:
    links[3] = replace(links[3], record=links[3].record.replace(b"200", b"403"))
    return links


def change_with_its_digest(links: list[Link]) -> list[Link]:
    """What somebody does who can write to the store and knows the format, but has no key."""
    digest = links[2].digest
    links[3] = replace(links[3], record=links[3].record.replace(b"200", b"403"))
    for index in range(3, len(links)):
        digest = next_digest(digest, links[index].record)
        links[index] = replace(links[index], digest=digest)
    return links


def swap(links: list[Link]) -> list[Link]:
    a, b = links[3], links[4]
    links[3], links[4] = replace(b, seq=4), replace(a, seq=5)
    return links


def from_another_tenant(links: list[Link]) -> list[Link]:
    links[3] = log(10, tenant="other")[3]
    return links


@pytest.mark.parametrize(
    ("tamper", "found"),
    [
        (change, [("changed", 4, 4)]),
        (change_with_its_digest, [("forged", seq, seq) for seq in range(4, 11)] + [("changed", 10, 10)]),
        (swap, [("reordered", 4, 4), ("reordered", 5, 5), ("changed", 6, 6)]),
        (from_another_tenant, [("changed", 4, 4), ("changed", 5, 5)]),
        (lambda links: links[:3] + links[4:], [("missing", 4, 4)]),
        (lambda links: links[3:], [("missing", 1, 3)]),
        (lambda links: links[:2] + links[6:], [("missing", 3, 6)]),
        (lambda links: links[:8], [("truncated", 9, 10)]),
        (lambda links: [], [("truncated", 1, 10)]),
        (lambda links: log(10, keys=AuditKeys.derive(b"x" * 32)), [("forged", seq, seq) for seq in range(1, 11)]),
    ],
)
def test_tampering_is_named(tamper: Callable[[list[Link]], list[Link]], found: list[tuple[str, int, int]]) -> None:
    links = log(10)
    heads = [head(links, 10)]
    report = verify(tamper(links), heads)
    assert not report.holds
    assert [(finding.fault, finding.first, finding.last) for finding in report.findings] == found
    assert all(str(finding) for finding in report.findings)


def test_a_forged_head_is_named() -> None:
    links = log(4)
    report = verify(links, [replace(head(links, 4), seq=2), head(links, 4)])
    assert [(finding.fault, finding.first) for finding in report.findings] == [("bad_head", 2)]


def export(links: list[Link], heads: list[Head], first: int = 1) -> list[str]:
    previous = first_digest(TENANT) if first == 1 else links[first - 2].digest
    return [chain_line(TENANT, first, previous), *(record_line(link) for link in links[first - 1 :]), *head_lines(heads)]


@pytest.mark.parametrize("first", [1, 4])
def test_an_outside_party_verifies_an_export_with_the_public_key_alone(first: int) -> None:
    links = log(10)
    lines = export(links, [head(links, 10)], first)
    report = verify_export(lines, KEYS.public)
    assert (report.holds, report.records, report.signed_seq) == (True, 11 - first, 10)
    assert not verify_export(lines, AuditKeys.derive(b"x" * 32).public).holds


@given(st.data())
def test_no_byte_of_an_export_can_change_unseen(data: st.DataObject) -> None:
    links = log(5)
    lines = export(links, [head(links, 5)])
    number = data.draw(st.integers(0, len(lines) - 1))
    at = data.draw(st.integers(0, len(lines[number]) - 1))
    new = data.draw(st.characters(min_codepoint=32, max_codepoint=126).filter(lambda c: c.lower() != lines[number][at].lower()))
    changed = [*lines]
    changed[number] = lines[number][:at] + new + lines[number][at + 1 :]
    try:
        report = verify_export(changed, KEYS.public)
    except ValueError:
        return
    same_meaning = number == 0 and "format" in lines[0] and at >= lines[0].index('"format"')  # the format's name is a label
    assert not report.holds or report.findings or same_meaning


@pytest.mark.parametrize("lines", [[], ["{}"], ["not json"], ['{"type": "record", "seq": 1, "record": "", "digest": ""}'], ["[1]"]])
def test_what_is_no_export_is_refused(lines: list[str]) -> None:
    with pytest.raises(ValueError, match=r"empty|line 1"):
        verify_export(lines, KEYS.public)


SCRIPT = Path(__file__).parents[3] / "docs" / "verify_audit_export.py"


def by_the_script(lines: list[str], path: Path) -> subprocess.CompletedProcess[str]:
    """As an outside party runs it: a process of its own that knows nothing of LLMOS."""
    path.write_text("".join(line + "\n" for line in lines))
    command = [sys.executable, "-I", str(SCRIPT), str(path), public_key_text(KEYS.public)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={})


@pytest.mark.parametrize("first", [1, 4])
def test_the_script_that_stands_alone_agrees_on_an_untouched_export(tmp_path: Path, first: int) -> None:
    links = log(10)
    done = by_the_script(export(links, [head(links, 7), head(links, 10)][first > 7 :], first), tmp_path / "export.jsonl")
    assert (done.returncode, done.stdout.strip()) == (0, f"holds: {11 - first} records, signed up to 10")


@pytest.mark.parametrize("tamper", [change, change_with_its_digest, swap, from_another_tenant, lambda links: links[:3] + links[4:]])
def test_the_script_that_stands_alone_finds_what_our_verifier_finds(tmp_path: Path, tamper: Callable[[list[Link]], list[Link]]) -> None:
    links = log(10)
    lines = export(tamper(list(links)), [head(links, 10)])
    done = by_the_script(lines, tmp_path / "export.jsonl")
    assert not verify_export(lines, KEYS.public).holds
    assert done.returncode == 1
    # without the gateway's key a chain that was computed anew shows at the next signed head, and not before
    assert ("record 4" in done.stdout) or (tamper is change_with_its_digest and "the head after record 10" in done.stdout)


def test_the_script_that_stands_alone_refuses_what_is_no_export(tmp_path: Path) -> None:
    assert by_the_script(["{}"], tmp_path / "export.jsonl").returncode == 2
