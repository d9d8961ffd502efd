# shellcheck shell=bash
# What every script shares: strict mode, where the checkout is, how to talk and how to stop. No script does its work here.
# Data goes to stdout; talk goes to stderr.

set -euo pipefail

SENTRA_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)"

# shellcheck source=scripts/lib/env.sh
. "$SENTRA_ROOT/scripts/lib/env.sh"

say() { printf '%s\n' "$*" >&2; }

# One line that says what is wrong and the way out, then a non-zero exit.
die() {
    say "${0##*/}: $*"
    exit 1
}

# The folder of the services that scripts/services starts.
services_dir() { printf '%s\n' "${SENTRA_SERVICES_DIR:-$SENTRA_ROOT/.services}"; }

have() { command -v "$1" >/dev/null 2>&1; }

# Succeeds when version $1 is at least version $2.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }
