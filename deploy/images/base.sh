#!/bin/sh
# A base for the images where no registry is reached, only a Debian mirror: bookworm and its Python 3.11. As root, with debootstrap and podman:
#   sh deploy/images/base.sh localhost/llmos-python
#   podman build --build-arg PYTHON_IMAGE=localhost/llmos-python …
# Debian signs its packages; which versions the base holds is said by the mirror of that day, not by a digest in this repository.
set -eu
name=${1:?usage: base.sh IMAGE [MIRROR]}
mirror=${2:-http://deb.debian.org/debian}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT INT TERM
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$root" "$mirror" > "$root.log" 2>&1 || { tail -5 "$root.log"; exit 1; }
rm -rf "$root.log" "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
ln -s /usr/bin/python3 "$root/usr/local/bin/python"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"  # what this machine trusts: a site's proxy too
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' > "$root/etc/pip.conf"
tar -C "$root" -c . | podman import --change CMD=python3 - "$name"
