#!/usr/bin/env bash
# Lays out the root directory of an image: rootfs.sh PROGRAM DIRECTORY [PROGRAM…]
# The programs, the libraries that they are linked with or loads, CA certificates, a user and a /tmp; no shell, no packages.
set -euo pipefail
root=$2
programs=("$1" "${@:3}")

libraries() { { ldd "$1" 2>/dev/null || true; } | { grep -oE '/[^ ]+' || true; }; }
# What the worker loads by name, where HDFS asks for Kerberos. Without it, all else works.
kerberos() {
  grep -q libgssapi_krb5 "$1" || return 0
  { ldconfig -p 2>/dev/null || true; } | sed -n 's|.*=> \(/.*/libgssapi_krb5\.so\.2\)$|\1|p' | head -n 1
}

for program in "${programs[@]}"; do
  install -D -m 0755 "$program" "$root/usr/bin/$(basename "$program")"
  loaded=$(kerberos "$program")
  for library in $(libraries "$program") ${loaded:+"$loaded" $(libraries "$loaded")}; do
    install -D -m 0755 "$library" "$root$library"
  done
done
install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
install -d -m 1777 "$root/tmp"
echo 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin' >"$root/etc/passwd"
echo 'nonroot:x:65532:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
