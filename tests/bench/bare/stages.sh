#!/usr/bin/env bash
# One stage of run.sh, from the repository's root: stages.sh NAME [SIZE]. run.sh exports what is used here: WORK, RESULTS, GPU,
# BENCH_PYTHON, BENCH_MODELS.
set -euo pipefail

bench() { "$WORK/node" tests/bench/node.mjs "$RESULTS/bench.json" --gpu "$GPU" "$@"; }

paint() {
  "$WORK/debug/fraise" generate --device gpu --prompt "a strawberry island under a starry sky" --seed 7 --steps 4 "$@"
}

adapter() {
  bench --parts adapter && return
  echo "what the Vulkan loader says, and which libraries there are:"
  rm -f "$RESULTS/bench.json" # an adapter is looked for once
  VK_LOADER_DEBUG=error,warn,driver bench --parts adapter 2>&1 | tail -n 40 || true
  ldconfig -p | grep -E 'libvulkan|libGLX|libEGL|libX11' || true
  return 1
}

kernels() {
  local options=(${KERNELS_SECONDS:+--seconds "$KERNELS_SECONDS"})
  [[ $GPU == real ]] || options+=(--quick)
  "$WORK/debug/examples/kernels" "${options[@]}" | tee "$RESULTS/kernels.txt"
}

# The program without Node: three times, for what a driver's caches are worth, then twice as wide.
native() {
  for _ in 1 2 3; do paint --model models/fraise-1 -o "$RESULTS/native.png"; done
  paint --model models/fraise-1 --width 512 --height 512 -o "$RESULTS/native-512.png"
}

# Makes a model for both sides, as models.mjs would; `ready` in its folder says that it is whole. Packs are made as soon as the
# weights are there, while the peer's files still come.
model() {
  local size=$1 folder=$BENCH_MODELS/$1 quant jobs=()
  rm -rf "$folder"
  mkdir -p "$folder"
  "$BENCH_PYTHON" tests/bench/make_peer.py "$size" "$folder" &
  jobs=($!)
  until compgen -G "$folder/onnx-*" >/dev/null; do
    kill -0 "${jobs[0]}" 2>/dev/null || return
    sleep 0.2
  done
  for quant in f16 q8; do
    "$WORK/debug/fraise" pack "$folder/diffusers" "$folder/pack-$quant" --quant $quant --name "bench-$size-$quant" >/dev/null &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job"; done
  touch "$folder/ready"
}

case $1 in
  compare-*) bench --parts compare --sizes "${1#compare-}" ;;
  pictures) bench --parts pictures ;;
  growth) bench --parts growth --sizes default ;;
  native-sd15) paint --model "$BENCH_MODELS/sd15/pack-q8" -o "$RESULTS/native-sd15.png" ;;
  adapter | kernels | native | model) "$@" ;;
esac
