#!/usr/bin/env bash
# There: the bench without a browser, with what bundle.sh gathered, unattended and within a given time.
set -uo pipefail
usage() {
  cat <<'TEXT'
usage: tests/bench/bare/run.sh BUNDLE RESULTS [SECONDS]

BUNDLE   bundle.sh's folder
RESULTS  where bench.json and bench.svg (see node.mjs), kernels.txt, pictures and run.log go; new or without a bench.json
SECONDS  for all of it (default 360); each stage has a limit too, may fail, and leaves what it measured until then

Of the repository it needs models, tests/bench and tests/parity/goldens/tiny_sd. It works in target/bench (10 GB with all
models), links what is not built here to that, and changes nothing else of the machine. The exit code is 0 where every stage
succeeded; `skipped` in bench.json has what a stage went without.

PYTHON=python3             a Python 3.10 or later with torch
GPU=real                   `software` rehearses on a software driver, with tiny shapes
SIZES="default half sd15"  models to compare with onnxruntime-web
KERNELS_SECONDS=48         for the kernels, those of most worth first
THREADS=4                  of the processor, for each of the models while they are made
VK_DRIVER_FILES            the driver; by default every one that is installed, but for a real GPU no software
TEXT
}

# Name, the model that it needs, limit in s; in the order of their worth. One that needs a model, or a quiet processor (+), lets
# others go before until all models are made: what is small waits for the processor, which making one keeps busy.
STAGES=(
  "adapter - 40"
  "kernels - 60"
  "compare-default default 60"
  "compare-half half 90"
  "native + 25"
  "pictures + 30"
  "compare-sd15 sd15 70"
  "native-sd15 sd15 30"
  "growth default 30"
)
# Where a container gets a driver that is not installed in it.
MOUNTED=/usr/local/nvidia
DRIVER_FOLDERS=({/usr/share,/usr/local/share,$MOUNTED/share,/etc}/vulkan/icd.d)

say() { printf '\n== %4d s  %s\n' "$SECONDS" "$*"; }
die() { printf 'run.sh: %s\n' "$*" >&2; exit 2; }

# There may be no xz; Python has it.
unpack() {
  "$BENCH_PYTHON" - "$1" "$WORK" <<'PYTHON'
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

bundle, work = map(Path, sys.argv[1:])


def unpack(path):
    with tarfile.open(path) as archive:
        archive.extractall(work, filter="data")


with ThreadPoolExecutor() as pool:
    list(pool.map(unpack, [bundle / f"{name}.tar.xz" for name in ("node", "programs", "rest")]))
PYTHON
}

# Puts the bundle where the bench looks for it; what is built here stays.
place() {
  local from=$WORK/$1 to=$2
  [[ -e $to && ! -L $to ]] && return
  mkdir -p "$(dirname "$to")"
  ln -sfn "$from" "$to"
}

# Carried libraries are used only where the machine has none of that name.
choose_libraries() {
  local file known
  known=$(ldconfig -p)
  rm -rf "$WORK/lacking"
  mkdir "$WORK/lacking"
  for file in "$WORK"/lib/*; do
    grep -qF $'\t'"${file##*/} " <<<"$known" || ln -s "$file" "$WORK/lacking/"
  done
  export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$MOUNTED/lib64:$WORK/lacking
}

choose_driver() {
  local files
  if [[ -z ${VK_DRIVER_FILES:-} && $GPU == real ]]; then
    files=$(find "${DRIVER_FOLDERS[@]}" -name '*.json' ! -name '*lvp*' ! -name '*swiftshader*' 2>/dev/null | paste -sd :)
    [[ -n $files ]] && export VK_DRIVER_FILES=$files
  fi
  [[ -n ${VK_DRIVER_FILES:-} ]] && export VK_ICD_FILENAMES=$VK_DRIVER_FILES # its name in older loaders
  echo "Vulkan drivers: ${VK_DRIVER_FILES:-what the loader finds}"
  export PATH=$PATH:$MOUNTED/bin
  command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,clocks.max.mem --format=csv
}

