#!/usr/bin/env bash
# What the build needs beside the Rust toolchain: compilers of C and C++, make and perl, for librdkafka and OpenSSL.
set -euo pipefail
missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v c++ >/dev/null || missing+=(g++)
command -v make >/dev/null || missing+=(make)
command -v perl >/dev/null || missing+=(perl)
command -v pkg-config >/dev/null || missing+=(pkg-config)
command -v cargo >/dev/null || { echo "build: no cargo; install the Rust toolchain (rustup.rs)" >&2; exit 1; }
[ ${#missing[@]} = 0 ] && exit 0
sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
if ! command -v apt-get >/dev/null; then
  echo "build: install these with your package manager: ${missing[*]}" >&2
  exit 1
fi
echo "build: installing ${missing[*]} with apt"
$sudo apt-get update -q >/dev/null
$sudo apt-get install -qy "${missing[@]}" >/dev/null
