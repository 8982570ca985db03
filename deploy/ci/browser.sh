#!/usr/bin/env bash
# Makes sure that the tests of the page have a browser, where that is possible: Debian's chromium, installed by root only.
set -eu
if command -v chromium >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "no chromium: the tests of the page are skipped (as root: apt-get install chromium)"
    exit 0
fi
echo "installing chromium for the tests of the page: about half a minute, once"
if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1; then
    echo "chromium could not be installed: the tests of the page are skipped"
fi
