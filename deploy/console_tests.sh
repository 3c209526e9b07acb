#!/bin/sh
# What the console's tests need: Debian's Chromium, Playwright (its Python package, with that Chromium) and axe-core.
set -eu
if ! command -v chromium >/dev/null; then
  echo "installing chromium" >&2
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-noto-cjk
fi
.venv/bin/python -c 'import playwright' 2>/dev/null || .venv/bin/python -m pip install --quiet playwright
if [ ! -e build/axe/node_modules/axe-core/axe.min.js ]; then
  mkdir -p build/axe
  npm install --silent --no-fund --no-audit --prefix build/axe axe-core
fi
