"""The copy of a replica: refreshed within a second, verified, never silently absent."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.errors import StoreUnavailable
from gateway.pii.keyring import KeyRing
from gateway.pii.roster.current import Rosters, Stored
from gateway.pii.roster.index import build
from gateway.pii.roster.match import Roster
from gateway.pii.roster.people import Person


class Memory:
    """A RosterStore in memory, which can be unreachable or damaged."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[Stored, list[bytes]]] = {}
        self.fails = False

    async def stored(self, entry: str) -> Stored | None:
        if self.fails:
            raise StoreUnavailable("down")
        return self.entries[entry][0] if entry in self.entries else None

    async def read(self, entry: str, version: str) -> list[bytes]:
        return list(self.entries[entry][1])

    async def replace(self, entry: str, stored: Stored, pieces: Sequence[bytes]) -> None:
        self.entries[entry] = (stored, list(pieces))

    async def delete(self, entry: str) -> bool:
        return self.entries.pop(entry, None) is not None


async def put(rosters: Rosters, tenant: str, *names: str) -> Stored:
    index = build([Person((name,)) for name in names], rosters.term_key(tenant))
    return await rosters.put(tenant, index, people=len(names))


async def found(rosters: Rosters, tenant: str, text: str) -> list[str]:
    file = await rosters.current(tenant)
    if file is None:
        return []
    return [text[span.start : span.end] for span in Roster.open(file.path, file.key).find(text)]


async def test_a_new_version_serves_and_old_files_go(tmp_path: Path) -> None:
    rosters = Rosters(Memory(), KeyRing.generate(), tmp_path / "rosters", max_age_s=0)
    assert await rosters.current("acme") is None
    for name in ("Sarah Connor", "John Smith", "Mary Major", "Ann Other"):
        await put(rosters, "acme", name)
        assert await found(rosters, "acme", f"I am {name}.") == [name]
    assert await found(rosters, "acme", "I am Sarah Connor.") == []
    files = list((tmp_path / "rosters").iterdir())
    assert len(files) == 2
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    assert await rosters.clear("acme")
    assert await rosters.current("acme") is None


async def test_tenants_are_apart(tmp_path: Path) -> None:
    store, ring = Memory(), KeyRing.generate()
    rosters = Rosters(store, ring, tmp_path, max_age_s=0)
    await put(rosters, "acme", "Sarah Connor")
    assert await found(rosters, "other", "Sarah Connor") == []
    assert rosters.term_key("acme") != rosters.term_key("other")
    assert "acme" not in repr(store.entries)


async def test_a_store_that_is_down_is_an_error_and_no_absence(tmp_path: Path) -> None:
    store = Memory()
    rosters = Rosters(store, KeyRing.generate(), tmp_path, max_age_s=0)
    await put(rosters, "acme", "Sarah Connor")
    store.fails = True
    with pytest.raises(StoreUnavailable):
        await rosters.current("acme")


@pytest.mark.parametrize("damage", ["bytes", "version", "tenant", "key"])
async def test_bytes_that_are_not_what_was_sealed_are_refused(tmp_path: Path, damage: str) -> None:
    store, ring = Memory(), KeyRing.generate()
    rosters = Rosters(store, ring, tmp_path, max_age_s=0)
    await put(rosters, "acme", "Sarah Connor")
    ((entry, (stored, pieces)),) = store.entries.items()
    if damage == "bytes":
        pieces[0] = pieces[0][:-1] + bytes([pieces[0][-1] ^ 1])
    elif damage == "version":
        store.entries[entry] = (dataclasses.replace(stored, version="0" * 32), pieces)
    elif damage == "tenant":
        await put(rosters, "other", "John Smith")
        other = next(value for name, value in store.entries.items() if name != entry)
        store.entries[entry] = other
    else:
        rosters = Rosters(store, KeyRing.generate(), tmp_path, max_age_s=0)
        store.entries = {rosters._entry("acme"): (stored, pieces)}
    with pytest.raises(StoreUnavailable, match="does not verify"):
        await rosters.current("acme")
