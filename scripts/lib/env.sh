# shellcheck shell=bash
# The tools of a checkout on PATH: the private CMake first, then Rust's. Made to be sourced, by the scripts and by people:
#     . scripts/lib/env.sh
# It sets variables only: it neither installs (scripts/setup does) nor changes the shell's options or CARGO_TARGET_DIR.

SENTRA_CACHE="${SENTRA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sentra}"
SENTRA_CMAKE_HOME="$SENTRA_CACHE/cmake"
SENTRA_CARGO_BIN="${CARGO_HOME:-$HOME/.cargo}/bin"

case ":$PATH:" in
    *":$SENTRA_CARGO_BIN:"*) ;;
    *) PATH="$SENTRA_CARGO_BIN:$PATH" ;;
esac
case ":$PATH:" in
    *":$SENTRA_CMAKE_HOME/bin:"*) ;;
    *) PATH="$SENTRA_CMAKE_HOME/bin:$PATH" ;;
esac
export PATH
