"""`under_unit.py UNIT COMMAND…`: run the command under the unit's filters, and the drop-in's, of calls and address families.

By the same libseccomp that systemd uses; the groups' members are systemd's own (`systemd-analyze syscall-filter`).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

ALLOW, EQUAL = 0x7FFF0000, 4  # SCMP_ACT_ALLOW, SCMP_CMP_EQ
FAMILIES = range(46)


class Argument(ctypes.Structure):
    """`struct scmp_arg_cmp`."""

    _fields_ = [("number", ctypes.c_uint), ("comparison", ctypes.c_int), ("value", ctypes.c_uint64), ("mask", ctypes.c_uint64)]


def refused(error: int) -> int:
    """SCMP_ACT_ERRNO."""
    return 0x00050000 | error


def members(group: str) -> set[str]:
    done = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter", group], capture_output=True, text=True, check=True)
    words = [line.split("#")[0].strip() for line in done.stdout.splitlines()[1:]]
    return {name for word in words if word for name in (members(word) if word.startswith("@") else {word})}


def main() -> None:
    unit = Path(sys.argv[1])
    lines = (unit.read_text() + (unit.parent / "llmos-.service.d" / "10-hardening.conf").read_text()).splitlines()

    def setting(name: str) -> list[str]:
        """The words of a list, which grows with each line that sets it."""
        return [word for line in lines if line.startswith(f"{name}=") for word in line.partition("=")[2].split()]

    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Argument)]

    def add(context: int, action: int, name: str, *arguments: Argument) -> None:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number != -1:  # other processors have some that this one has not
            found = library.seccomp_rule_add_array(context, action, number, len(arguments), (Argument * len(arguments))(*arguments))
            assert found == 0, (name, found)

    def load(context: int) -> None:
        assert library.seccomp_load(ctypes.c_void_p(context)) == 0

    families = library.seccomp_init(ALLOW)
    allowed = {getattr(socket, name) for name in setting("RestrictAddressFamilies")}
    for family in set(FAMILIES) - allowed:
        add(families, refused(errno.EAFNOSUPPORT), "socket", Argument(0, EQUAL, family, 0))
    load(families)
    [error] = setting("SystemCallErrorNumber")
    calls = library.seccomp_init(refused(getattr(errno, error)))
    for group in setting("SystemCallFilter"):
        for name in members(group):
            add(calls, ALLOW, name)
    load(calls)
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
