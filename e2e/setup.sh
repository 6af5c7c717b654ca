#!/usr/bin/env bash
# Installs what the end-to-end tests start: Redis, a JRE, Kafka, HDFS, an S3 gateway, Kubernetes, Prometheus, Chromium,
# the oracle's Python, and the clients of the query service.
# Run it as often as you like: what is there at the pinned version is left alone, and then it takes well under a second.
# Everything but the apt packages goes into one folder, ${TIPSTREAM_CACHE:-$HOME/.cache/tipstream}; delete it to start anew.
set -uo pipefail

KAFKA=4.4.0
HADOOP=3.5.0
VERSITYGW=v1.8.0
PGJDBC=42.7.14
AXE=4.11.1
REDIS_MIN=7
JAVA_MIN=17
GO_MIN=1.21 # from here on go fetches the toolchain that a module asks for by itself

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${TIPSTREAM_CACHE:-$HOME/.cache/tipstream}
logs=$cache/setup-logs
failures=()
mkdir -p "$cache"/{jars,bin,stamps} "$logs"

# Two runs at once (two worktrees, a test and a person) take turns.
exec 9>"$cache/.setup.lock"
flock 9

say() { printf 'setup: %s\n' "$*"; }
fail() { # WHAT LOG BY-HAND
  failures+=("$1"$'\n'"    by hand: $3")
  say "$1: FAILED"
  [ -s "$2" ] && tail -n 5 "$2" | sed 's/^/    | /'
}
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; } # VERSION MINIMUM

