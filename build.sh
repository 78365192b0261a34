#!/usr/bin/env bash
# The one script of Fraise. Needs Rust (rustup), Node 20.19 or later, and Python; installs everything else itself.
# CARGO=/path/to/cargo replaces cargo; PORT sets the port of `serve`; BENCH_PYTHON names a Python with tests/bench/requirements.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

CARGO="${CARGO:-cargo}"
PORT="${PORT:-8080}"
WASM_TARGET=wasm32-unknown-unknown
LOGS=target/check
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"

help() {
  cat <<'TEXT'
usage: ./build.sh COMMAND

  serve    build if needed, then serve dist/ on http://localhost:8080/ (PORT=… for another port; --isolated: with the
           headers that allow several threads)
  build    wasm, page and the default model into dist/
  package  the npm package into target/package
  test     native tests, then browser tests in Chromium, Firefox and WebKit
  check    everything: format, lints, types, tests; ends with "N passed, N failed, N skipped"
  fuzz     COUNT random inputs (default: a million) for each reader of what comes from outside; `check` tries a few thousand
  bench    time pictures, and every module against onnxruntime-web; writes tests/bench/results (--gpu real, --quick, …)
  doctor   say what is installed and install what is missing
TEXT
}

# ---------------------------------------------------------------------------------------------- tools

say() { printf '\033[1m» %s\033[0m\n' "$*"; }
die() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

ensure_commands() {
  local name
  for name in rustc node npm python3; do
    command -v "$name" >/dev/null || die "$name is missing; install Rust (https://rustup.rs), Node 20.19+ and Python 3"
  done
}

ensure_rust() {
  local sysroot
  sysroot=$(rustc --print sysroot)
  if [[ ! -d "$sysroot/lib/rustlib/$WASM_TARGET" ]]; then
    command -v rustup >/dev/null || die "Rust has no $WASM_TARGET target and rustup is missing; install from https://rustup.rs"
    rustup target add "$WASM_TARGET"
  fi
}

ensure_lint_tools() {
  [[ -x "$(rustc --print sysroot)/bin/clippy-driver" && -x "$(rustc --print sysroot)/bin/rustfmt" ]] && return
  command -v rustup >/dev/null || die "clippy and rustfmt are missing; install them with Rust's installer"
  rustup component add clippy rustfmt
}

# The command line tool must have the very version of the library in Cargo.lock.
ensure_wasm_bindgen() {
  local wanted
  wanted=$(awk '$0 == "name = \"wasm-bindgen\"" { getline; gsub(/[" ]|version|=/, ""); print; exit }' Cargo.lock)
  [[ "$(.tools/bin/wasm-bindgen --version 2>/dev/null)" == "wasm-bindgen $wanted" ]] && return
  say "installing wasm-bindgen-cli $wanted into .tools"
  # Its own lock file first; registries that lag behind may lack one of the versions named there.
  "$CARGO" install --locked --root .tools --force "wasm-bindgen-cli@$wanted" ||
    "$CARGO" install --root .tools --force "wasm-bindgen-cli@$wanted"
}

ensure_node_modules() {
  local done=www/node_modules/.package-lock.json
  [[ -f $done && ! www/package-lock.json -nt $done ]] && return
  say "installing npm packages into www/node_modules"
  (cd www && npm ci --no-audit --no-fund && touch node_modules/.package-lock.json)
}

