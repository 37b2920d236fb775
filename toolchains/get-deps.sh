#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# get-deps.sh ARCH...: unpacks Debian 13's packages of our dependencies into build/deps-ARCH (amd64, arm64, armhf), for
# machines that are older than Debian 13 and for cross-building. Needs apt and dpkg-deb, but neither root nor sudo, and
# changes nothing outside build/. Packages come from the mirrors in the machine's own apt sources, signatures checked.
set -eu
suite=trixie
packages="libxnnpack-dev libcpuinfo0 libcpuinfo-dev doctest-dev libcli11-dev nlohmann-json3-dev libxxhash-dev"
build=$(cd "$(dirname "$0")/.." && pwd)/build

# Base addresses of the sources that hold this release of Debian itself, in either style of sources file.
mirrors() {
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk -v suite="$codename" '
    function flush(  i) { if (deb && match_suite && match_main) for (i = 1; i <= n; ++i) print uri[i]
                          deb = match_suite = match_main = n = 0 }
    /^[ \t]*$/ { flush() }
    tolower($1) == "types:" { for (i = 2; i <= NF; ++i) if ($i == "deb") deb = 1 }
    tolower($1) == "uris:" { for (i = 2; i <= NF; ++i) uri[++n] = $i }
    tolower($1) == "suites:" { for (i = 2; i <= NF; ++i) if ($i == suite) match_suite = 1 }
    tolower($1) == "components:" { for (i = 2; i <= NF; ++i) if ($i == "main") match_main = 1 }
    END { flush() }'
  cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
    sed -n 's/^[ \t]*deb[ \t]*\(\[[^]]*\]\)*[ \t]*//p' |
    awk -v suite="$codename" '$2 == suite { for (i = 3; i <= NF; ++i) if ($i == "main") { print $1; next } }'
}

keyring=
for file in /usr/share/keyrings/debian-archive-keyring.gpg /usr/share/keyrings/debian-archive-keyring.pgp; do
  [ -r "$file" ] && keyring=$file && break
done
[ -n "$keyring" ] || { echo "get-deps: the package debian-archive-keyring is missing" >&2; exit 1; }

# An apt of our own: the machine's proxy and transport settings, but lists, cache and status under build/.
prepare() {  # ARCH MIRROR
  rm -rf "$apt" && mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  : > "$apt/status"
  echo "deb [signed-by=$keyring] $2 $suite main" > "$apt/sources.list"
  { apt-config dump | grep -E '^Acquire::(http|https|Check-|Force|Retries)' || true
    cat << CONF
APT::Architecture "$1";
APT::Architectures { "$1"; };
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Log "$apt";
CONF
  } > "$apt/apt.conf"
}

for arch in "$@"; do
  [ -e "$build/deps-$arch/packages" ] && [ "$(cat "$build/deps-$arch/packages")" = "$suite $packages" ] && continue
  apt=$build/.apt-$arch
  fetched=
  for mirror in $(mirrors | awk '!seen[$0]++'); do
    prepare "$arch" "$mirror"
    if (export APT_CONFIG="$apt/apt.conf" && cd "$apt/cache" && apt-get -qq update && apt-get -qq download $packages) \
        > "$apt/log" 2>&1; then
      fetched=1
      break
    fi
  done
  if [ -z "$fetched" ]; then
    echo "get-deps: no Debian mirror in this machine's apt sources has the $suite packages for $arch" >&2
    [ -e "$apt/log" ] && tail -n 3 "$apt/log" >&2
    exit 1
  fi
  rm -rf "$build/deps-$arch"
  mkdir -p "$build/deps-$arch"
  for deb in "$apt"/cache/*.deb; do dpkg-deb -x "$deb" "$build/deps-$arch"; done
  echo "$suite $packages" > "$build/deps-$arch/packages"
  rm -rf "$apt"
  echo "get-deps: unpacked Debian $suite packages for $arch into build/deps-$arch"
done
