#!/usr/bin/env bash
# Installs what is missing, builds, and runs the main job: digits, prepared in parallel, trained by a gang of four, scored
# in parallel, on a cluster embedded in one process.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-deps.sh
scripts/build.sh release
exec build/release/bin/hydrogen run digits "$@"
