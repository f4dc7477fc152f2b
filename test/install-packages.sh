#!/usr/bin/env bash
# Installs the packages of test/packages.txt that are missing.
#
#   bash test/install-packages.sh [--check] [package]...
#
# Further packages may be named. --check installs nothing. Without anything to do
# it ends at once, and needs neither root nor a network. Status 1: something is
# still missing.
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
check=
if [ "${1-}" = --check ]; then
  check=1
  shift
fi

missing=
for package in $(sed 's/#.*//' "$here/packages.txt") "$@"; do
  dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null |
    grep -q '^ii' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "missing packages:$missing"
if [ -n "$check" ] || [ "$(id -u)" -ne 0 ]; then
  echo "install them, or run this as root"
  exit 1
fi
# LLVM 22 is in bookworm-security, which a minimal system may not have enabled.
if ! grep -rqs bookworm-security /etc/apt/sources.list \
  /etc/apt/sources.list.d; then
  echo 'deb http://deb.debian.org/debian-security bookworm-security main' \
    >/etc/apt/sources.list.d/moec-bookworm-security.list
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing
