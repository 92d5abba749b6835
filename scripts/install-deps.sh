#!/usr/bin/env bash
# Installs the Debian packages that Hydrogen builds with and that are missing here, and nothing else.
# docs/dependencies.md gives a line of reason for each.
set -euo pipefail
packages=(
  g++ cmake ninja-build ccache mold git python3
  libcaf-dev capnproto libcapnp-dev libspdlog-dev doctest-dev libopenblas-pthread-dev libcli11-dev libtomlplusplus-dev
  libexpected-dev libxxhash-dev libfast-float-dev nlohmann-json3-dev libssl-dev libboost1.81-dev libjemalloc-dev
  libhwy-dev
)
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
echo "installing: ${missing[*]}"
run=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "install-deps.sh: neither root nor sudo here; install these yourself: ${missing[*]}" >&2; exit 1; }
  run=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
"${run[@]}" apt-get update -q
"${run[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"
