"""Lays out a container's files under a folder as the kubelet does under /, so that its own command can be started here.

A Secret's file is a link into a folder of its own, unless a subPath mounts it alone; a claim is its folder.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any


def secret_from(command: str, folder: Path) -> dict[str, bytes]:
    """What `kubectl create secret generic NAME --from-file=…`, run in `folder`, puts into the Secret."""
    sources = [folder / word.removeprefix("--from-file=") for word in shlex.split(command) if word.startswith("--from-file=")]
    files = [file for source in sources for file in (sorted(source.iterdir()) if source.is_dir() else [source])]
    return {file.name: file.read_bytes() for file in files}


def lay_out(pod: dict[str, Any], secrets: dict[str, dict[str, bytes]], claims: dict[str, Path], root: Path) -> None:
    """Every mount of the pod's container, under `root`."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in pod["containers"][0]["volumeMounts"]:
        volume, target = volumes[mount["name"]], root / mount["mountPath"].lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if "secret" in volume:
            content = secrets[volume["secret"]["secretName"]]
            items = volume["secret"].get("items", [{"key": key, "path": key} for key in content])
            files = {item["path"]: content[item["key"]] for item in items}
            if "subPath" in mount:
                target.write_bytes(files[mount["subPath"]])
            else:
                _as_links(files, target)
        elif "persistentVolumeClaim" in volume:
            shutil.copytree(claims[volume["persistentVolumeClaim"]["claimName"]], target)
        else:
            target.mkdir(exist_ok=True)


def _as_links(files: dict[str, bytes], target: Path) -> None:
    version = target / "..2026_01_01"
    version.mkdir(parents=True)
    (target / "..data").symlink_to(version.name)
    for name, content in files.items():
        (version / name).write_bytes(content)
        (target / name).symlink_to(f"..data/{name}")