java_major() { java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p'; }
redis_version() { redis-server --version 2>/dev/null | sed -n 's/.* v=\([0-9.]*\).*/\1/p'; }
go_version() { go env GOVERSION 2>/dev/null | sed 's/^go//'; }
has_java() { command -v java >/dev/null && at_least "$(java_major)" "$JAVA_MIN"; }
has_redis() { command -v redis-server redis-sentinel redis-cli >/dev/null && at_least "$(redis_version)" "$REDIS_MIN"; }
has_go() { command -v go >/dev/null && at_least "$(go_version)" "$GO_MIN"; }
has_maven_items() { stamped "kafka-$KAFKA" && stamped "hadoop-$HADOOP" && stamped "axe-$AXE" && stamped "pgjdbc-$PGJDBC"; }
has_go_items() { stamped "versitygw-$VERSITYGW" && stamped "$(kubernetes_stamp)" && stamped "$(grafana_stamp)"; }
has_cni() { [ -x /usr/lib/cni/bridge ] || [ -x /opt/cni/bin/bridge ]; }

stamped() { [ -e "$cache/stamps/$1" ]; }
stamp() { touch "$cache/stamps/$1"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

missing_packages() {
  command -v redis-server >/dev/null || echo redis-server
  command -v redis-sentinel >/dev/null || echo redis-sentinel
  command -v redis-cli >/dev/null || echo redis-tools
  command -v java >/dev/null || echo openjdk-17-jre-headless
  has_maven_items || command -v mvn >/dev/null || echo maven
  has_go_items || command -v go >/dev/null || echo golang-go
  command -v python3 >/dev/null || echo python3
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  command -v openssl >/dev/null || echo openssl
  command -v curl >/dev/null || echo curl
  command -v setpriv >/dev/null || echo util-linux
  command -v psql >/dev/null || echo postgresql-client
  compgen -G '/usr/lib*/*/odbc/psqlodbcw.so' >/dev/null || echo odbc-postgresql
  compgen -G '/usr/lib*/*/libodbc.so.2*' >/dev/null || echo libodbc2
  command -v chromium >/dev/null || echo chromium
  command -v chromedriver >/dev/null || echo chromium-driver
  # A node with pods is for root to start; others are told so by the tests.
  [ "$(id -u)" = 0 ] || return
  command -v containerd >/dev/null || echo containerd
  command -v runc >/dev/null || echo runc
  has_cni || echo containernetworking-plugins
  command -v nft >/dev/null || echo nftables
  command -v ip >/dev/null || echo iproute2
  [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
}

# A package's server must not start: the tests use ports of their own, and 6379 may be somebody's.
apt_install() {
  local policy=/usr/sbin/policy-rc.d placed=0 status
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null && as_root chmod +x "$policy" && placed=1
  fi
  as_root apt-get update -q &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"
  status=$?
  [ $placed = 1 ] && as_root rm -f "$policy"
  return $status
}

packages() {
  local wanted log=$logs/apt.log
  mapfile -t wanted < <(missing_packages)
  [ ${#wanted[@]} = 0 ] && return
  say "apt: ${wanted[*]}"
  apt_install "${wanted[@]}" >"$log" 2>&1 ||
    fail "packages ${wanted[*]}" "$log" "apt-get install ${wanted[*]}, or the like of your system"
}

versions() {
  has_java || fail "Java $JAVA_MIN or later" /dev/null "install a JRE and put its java first in PATH"
  has_redis || fail "Redis $REDIS_MIN or later (server, sentinel, cli)" /dev/null "https://redis.io/docs/latest/operate/oss_and_stack/install/"
}

jars() { # NAME VERSION POM
  local dir=$cache/jars/$1-$2 log=$logs/$1.log
  stamped "$1-$2" && [ -d "$dir" ] && return
  say "$1 $2: jars by Maven"
  rm -rf "$dir"
  if mvn -q -B -f "$3" dependency:copy-dependencies -DoutputDirectory="$dir" -DincludeScope=runtime >"$log" 2>&1; then
    stamp "$1-$2"
  else
    fail "$1 $2" "$log" "mvn -f $3 dependency:copy-dependencies -DoutputDirectory=$dir -DincludeScope=runtime && touch $cache/stamps/$1-$2"
  fi
}

# Deque's own jar for Selenium is the one place in Maven's central where the script is kept up to date.
axe() {
  local dir=$cache/axe log=$logs/axe.log
  stamped "axe-$AXE" && [ -e "$dir/axe.min.js" ] && return
  say "axe-core $AXE: by Maven"
  local unpack=(mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack
    "-Dartifact=com.deque.html.axe-core:selenium:$AXE" '-Dmdep.unpack.includes=axe.min.js' "-DoutputDirectory=$dir")
  mkdir -p "$dir"
  # It leaves a mark where it runs.
  if (cd "$dir" && "${unpack[@]}") >"$log" 2>&1; then
    stamp "axe-$AXE"
  else
    fail "axe-core $AXE" "$log" "${unpack[*]} && touch $cache/stamps/axe-$AXE"
  fi
}

versitygw() {
  local log=$logs/versitygw.log install="GOBIN=$cache/bin go install github.com/versity/versitygw/cmd/versitygw@$VERSITYGW"
  stamped "versitygw-$VERSITYGW" && [ -x "$cache/bin/versitygw" ] && return
  say "versitygw $VERSITYGW: go install"
  if ! has_go; then
    fail "versitygw $VERSITYGW" /dev/null "install Go $GO_MIN or later (https://go.dev/dl), then: make setup"
  elif CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOBIN=$cache/bin \
    go install "github.com/versity/versitygw/cmd/versitygw@$VERSITYGW" >"$log" 2>&1; then
    stamp "versitygw-$VERSITYGW"
  else
    fail "versitygw $VERSITYGW" "$log" "$install && touch $cache/stamps/versitygw-$VERSITYGW"
  fi
}

# Out of the package, without installing it: no service, no user, and no page of its own.
prometheus() {
  local log=$logs/prometheus.log unpacked
  [ -x "$cache/bin/prometheus" ] && [ -x "$cache/bin/promtool" ] && return
  say "Prometheus: the binaries of apt's package"
  unpacked=$(mktemp -d)
  (
    cd "$unpacked" &&
      { apt-get download -q prometheus || { as_root apt-get update -q && apt-get download -q prometheus; }; } &&
      dpkg-deb -x prometheus_*.deb . &&
      mv usr/bin/prometheus usr/bin/promtool "$cache/bin/"
  ) >"$log" 2>&1 || fail "Prometheus" "$log" "put prometheus and promtool (https://prometheus.io/download) into $cache/bin"
  rm -rf "$unpacked"
}
prometheus_version() { "$cache/bin/prometheus" --version 2>&1 | sed -n 's/^prometheus, version \([0-9.]*\).*/\1/p'; }

kubernetes_version() { sed -n 's|^\tk8s.io/kubernetes v||p' "$here/servers/kubernetes/go.mod" | cut -d' ' -f1; }
kubernetes_stamp() { printf 'kubernetes-%s' "$(cat "$here"/servers/kubernetes/{go.*,build.sh,*/*.go} | sha256sum | cut -c1-12)"; }

kubernetes() {
  local build=$here/servers/kubernetes/build.sh log=$logs/kubernetes.log item
  item=$(kubernetes_stamp)
  stamped "$item" && return
  say "Kubernetes $(kubernetes_version), etcd, CoreDNS, Helm: go build, some minutes"
  if ! has_go; then
    fail "Kubernetes" /dev/null "install Go $GO_MIN or later (https://go.dev/dl), then: make setup"
  elif "$build" "$cache/bin" >"$log" 2>&1; then
    stamp "$item"
  else
    fail "Kubernetes" "$log" "$build $cache/bin && touch $cache/stamps/$item"
  fi
}

grafana_stamp() { printf 'grafana-client-%s' "$(cat "$here"/clients/grafana/* | sha256sum | cut -c1-12)"; }

grafana() {
  local log=$logs/grafana.log item build
  build=(go build -C "$here/clients/grafana" -trimpath -o "$cache/bin/grafana-client" .)
  item=$(grafana_stamp)
  stamped "$item" && [ -x "$cache/bin/grafana-client" ] && return
  say "the PostgreSQL drivers of Grafana: go build"
  if ! has_go; then
    fail "the drivers of Grafana" /dev/null "install Go $GO_MIN or later (https://go.dev/dl), then: make setup"
  elif CGO_ENABLED=0 GOFLAGS=-buildvcs=false "${build[@]}" >"$log" 2>&1; then
    stamp "$item"
  else
    fail "the drivers of Grafana" "$log" "${build[*]} && touch $cache/stamps/$item"
  fi
}

venv() {
  local dir=$cache/venv log=$logs/venv.log item
  local want=("$here"/{oracle,clients,../images}/requirements.txt)
  item=venv-$(cat "${want[@]}" | sha256sum | cut -c1-12)
  stamped "$item" && [ -x "$dir/bin/python" ] && return
  say "venv: $(grep -hv '^#' "${want[@]}" | tr '\n' ' ')"
  if { [ -x "$dir/bin/python" ] || python3 -m venv "$dir"; } >"$log" 2>&1 &&
    "$dir/bin/python" -m pip install -q --disable-pip-version-check "${want[@]/#/-r}" >>"$log" 2>&1; then
    stamp "$item"
  else
    fail "Python of the oracle, the clients and hadolint" "$log" "python3 -m venv $dir && $dir/bin/pip install ${want[*]/#/-r} && touch $cache/stamps/$item"
  fi
}

packages
versions
jars kafka "$KAFKA" "$here/servers/kafka/pom.xml"
jars hadoop "$HADOOP" "$here/servers/hdfs/pom.xml"
jars pgjdbc "$PGJDBC" "$here/clients/pom.xml"
axe
versitygw
kubernetes
grafana
prometheus
venv

if [ ${#failures[@]} != 0 ]; then
  say "not installed (logs in $logs):"
  printf '  - %s\n' "${failures[@]}"
  exit 1
fi
say "ready: redis $(redis_version), java $(java_major), kafka $KAFKA, hadoop $HADOOP, versitygw $VERSITYGW, kubernetes $(kubernetes_version), prometheus $(prometheus_version), venv in $cache"
