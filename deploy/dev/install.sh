#!/usr/bin/env bash
# Installs the Debian packages that the tests need, where they are missing.
set -euo pipefail

# cgroupfs-mount does nothing where systemd runs; a browser without fonts shows boxes.
readonly packages=(docker.io cgroupfs-mount iptables chromium chromium-driver fonts-dejavu-core opensmtpd libxml2-utils openssl python3 strace
  procps openjdk-17-jdk-headless maven)

installed() { [[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]; }

missing=()
for package in "${packages[@]}"; do
  installed "$package" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  exit 0
fi

as_root=()
if [[ $EUID -ne 0 ]]; then
  command -v sudo >/dev/null || { echo "install.sh: root is needed to install: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi

# The services of these packages are started by the tests themselves, if at all:
# a package must not take port 25 or start an engine by being installed.
policy=/usr/sbin/policy-rc.d
made_policy=
if [[ ! -e "$policy" ]]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
  made_policy=yes
fi
log="$(mktemp)"
finish() {
  rm -f "$log"
  if [[ -n "$made_policy" ]]; then
    "${as_root[@]}" rm -f "$policy"
  fi
}
trap finish EXIT

quietly() {
  if ! "$@" >"$log" 2>&1; then
    echo "install.sh: failed: $*" >&2
    tail -n 30 "$log" >&2
    exit 1
  fi
}

echo "Installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
quietly "${as_root[@]}" apt-get update -q
quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
