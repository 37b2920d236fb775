#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# setup.sh GROUP...: installs what a group of builds needs and this machine lacks; says what. Groups: host
# (this machine), pi (cross-building for arm64, QEMU), cortex-m (bare metal, QEMU), lint (clang-format, clang-tidy),
# clang (clang++, libFuzzer). Programs come from apt, through root or sudo; the libraries too on Debian 13 and newer, and
# otherwise from get-deps.sh, which needs neither.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export DEBIAN_FRONTEND=noninteractive
xnnpack_min='0.0~git20240101'  # older ones lack the 4-bit kernels

has() { command -v "$1" > /dev/null 2>&1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif [ -t 0 ]; then sudo "$@"; else sudo -n "$@"; fi
}

# At a terminal sudo may ask for its password; nowhere else is anything asked.
can_root() { [ "$(id -u)" = 0 ] || { has sudo && { [ -t 0 ] || sudo -n true 2> /dev/null; }; }; }

updated=
update() {
  [ -n "$updated" ] && return
  as_root apt-get -qq update > /dev/null || echo "setup: apt-get update failed; going on with the lists there are" >&2
  updated=1
}

# Installs packages for a purpose, or says in one sentence why not.
install() {  # PURPOSE PACKAGE...
  purpose=$1
  shift
  if ! has apt-get || ! can_root; then
    echo "setup: for $purpose these packages are missing, and installing them needs root or sudo: $*" >&2
    return 1
  fi
  echo "setup: installing for $purpose: $*"
  update
  as_root apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@" > /dev/null || {
    echo "setup: apt-get could not install for $purpose: $*" >&2
    return 1
  }
}

# Collects in $missing the packages of the programs that are not there.
missing=
need() {  # PROGRAM PACKAGE
  has "$1" || missing="$missing $2"
}

need_module() {  # MODULE PACKAGE, of Debian's own Python
  /usr/bin/python3 -c "import $1" 2> /dev/null || missing="$missing $2"
}

install_missing() {  # PURPOSE
  [ -z "$missing" ] || install "$1" $missing
  missing=
}

xnnpack_version() { dpkg-query -W -f '${Version}' libxnnpack-dev 2> /dev/null || true; }
new_enough() { [ -n "$1" ] && dpkg --compare-versions "$1" ge "$xnnpack_min"; }

# The libraries for this machine: the system's packages if they are new enough, else unpacked ones.
libraries() {
  arch=$(dpkg --print-architecture)
  [ -e "$here/../build/deps-$arch/packages" ] && { "$here/get-deps.sh" "$arch"; return; }
  packages=
  for package in libxnnpack-dev libcpuinfo-dev doctest-dev libcli11-dev nlohmann-json3-dev libxxhash-dev; do
    dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || packages="$packages $package"
  done
  [ -z "$packages" ] && new_enough "$(xnnpack_version)" && return
  if can_root; then
    update
    candidate=$(apt-cache policy libxnnpack-dev | awk '/Candidate:/ { print $2 }')
    if new_enough "$candidate"; then
      install "the build" $packages
      return
    fi
  fi
  "$here/get-deps.sh" "$arch"
}

setup() {  # GROUP
  case $1 in
    host)
      need g++ g++
      need cmake cmake
      need ninja ninja-build
      need pkg-config pkg-config
      install_missing "the build"
      libraries
      ;;
    pi)
      need aarch64-linux-gnu-g++ g++-aarch64-linux-gnu
      need qemu-aarch64 qemu-user
      install_missing "the pi preset"
      "$here/get-deps.sh" arm64
      ;;
    cortex-m)
      need qemu-system-arm qemu-system-arm
      need arm-none-eabi-g++ "gcc-arm-none-eabi libnewlib-arm-none-eabi libstdc++-arm-none-eabi-newlib"
      need_module kconfiglib python3-kconfiglib
      need_module yaml python3-yaml
      install_missing "the Cortex-M presets"
      ;;
    lint)
      need clang-format-19 clang-format-19
      need clang-tidy-19 clang-tidy-19
      install_missing "the style checks"
      ;;
    clang)
      need clang++ clang
      ls /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a > /dev/null 2>&1 || missing="$missing libclang-rt-dev"
      install_missing "the host-clang and fuzz presets"
      ;;
    *)
      echo "setup: no group named $1" >&2
      return 1
      ;;
  esac
}

for group in "$@"; do
  setup "$group"  # not in a condition: `set -e` must hold inside
done
