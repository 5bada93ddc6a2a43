#!/usr/bin/env bash
# What the installed packages depend on, as the key of the cache: dependencies, Python, system, version, build of torch.
set -euo pipefail
{
  cat "$GITHUB_ACTION_PATH/pyproject.toml"
  python3 -I -c 'import platform, sys; print(sys.version_info[:2], platform.system(), platform.machine())'
  echo "$INPUT_VERSION $INPUT_TORCH"
} | sha256sum | { read -r digest _; echo "key=reid-audit-pip-$digest"; } >> "$GITHUB_OUTPUT"
