"""The gateway calls nobody who was not named: it runs in a network namespace whose only wire is listened to, and nothing comes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("in_namespace.py")


@pytest.mark.slow
def test_nothing_leaves_the_machine_but_what_goes_upstream(tmp_path):
    unshare = ["unshare", "-n"] if os.getuid() == 0 else ["unshare", "-rn"]
    if subprocess.run([*unshare, "ip", "link"], capture_output=True, check=False).returncode or not os.access("/dev/net/tun", os.W_OK):
        pytest.skip("needs network namespaces and /dev/net/tun")
    argv = [*unshare, sys.executable, str(PROGRAM), str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["answers"] == [True, True], "it serves without any way out"
    assert found["ready"]
    assert found["left"] == [], "something asked for an address that nobody named"
    assert not found["violations"]
