#!/usr/bin/env bash
# Builds the servers and clients of a cluster, at the versions of the go.mod beside this: build.sh DIRECTORY
# Ten minutes of both cores the first time; what Go keeps in its cache is not built again.
set -euo pipefail
bin=$1
cd "$(dirname "${BASH_SOURCE[0]}")"
export CGO_ENABLED=0 GOFLAGS=-buildvcs=false

kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
IFS=. read -r major minor _ <<<"${kubernetes#v}"
# What the API server tells its clients, and what Helm takes for the version where it cannot ask.
is=k8s.io/component-base/version
kubernetes_flags="-X $is.gitVersion=$kubernetes -X $is.gitMajor=$major -X $is.gitMinor=$minor"
helm_flags=
for package in chartutil lint/rules; do
  helm_flags+=" -X helm.sh/helm/v3/pkg/$package.k8sVersionMajor=$major -X helm.sh/helm/v3/pkg/$package.k8sVersionMinor=$minor"
done

build() { go build -trimpath -ldflags "-s -w $1" -o "$bin/$2" "${@:3}"; } # FLAGS NAME PACKAGE...

build "$kubernetes_flags" "" k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kube-proxy,kubelet,kubectl}
build "$helm_flags" helm helm.sh/helm/v3/cmd/helm
build "" etcd go.etcd.io/etcd/server/v3
build "" "" ./coredns ./pause
