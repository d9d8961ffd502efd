# shellcheck shell=bash
# A test that lasts for as many minutes as wanted, on the services that are up or on its own. Sourced, not run.

LASTING_SERVICES=no

# lasting_test TEST VARIABLE WHAT [--minutes N]: runs the test with its seconds in that variable; WHAT is for --help.
lasting_test() {
    local test="$1" variable="$2" what="$3" minutes=10
    shift 3
    while [ $# -gt 0 ]; do
        case "$1" in
            --minutes) minutes="${2:?--minutes wants a number}" && shift ;;
            help | -h | --help)
                lasting_usage "$what"
                exit 0
                ;;
            *)
                lasting_usage "$what" >&2
                exit 2
                ;;
        esac
        shift
    done
    export "$variable=$((minutes * 60))"
    cd "$SENTRA_ROOT" || exit
    scripts/setup
    trap lasting_finish EXIT
    if ! scripts/services status; then
        LASTING_SERVICES=yes
        scripts/services up
    fi
    set -a
    # shellcheck source=/dev/null
    . "$(services_dir)/env"
    set +a
    cargo test --release --test "$test" -- --nocapture
}

lasting_usage() {
    cat <<USAGE
${0##*/} [--minutes N]
  --minutes N   $1 (10)
USAGE
}

# Services that were up before stay up.
lasting_finish() {
    local code=$?
    if [ "$LASTING_SERVICES" = yes ]; then scripts/services down --wipe; fi
    exit "$code"
}
