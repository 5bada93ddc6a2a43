#!/usr/bin/env bash
# Second step: a reid-audit of its own in RUNNER_TEMP, or the one on PATH. Output: command.
set -euo pipefail

case "$INPUT_VERSION" in
  preinstalled)
    command=$(command -v reid-audit) || {
      echo "::error title=reid-audit::version is preinstalled, but reid-audit is not on PATH"
      exit 3
    }
    ;;
  "" | [0-9]*)
    if [[ ! "$INPUT_VERSION" =~ ^[0-9a-z.]*$ ]]; then
      echo "::error title=reid-audit::version must be empty, a version number or preinstalled"
      exit 3
    fi
    source=$GITHUB_ACTION_PATH
    [[ -z "$INPUT_VERSION" ]] || source="reid-audit==$INPUT_VERSION"
    case "$INPUT_TORCH" in
      "") torch=() ;;
      cpu) torch=(torch torchvision --index-url https://download.pytorch.org/whl/cpu) ;;
      *)
        echo "::error title=reid-audit::torch must be empty or cpu"
        exit 3
        ;;
    esac
    # -I: without it, python -m imports modules from the checked-out repository first.
    python3 -I -m venv "$RUNNER_TEMP/reid-audit"
    pip=("$RUNNER_TEMP/reid-audit/bin/python" -I -m pip install --quiet --disable-pip-version-check)
    [[ ${#torch[@]} -eq 0 ]] || "${pip[@]}" "${torch[@]}" # before the tool, which takes what is there
    "${pip[@]}" "$source"
    command="$RUNNER_TEMP/reid-audit/bin/reid-audit"
    ;;
  *)
    echo "::error title=reid-audit::version must be empty, a version number or preinstalled"
    exit 3
    ;;
esac
"$command" --version
echo "command=$command" >> "$GITHUB_OUTPUT"
