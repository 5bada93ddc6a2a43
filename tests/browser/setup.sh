#!/bin/sh
# Fetches axe-core for tests/report/test_report_browser.py into build/browser (ignored by git).
# Chromium comes from the system: apt-get install chromium.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p build/browser
npm install --prefix build/browser --no-audit --no-fund --no-save --ignore-scripts axe-core@4.14.1
