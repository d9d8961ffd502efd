# shellcheck shell=bash
# A process we started, remembered by a file, so that exactly it can be ended later. The file holds the pid, the process's
# start time and the machine's boot id: a recycled pid is another process, and is never signalled.

# Prints the identity of the live process $1 as "pid start-time boot-id"; fails where it is gone or a zombie.
process_identity() {
    local stat fields
    stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 1
    # The name in parentheses may hold anything; the fields after it are state (1st) to start time (20th).
    read -r -a fields <<<"${stat##*) }"
    [ "${fields[0]}" != Z ] || return 1
    printf '%s %s %s\n' "$1" "${fields[19]}" "$(cat /proc/sys/kernel/random/boot_id)"
}

process_remember() {
    local file="$1" pid="$2" identity
    identity="$(process_identity "$pid")" || return 1
    printf '%s\n' "$identity" >"$file"
}

# Prints the pid that file $1 remembers, if that very process is still alive.
process_alive() {
    local file="$1" remembered pid
    [ -s "$file" ] || return 1
    remembered="$(cat "$file")"
    pid="${remembered%% *}"
    [ "$(process_identity "$pid")" = "$remembered" ] || return 1
    printf '%s\n' "$pid"
}

process_signal() {
    local file="$1" signal="$2" pid
    pid="$(process_alive "$file")" || return 1
    kill -s "$signal" "$pid" 2>/dev/null
}

# Waits until the process of file $1 is gone, at most $2 seconds.
process_wait_gone() {
    local file="$1" tenths=$(($2 * 10))
    while process_alive "$file" >/dev/null; do
        [ "$tenths" -gt 0 ] || return 1
        tenths=$((tenths - 1))
        sleep 0.1
    done
}

# Ends the process of file $1: SIGTERM, then SIGKILL after $2 seconds. A stopped process is continued, to hear SIGTERM.
process_end() {
    local file="$1" patience_seconds="$2"
    if process_signal "$file" TERM; then
        process_signal "$file" CONT || true
        process_wait_gone "$file" "$patience_seconds" || process_signal "$file" KILL || true
        process_wait_gone "$file" 5 || return 1
    fi
    rm -f "$file"
}
