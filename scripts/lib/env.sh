# shellcheck shell=bash
# The tools of a checkout on PATH: the private ones first, then Rust's. Made to be sourced, by the scripts and by people:
#     . scripts/lib/env.sh
# It sets variables only: it neither installs (scripts/setup does) nor changes the shell's options or CARGO_TARGET_DIR.

SENTRA_CACHE="${SENTRA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sentra}"
SENTRA_CMAKE_HOME="$SENTRA_CACHE/cmake"
# Links to a private Node.js and Chromium, where the system's will not do.
SENTRA_BIN="$SENTRA_CACHE/bin"
SENTRA_CARGO_BIN="${CARGO_HOME:-$HOME/.cargo}/bin"

for sentra_folder in "$SENTRA_CARGO_BIN" "$SENTRA_CMAKE_HOME/bin" "$SENTRA_BIN"; do
    case ":$PATH:" in
        *":$sentra_folder:"*) ;;
        *) PATH="$sentra_folder:$PATH" ;;
    esac
done
unset sentra_folder
export PATH
