#!/usr/bin/env bash
# Here: gathers in FOLDER, compressed, what the bench needs on a machine that has a checkout of this repository, a GPU driver
# and Python with torch, and nothing else: no network, Node, browser, Rust or Vulkan loader. There, run.sh measures with it.
set -euo pipefail
folder=${1:+$(realpath -m "$1")}
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

usage() {
  cat <<'TEXT'
usage: tests/bench/bare/bundle.sh FOLDER [PACKAGE…]

Writes node.tar.xz (Node and Dawn), programs.tar.xz (fraise, and the benchmark of the kernels) and rest.tar.xz (wasm,
onnxruntime-web, Python packages, the Vulkan loader) to FOLDER, 46 to 83 MiB, and says their sizes. What has not changed since
the last time is not compressed again; the first time takes minutes of one core.

PACKAGE…  those that the other machine's Python lacks, at the versions of tests/bench/requirements.txt and without what they
          depend on; by default all of requirements.txt but torch, with what they depend on
PYTHON_VERSION=3.12  the other machine's Python, where it is not of this one's version
NODE=FILE            another program of Node 20.19 or later, where this one's is not all in one file

Build before: `./build.sh bench`, or of it `fraise`, target/parity and tests/bench/node_modules; and for the kernels
`cargo build --locked -p fraise-engine --example kernels`. Needs Debian's apt-get and dpkg, strip, xz and 2 GiB of memory.
The other machine's processor must be of this one's kind, and its C library as new.
TEXT
}

WORK=target/bench/bare
STAGE=$WORK/stage
BENCH=tests/bench
# The loader, the dispatchers that a GPU driver's libraries are linked with, and X11, which some of them need without a screen.
LIBRARIES=(libvulkan1 libglvnd0 libegl1 libgl1 libglx0 libgles2 libopengl0
  libx11-6 libxext6 libxcb1 libxau6 libxdmcp6 libbsd0 libmd0)

die() { printf 'bundle.sh: %s\n' "$*" >&2; exit 1; }

stage_node() {
  local into=$STAGE/node
  mkdir -p $into
  strip -o $into/node "${NODE:-$(node -p process.execPath)}"
  strip -o $into/dawn.node "$BENCH/node_modules/webgpu/dist/$(node -p '`${process.platform}-${process.arch}`')/dawn.node"
}

# Laid out as cargo's target folder.
stage_programs() {
  local into=$STAGE/programs/debug
  mkdir -p $into/examples
  strip -o $into/fraise "$programs/fraise"
  if [[ -x $programs/examples/kernels ]]; then
    strip -o $into/examples/kernels "$programs/examples/kernels"
  else
    echo "without the benchmark of the kernels, which is not built"
  fi
}

stage_rest() {
  local into=$STAGE/rest peer=$BENCH/node_modules/onnxruntime-web
  mkdir -p $into/{parity,lib,python,onnxruntime-web/dist}
  cp target/parity/web/fraise_web{.js,_bg.wasm} $into/parity/
  cp $peer/package.json $into/onnxruntime-web/
  cp $peer/dist/{ort.webgpu.min.mjs,ort-wasm-simd-threaded.asyncify.{mjs,wasm}} $into/onnxruntime-web/dist/
  stage_libraries $into/lib
  stage_python $into/python "$@"
}

stage_libraries() {
  local into=$1 packages=$STAGE/packages file
  mkdir -p $packages
  (cd $packages && apt-get download -qq -o APT::Sandbox::User=root "${LIBRARIES[@]}") || die "apt-get fails; update its lists"
  for file in $packages/*.deb; do dpkg -x "$file" $packages/all; done
  cp -P $packages/all/usr/lib/*/*.so.* $into/
}

stage_python() {
  local into=$1 wheels=$STAGE/wheels wheel
  local options=(--quiet --disable-pip-version-check --dest $wheels --only-binary :all:)
  [[ -z ${PYTHON_VERSION:-} ]] || options+=(--python-version "$PYTHON_VERSION")
  shift
  if (($#)); then
    python3 -m pip download "${options[@]}" --no-deps --constraint $BENCH/requirements.txt "$@"
  else
    grep -v '^torch' $BENCH/requirements.txt >$STAGE/requirements.txt
    python3 -m pip download "${options[@]}" --requirement $STAGE/requirements.txt
  fi
  for wheel in $wheels/*.whl; do python3 -m zipfile -e "$wheel" $into; done
}

# One file of a staged folder, compressed unless the last one has the same contents. The dictionary holds all of it.
press() {
  local name=$1 folder=$2 sum
  shift 2
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$STAGE/$name" -cf "$STAGE/$name.tar" .
  sum=$(sha256sum <"$STAGE/$name.tar")
  if [[ ! -e $WORK/$name.tar.xz || $(cat "$WORK/$name.sum" 2>/dev/null) != "$sum" ]]; then
    nice xz --threads=1 "$@" --lzma2=preset=9,dict=192MiB --stdout "$STAGE/$name.tar" >"$WORK/$name.tar.xz"
    echo "$sum" >"$WORK/$name.sum"
  fi
  cp "$WORK/$name.tar.xz" "$folder/"
}

case ${1:-} in
  "" | -h | --help) usage; exit ;;
esac
shift
programs=${CARGO_TARGET_DIR:-target}/debug
for needed in "$programs/fraise" target/parity/web/fraise_web_bg.wasm $BENCH/node_modules/{webgpu,onnxruntime-web}; do
  [[ -e $needed ]] || die "$needed is missing; ./build.sh bench makes it"
done
rm -rf $STAGE
mkdir -p $STAGE "$folder"
stage_node
stage_programs
stage_rest "$@"
press node "$folder" --x86
press programs "$folder" --x86
press rest "$folder"
rm -rf $STAGE
du -h --apparent-size "$folder"/{node,programs,rest}.tar.xz
du -ch --apparent-size "$folder"/{node,programs,rest}.tar.xz | tail -n 1
