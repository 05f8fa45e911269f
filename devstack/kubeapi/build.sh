#!/usr/bin/env bash
# Builds kubeapi and kubectl, static binaries, through a cache:
#
#   build.sh OUTDIR [kubeapi|kubectl ...]      (without names: kubeapi)
#
# The first build compiles two thousand packages and takes minutes; progress is shown on standard error.
# What a later run finds in the cache it links into OUTDIR, silently. The cache is
# ${FLEET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/harmony-fleet}/kubeapi/<key>, the key a hash of all that
# the result depends on. Any number of runs may go on at once.
set -euo pipefail

keep_entries=4 # of the cache, about 180 MB each

usage() {
  echo "usage: build.sh OUTDIR [kubeapi|kubectl ...]" >&2
  exit 2
}

say() { printf 'kubeapi build: %s\n' "$*" >&2; }

package_of() {
  case $1 in
    kubeapi) echo . ;;
    kubectl) echo k8s.io/kubernetes/cmd/kubectl ;;
    *) return 1 ;;
  esac
}

sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -c1-16; }

# Test files are no part of a binary.
cache_key() {
  {
    go env GOVERSION GOOS GOARCH GOAMD64 GOARM64 GOEXPERIMENT GOFLAGS
    find . -name '*.go' ! -name '*_test.go' -print | LC_ALL=C sort | while read -r file; do
      echo "== $file"
      cat "$file"
    done
    cat go.mod go.sum build.sh
  } | sha256
}

# What the server and kubectl report as their version; kubectl cannot parse the default.
ldflags() {
  local version major minor set='-X k8s.io/component-base/version'
  version=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' go.mod)
  IFS=. read -r major minor _ <<<"${version#v}"
  echo "-s -w $set.gitVersion=$version $set.gitMajor=$major $set.gitMinor=$minor $set.gitTreeState=clean"
}

# Tells every few seconds how far the compiler is, until it is killed. $1: name, $2: the compiler's -v output
progress() {
  local every=15 end='\n'
  if [ -t 2 ]; then every=1 end='\r'; fi
  # a sleep left behind would keep standard error open, and whoever reads it waiting
  trap 'kill "$!" 2>/dev/null; exit 0' TERM
  while true; do
    sleep "$every" &
    wait "$!"
    printf "kubeapi build: %s: %d packages compiled, %d min %02d s$end" \
      "$1" "$(wc -l <"$2")" $((SECONDS / 60)) $((SECONDS % 60)) >&2
  done
}

ticker=
work=
cleanup() {
  if [ -n "$ticker" ]; then kill "$ticker" 2>/dev/null || true; fi
  if [ -n "$work" ]; then rm -rf "$work"; fi
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# build NAME ENTRY: compiles into the cache entry, where the binary appears whole or not at all
build() {
  local name=$1 entry=$2
  say "building $name (minutes the first time on a machine, seconds after that)"
  work=$(mktemp -d "$entry/.build.XXXXXX")
  SECONDS=0
  progress "$name" "$work/log" 9>&- &
  ticker=$!
  if ! go build -v -ldflags "$(ldflags)" -o "$work/$name" "$(package_of "$name")" 2>"$work/log"; then
    # the names of compiled packages, which -v prints, are no errors
    grep -vE '^[[:alnum:]._~/-]+$' "$work/log" >&2 || true
    say "building $name: the compiler's errors are above"
    exit 1
  fi
  kill "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  ticker=
  mv -f "$work/$name" "$entry/$name"
  rm -rf "$work"
  work=
  say "$name is built, in $((SECONDS / 60)) min $((SECONDS % 60)) s"
}

# place FILE DIR: a link where possible, a copy elsewhere; an older binary there is replaced in one step
place() {
  local file=$1 target=$2/${1##*/}
  if [ "$file" -ef "$target" ]; then return; fi
  local new=$2/.${1##*/}.$$
  ln "$file" "$new" 2>/dev/null || cp "$file" "$new"
  mv -f "$new" "$target"
}

# The entries used last stay. A newer entry than an unfinished build's is never removed by it.
prune() {
  local entry
  # shellcheck disable=SC2012 # the names are hashes
  ls -1dt "$1"/[0-9a-f]* 2>/dev/null | tail -n "+$((keep_entries + 1))" | while read -r entry; do
    rm -rf "$entry"
  done
}

[ $# -ge 1 ] || usage
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
[ $# -ge 1 ] || set -- kubeapi
for name in "$@"; do package_of "$name" >/dev/null || usage; done

cd "$(dirname "${BASH_SOURCE[0]}")"
# Without debug information, which the linker would drop, the compiler needs a fifth less time.
export GOWORK=off CGO_ENABLED=0 GOFLAGS='-trimpath -gcflags=all=-dwarf=false'
root=${FLEET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/harmony-fleet}/kubeapi
entry=$root/$(cache_key)
mkdir -p "$entry"
touch "$entry"

for name in "$@"; do
  if [ ! -x "$entry/$name" ]; then
    # a second run waits for the first instead of compiling the same; without flock it compiles too, to no harm
    if command -v flock >/dev/null; then
      exec 9>"$root/lock"
      if ! flock -n 9; then
        say "waiting for another build to finish"
        flock 9
      fi
    fi
    [ -x "$entry/$name" ] || build "$name" "$entry"
    exec 9>&-
    prune "$root"
  fi
  place "$entry/$name" "$out"
done