prepare() {
  unpack "$1" || die "the bundle cannot be unpacked"
  place parity target/parity/web
  place onnxruntime-web tests/bench/node_modules/onnxruntime-web
  export CARGO_TARGET_DIR=$WORK DAWN_NODE=$WORK/dawn.node BENCH_MODELS=$WORK/models
  export PYTHONPATH=$WORK/python${PYTHONPATH:+:$PYTHONPATH} OMP_NUM_THREADS=${THREADS:-4} HF_HUB_OFFLINE=1
  # Of NVIDIA's 16-bit floats Dawn says nothing on Vulkan, unless it is asked to.
  export DAWN_OPTIONS=${DAWN_OPTIONS-enable-dawn-features=vulkan_enable_f16_on_nvidia}
  export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-$WORK}
  choose_libraries
  choose_driver
}

# Starts making the models, in the background: processes by size in `makers`.
make_models() {
  local size
  declare -gA makers=()
  rm -rf "$BENCH_MODELS"
  for size in $sizes; do
    timeout -k 3 "$total" bash "$HERE/stages.sh" model "$size" >"$RESULTS/model-$size.log" 2>&1 &
    makers[$size]=$!
  done
}

is_making() {
  local process
  for process in "${makers[@]}"; do kill -0 "$process" 2>/dev/null && return; done
  return 1
}

# The index in `pending` of the first stage that has its model and the processor.
first_ready() {
  local index need
  for index in "${!pending[@]}"; do
    read -r _ need _ <<<"${pending[index]}"
    [[ $need == - ]] && { echo "$index"; return; }
    [[ $making == no && ($need == + || -e $BENCH_MODELS/$need/ready) ]] && { echo "$index"; return; }
  done
  return 1
}

run_stage() {
  local name need limit left=$((total - SECONDS))
  read -r name need limit <<<"$1"
  ((left < limit)) && limit=$left
  say "$name (at most $limit s)"
  timeout -k 3 "$limit" bash "$HERE/stages.sh" "$name" && return
  say "$name: exit code $?"
  failed+=("$name")
  # Without an adapter nothing that waits for a model can be measured.
  [[ $name != adapter ]] || leave_out_models
}

leave_out_models() {
  local index
  for index in "${!pending[@]}"; do
    [[ ${pending[index]} != *" "[-+]" "* ]] || continue
    left_out+=("${pending[index]%% *}")
    unset "pending[index]"
  done
  pending=("${pending[@]}")
}

run_stages() {
  local making next entry size
  failed=() left_out=() pending=()
  for entry in "${STAGES[@]}"; do
    read -r _ size _ <<<"$entry"
    [[ $size == [-+] || " $sizes " == *" $size "* ]] && pending+=("$entry")
  done
  while ((${#pending[@]} && SECONDS < total - 3)); do
    making=no
    is_making && making=yes
    if next=$(first_ready); then
      entry=${pending[next]}
      unset "pending[next]"
      pending=("${pending[@]}")
      run_stage "$entry"
    elif [[ $making == yes ]]; then
      sleep 0.2
    else
      break # those models could not be made
    fi
  done
  left_out+=("${pending[@]%% *}")
}

end_models() {
  local size
  for size in $sizes; do
    if kill "${makers[$size]}" 2>/dev/null; then
      say "model $size was not made yet"
    elif [[ ! -e $BENCH_MODELS/$size/ready ]]; then
      say "model $size could not be made:"
      tail -n 15 "$RESULTS/model-$size.log"
    fi
  done
  wait
}

main() {
  say "unpacking"
  prepare "$1"
  make_models
  run_stages
  end_models
  say "failed: ${failed[*]:-none}; left out: ${left_out[*]:-none}"
  ((${#failed[@]} + ${#left_out[@]} == 0))
}

(($# >= 2)) || { usage; exit 2; }
bundle=$(realpath "$1") RESULTS=$(realpath -m "$2") total=${3:-360} sizes=${SIZES-default half sd15}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$HERE/../../.." || exit 2
WORK=$PWD/target/bench/bare GPU=${GPU:-real} BENCH_PYTHON=${PYTHON:-python3}
export WORK RESULTS GPU BENCH_PYTHON
[[ -e $bundle/rest.tar.xz ]] || die "$1 is not what bundle.sh makes"
[[ ! -e $RESULTS/bench.json ]] || die "$RESULTS has a bench.json already"
mkdir -p "$WORK" "$RESULTS"
main "$bundle" 2>&1 | tee "$RESULTS/run.log"
exit "${PIPESTATUS[0]}"
