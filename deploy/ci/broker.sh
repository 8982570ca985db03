#!/usr/bin/env bash
# Makes sure that the tests of the MQTT signal have a broker, where that is possible: Debian's mosquitto, installed by root only.
# Each test starts its own, on loopback; the service that the package brings is not wanted here.
set -eu
if command -v mosquitto >/dev/null 2>&1 || [ -x /usr/sbin/mosquitto ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "no mosquitto: the tests of MQTT against a real broker are skipped (as root: apt-get install mosquitto)"
    exit 0
fi
echo "installing mosquitto for the tests of MQTT: some seconds, once"
if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mosquitto; } >/dev/null 2>&1; then
    echo "mosquitto could not be installed: the tests of MQTT against a real broker are skipped"
    exit 0
fi
if [ -d /run/systemd/system ]; then
    systemctl disable --now --quiet mosquitto || echo "the service of mosquitto still runs; stop it: systemctl disable --now mosquitto"
fi
