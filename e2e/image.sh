#!/usr/bin/env bash
# Makes an image without a container engine: image.sh NAME:TAG PROGRAM TAR [PROGRAM…]
# The same root, user, entrypoint and labels as those of images/Dockerfile. To be had by `ctr images import TAR`.
set -euo pipefail
name=$1 program=$2 tar=$3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
images=$here/../images
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The same contents are the same bytes.
pack() { tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$1" -cf "$2" .; } # DIRECTORY TAR
digest() { sha256sum "$1" | cut -d' ' -f1; }

title=$(basename "$program")
# What the Dockerfile says of its target; a program that is none of its targets has no labels.
target() { sed -n "/^FROM scratch AS $title\$/,/^ENTRYPOINT/p" "$images/Dockerfile"; }
labels() { # As members of a JSON object.
  target | { grep -oE '[a-z.]+="[^"]*"' || true; } |
    sed -E -e 's/^([a-z.]+)=/"\1":/' -e "s/\\\$VERSION/${name##*:}/" -e "s/\\\$REVISION/${REVISION:-unknown}/" | paste -sd,
}
user=$(target | sed -n 's/^USER //p')
entrypoint=$(target | sed -n 's/^ENTRYPOINT //p')

"$images/rootfs.sh" "$program" "$work/root" "${@:4}"
mkdir "$work/image"
pack "$work/root" "$work/layer.tar"
layer=$(digest "$work/layer.tar")
mv "$work/layer.tar" "$work/image/$layer.tar"
architecture=$(uname -m | sed -e 's/x86_64/amd64/' -e 's/aarch64/arm64/')
cat >"$work/config.json" <<JSON
{"architecture":"$architecture","os":"linux",
"config":{"User":"${user:-65532:65532}","Entrypoint":${entrypoint:-[\"/usr/bin/$title\"]},"Labels":{$(labels)}},
"rootfs":{"type":"layers","diff_ids":["sha256:$layer"]},"history":[{"created_by":"e2e/image.sh"}]}
JSON
config=$(digest "$work/config.json")
mv "$work/config.json" "$work/image/$config.json"
printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":["%s.tar"]}]' "$config" "$name" "$layer" >"$work/image/manifest.json"
pack "$work/image" "$tar"
