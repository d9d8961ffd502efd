# shellcheck shell=bash
# Free ports on loopback for a checkout's services. They are kept in a file, so that a restarted broker comes back at the same
# address as long as nobody else has taken it.

# Below the range from which Linux takes the ports of outgoing connections (32768 and up), so that none is taken by chance.
PORT_LOWEST=20000
PORT_COUNT=12000

port_is_free() { ! (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Prints $1 different ports that nobody listens on.
ports_pick() {
    local wanted="$1" tries=200 port picked=" "
    while [ "$wanted" -gt 0 ]; do
        [ "$tries" -gt 0 ] || return 1
        tries=$((tries - 1))
        port=$((PORT_LOWEST + (RANDOM * 32768 + RANDOM) % PORT_COUNT))
        case "$picked" in *" $port "*) continue ;; esac
        port_is_free "$port" || continue
        picked+="$port "
        wanted=$((wanted - 1))
    done
    printf '%s\n' "${picked//[[:space:]]/ }"
}

# Prints the ports remembered in file $1 if all of them are free, else $2 new ones, which it remembers.
ports_of() {
    local file="$1" wanted="$2" port kept
    kept="$(cat "$file" 2>/dev/null || true)"
    for port in $kept; do
        port_is_free "$port" || kept=""
    done
    # An older checkout's folder may remember fewer.
    [ "$(wc -w <<<"$kept")" -eq "$wanted" ] || kept=""
    if [ -z "$kept" ]; then
        kept="$(ports_pick "$wanted")" || return 1
        printf '%s\n' "$kept" >"$file"
    fi
    printf '%s\n' "$kept"
}