# Chromium, Firefox, a software GPU driver for Firefox, and a font for Chinese; Debian's packages.
ensure_browsers() {
  local missing=()
  [[ -x "${CHROMIUM:-/usr/bin/chromium}" ]] || missing+=(chromium)
  [[ -x "${FIREFOX:-/usr/bin/firefox-esr}" ]] || missing+=(firefox-esr)
  compgen -G '/usr/share/vulkan/icd.d/lvp_icd*.json' >/dev/null || missing+=(mesa-vulkan-drivers)
  [[ -d /usr/share/fonts/opentype/noto ]] || missing+=(fonts-noto-cjk)
  ((${#missing[@]})) || return 0
  say "installing Debian packages: ${missing[*]}"
  command -v apt-get >/dev/null || die "install ${missing[*]} (or set CHROMIUM and FIREFOX to the browsers' paths)"
  ((EUID == 0)) || die "missing packages; run: sudo apt-get install --yes ${missing[*]}"
  install_packages "${missing[@]}"
}

# Safari's engine, and a screen that nobody sees. Where they cannot be had, the tests that want them are skipped, aloud.
ensure_webkit() {
  [[ -x /usr/bin/WebKitWebDriver && -x /usr/bin/Xvfb ]] && return
  say "installing Debian packages: webkit2gtk-driver xvfb"
  ((EUID == 0)) && install_packages webkit2gtk-driver xvfb || say "without WebKit: its tests are skipped"
}

install_packages() {
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends "$@"
}

doctor() {
  ensure_commands
  ensure_rust
  ensure_lint_tools
  ensure_node_modules
  ensure_wasm_bindgen
  ensure_browsers
  ensure_webkit
  rustc --version
  printf 'node %s, npm %s, %s\n' "$(node --version)" "$(npm --version 2>/dev/null)" "$(python3 --version)"
  .tools/bin/wasm-bindgen --version
}

# ---------------------------------------------------------------------------------------------- build

# FEATURES FOLDER NAME: the web crate with these features as FOLDER/NAME.js and its WebAssembly. `--emit=link=` keeps variants
# apart, to which cargo gives one file name otherwise. Burn is compiled for none of them again.
build_variant() {
  local variant="${1:-plain}"
  local linked="target/variants/${variant//,/+}.wasm"
  mkdir -p target/variants
  "$CARGO" rustc --locked --release --target "$WASM_TARGET" -p fraise-web --features "$1" --crate-type cdylib -- "--emit=link=$linked"
  .tools/bin/wasm-bindgen --target web --remove-name-section --out-dir "$2" --out-name "$3" "$linked"
}

build_wasm() {
  ensure_commands
  ensure_rust
  ensure_wasm_bindgen
  build_variant "" www/src/wasm fraise_web
  build_variant relaxed-simd www/src/wasm fraise_web_relaxed
}

# As most browsers get it, with the goldens' comparisons in it, for tests/browser only.
build_parity() {
  ensure_wasm_bindgen
  build_variant parity,relaxed-simd target/parity/web fraise_web
}

build_page() {
  ensure_node_modules
  (cd www && npx --no-install vite build && npx --no-install cem analyze)
  node www/scripts/integrity.mjs dist
}

build() {
  build_wasm
  build_page
  node www/scripts/sizes.mjs dist
}

package() {
  is_built || build
  node www/scripts/package.mjs
}

# dist/ is stale when any source is newer than the page in it.
is_built() {
  [[ -f dist/index.html ]] && [[ -z "$(find crate www/src www/public www/index.html www/embed.html www/vite.config.ts models \
    Cargo.lock -newer dist/index.html -type f -not -path 'models/training/*' -not -path 'www/src/wasm/*' -print -quit)" ]]
}

serve() {
  is_built || build
  exec node www/scripts/serve.mjs dist "$PORT" "$@"
}

# ---------------------------------------------------------------------------------------------- tests

test_native() { "$CARGO" test --locked --workspace --no-fail-fast "$@"; }

test_browser() {
  ensure_browsers
  ensure_webkit
  is_built || build
  build_parity
  package
  node --test --test-reporter=spec --test-concurrency=1 tests/browser/*.test.mjs
}

test() {
  ensure_commands
  test_native
  test_browser
}

# Every target sees the same inputs each time; how many, and how many of them were accepted, is said as each ends.
fuzz() {
  ensure_commands
  ensure_node_modules
  export FRAISE_FUZZ="${1:-1000000}"
  test_native --test fuzz
  node --test --test-reporter=spec tests/browser/fuzz.test.mjs
}

lint_wasm() {
  # clippy-driver as the workspace's compiler lints our crates on the build's own artefacts of Burn: nothing compiles twice.
  mkdir -p target/lint
  CLIPPY_ARGS='-Dwarnings' RUSTC_WORKSPACE_WRAPPER="$(rustc --print sysroot)/bin/clippy-driver" \
    "$CARGO" rustc --locked --release --target "$WASM_TARGET" -p fraise-web --features parity,relaxed-simd --crate-type cdylib -- \
    --emit=link=target/lint/fraise_web.wasm
}

check_types() { (cd www && npx --no-install tsc --noEmit && npx --no-install tsc --noEmit -p src/service-worker); }

# Runs one stage, keeps its output in a log, shows it only where it failed, and prints one line.
stage() {
  local name=$1 log="$LOGS/$1.log" start=$SECONDS status=ok code
  shift
  set +e # not `( … ) || status=…`: bash would then ignore errors inside the stage too
  ( set -e; "$@" ) >"$log" 2>&1 </dev/null
  code=$?
  set -e
  if ((code)); then
    status=FAILED
    failed_stages=$((failed_stages + 1))
    tail -n 200 "$log"
  fi
  printf '%-14s %-7s %4d s\n' "$name" "$status" "$((SECONDS - start))"
}

# Adds up cargo's and node's closing lines over all logs; a failed stage without failed tests counts as one failure.
summary() {
  node www/scripts/summary.mjs "$failed_stages" "$LOGS"/*.log
}

check() {
  ensure_commands
  failed_stages=0
  rm -rf "$LOGS"
  mkdir -p "$LOGS"
  stage tools doctor
  stage format "$CARGO" fmt --all --check
  stage lint "$CARGO" clippy --locked --workspace --all-targets -- -D warnings
  stage native test_native
  stage lint-wasm lint_wasm
  stage build build
  stage types check_types
  stage browser test_browser
  summary
}

# What Fraise is compared with, and what makes models for both. Where it cannot be had, the bench says what it leaves out.
ensure_peer() {
  local done=tests/bench/node_modules/.package-lock.json
  if [[ ! -f $done || tests/bench/package-lock.json -nt $done ]]; then
    say "installing onnxruntime-web into tests/bench/node_modules"
    (cd tests/bench && npm ci --no-audit --no-fund && touch node_modules/.package-lock.json)
  fi
  if [[ -z "${BENCH_PYTHON:-}" && ! -f target/bench/venv/complete ]]; then
    say "installing torch and diffusers into target/bench/venv"
    python3 -m venv target/bench/venv
    target/bench/venv/bin/pip install --quiet -r tests/bench/requirements.txt
    touch target/bench/venv/complete
  fi
  "$CARGO" build --locked --workspace --bin fraise
}

bench() {
  ensure_commands
  ensure_browsers
  is_built || build
  build_parity
  set +e # as in `stage`
  ( set -e; ensure_peer )
  (($?)) && say "without all that it takes to compare with onnxruntime-web"
  set -e
  node tests/bench/bench.mjs "$@"
}

command=${1:-help}
[[ $# -gt 0 ]] && shift
case $command in
  help | serve | build | package | test | check | fuzz | bench | doctor) "$command" "$@" ;;
  *) help >&2; die "unknown command: $command" ;;
esac
