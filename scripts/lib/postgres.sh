# shellcheck shell=bash
# One real PostgreSQL in a private folder, from the distribution's binaries: loopback only, passwords by SCRAM, TLS on offer.
# PostgreSQL refuses root: for root it runs as an unprivileged user of the system, who owns its folder `cluster` alone.
# Reads POSTGRES_HOME_DIR (the folder); expects common.sh, process.sh, ports.sh and tls.sh.

# Recovery after an immediate stop takes its time beside a busy compiler.
POSTGRES_READY_SECONDS=90
POSTGRES_STOP_SECONDS=15
POSTGRES_DATABASE=sentra

postgres_pid_file() { printf '%s\n' "$POSTGRES_HOME_DIR/pid"; }

postgres_port() { tr -d '[:space:]' <"$POSTGRES_HOME_DIR/ports"; }

# Prints the folder of the programs: of the release that SENTRA_POSTGRES_BIN names, else of the newest; fails without one.
postgres_bin() {
    local newest
    if [ -n "${SENTRA_POSTGRES_BIN:-}" ]; then
        realpath "$SENTRA_POSTGRES_BIN"
        return
    fi
    newest="$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1)" || true
    [ -n "$newest" ] || newest="$(command -v initdb)" || return 1
    dirname "$(realpath "$newest")"
}

# Prints the user that PostgreSQL runs as.
postgres_user() {
    if [ "$(id -u)" -ne 0 ]; then
        id -un
    elif id postgres >/dev/null 2>&1; then
        echo postgres
    else
        echo nobody
    fi
}

# Replaces this shell by a command of that user's.
postgres_exec() {
    if [ "$(id -u)" -eq 0 ]; then
        local user
        user="$(postgres_user)"
        exec setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups "$@"
    fi
    exec "$@"
}

# Prints the folder of the cluster. A checkout below a home that the user may not enter has it in the system's folder for such.
postgres_cluster() {
    local place="$POSTGRES_HOME_DIR/place"
    if [ ! -s "$place" ]; then
        if (cd / && postgres_exec test -x "$POSTGRES_HOME_DIR"); then
            printf '%s\n' "$POSTGRES_HOME_DIR/cluster" >"$place"
        else
            mktemp -u "${TMPDIR:-/var/tmp}/sentra-postgres.XXXXXX" >"$place"
        fi
    fi
    cat "$place"
}

# --- First start: a password, a certificate, an empty cluster ----------------------------------------------------------

# Makes what lives as long as the data. The marker is written last, so that an interrupted first start begins anew.
postgres_init() {
    [ ! -e "$POSTGRES_HOME_DIR/initialised" ] || return 0
    local cluster
    cluster="$(postgres_cluster)"
    rm -rf "$cluster" "$POSTGRES_HOME_DIR/tls"
    tls_make "$POSTGRES_HOME_DIR/tls" || die "openssl could not make certificates in $POSTGRES_HOME_DIR/tls"
    (umask 077 && openssl rand -hex 16 >"$POSTGRES_HOME_DIR/password")
    mkdir -m 700 "$cluster"
    cp "$POSTGRES_HOME_DIR/tls/broker.pem" "$cluster/server.pem"
    cp "$POSTGRES_HOME_DIR/password" "$cluster/password"
    chmod 600 "$cluster/server.pem" "$cluster/password"
    [ "$(id -u)" -ne 0 ] || chown -R "$(postgres_user):" "$cluster"
    (cd / && postgres_exec "$(postgres_bin)/initdb" --pgdata "$cluster/data" --username postgres --pwfile "$cluster/password" \
        --auth scram-sha-256 --encoding UTF8 --locale C.UTF-8 --no-sync) >"$POSTGRES_HOME_DIR/initdb.log" 2>&1 || {
        tail -n 20 "$POSTGRES_HOME_DIR/initdb.log" >&2
        die "PostgreSQL's folder could not be made (the lines above are from $POSTGRES_HOME_DIR/initdb.log)"
    }
    postgres_settings >>"$cluster/data/postgresql.conf"
    rm -f "$cluster/password"
    : >"$POSTGRES_HOME_DIR/initialised"
}

postgres_settings() {
    local cluster
    cluster="$(postgres_cluster)"
    cat <<SETTINGS
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
max_wal_size = '2GB'
ssl = on
ssl_cert_file = '$cluster/server.pem'
ssl_key_file = '$cluster/server.pem'
log_line_prefix = '%m [%p] %d '
SETTINGS
}

# --- Start, readiness, stop --------------------------------------------------------------------------------------------

# The address of database $1 for the super user.
postgres_url() { printf 'postgres://postgres:%s@127.0.0.1:%s/%s\n' "$(cat "$POSTGRES_HOME_DIR/password")" "$(postgres_port)" "$1"; }

postgres_answers() { "$(postgres_bin)/pg_isready" -q -h 127.0.0.1 -p "$(postgres_port)"; }

# Starts the server in a session of its own (a Ctrl-C in the caller's terminal is not for it) and remembers the process.
postgres_launch() {
    local log="$POSTGRES_HOME_DIR/postgres.log" cluster bin
    cluster="$(postgres_cluster)"
    bin="$(postgres_bin)"
    [ ! -e "$log" ] || mv "$log" "$log.previous"
    (cd / && postgres_exec setsid "$bin/postgres" -D "$cluster/data" -p "$(postgres_port)") </dev/null >"$log" 2>&1 8>&- 9>&- &
    process_remember "$(postgres_pid_file)" $!
}

# Waits until the server takes connections; fails at once when the process ends.
postgres_await() {
    local deadline=$((SECONDS + POSTGRES_READY_SECONDS))
    while process_alive "$(postgres_pid_file)" >/dev/null; do
        if postgres_answers; then return 0; fi
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
    return 1
}

# The database of `sentra run` and of people; each test makes one of its own.
postgres_database() {
    [ ! -e "$POSTGRES_HOME_DIR/database" ] || return 0
    "$(postgres_bin)/psql" -q -X -v ON_ERROR_STOP=1 -d "$(postgres_url postgres)" -c "CREATE DATABASE $POSTGRES_DATABASE" &&
        : >"$POSTGRES_HOME_DIR/database"
}

postgres_running() { process_alive "$(postgres_pid_file)" >/dev/null && postgres_answers; }

postgres_start() {
    local attempt
    mkdir -p "$POSTGRES_HOME_DIR"
    for attempt in 1 2 3; do
        ports_of "$POSTGRES_HOME_DIR/ports" 1 >/dev/null || die "no free ports from $PORT_LOWEST on: end what listens there"
        postgres_init
        postgres_launch || true
        if postgres_await && postgres_database; then return 0; fi
        postgres_end
        grep -q 'Address already in use' "$POSTGRES_HOME_DIR/postgres.log" || break
        rm -f "$POSTGRES_HOME_DIR/ports"
        say "services: PostgreSQL's port was taken meanwhile (attempt $attempt), picking another"
    done
    tail -n 30 "$POSTGRES_HOME_DIR/postgres.log" >&2
    die "PostgreSQL did not answer within $POSTGRES_READY_SECONDS s (the lines above are the end of $POSTGRES_HOME_DIR/postgres.log)"
}

# Prints the processes of the running server, its postmaster first.
postgres_processes() {
    local pid
    pid="$(process_alive "$(postgres_pid_file)")" || return 1
    printf '%s ' "$pid"
    cat "/proc/$pid/task/$pid/children"
}

# Sends signal $1 to all of the server's processes: a frozen postmaster alone would leave its sessions at work.
postgres_signal() {
    local processes
    processes="$(postgres_processes)" || return 1
    # shellcheck disable=SC2086  # a list of numbers; a session may end between our look and the signal
    kill -s "$1" $processes 2>/dev/null || true
}

# SIGINT ends sessions and stops in order; SIGTERM would wait for the sessions, and children of a killed server linger.
postgres_end() {
    if postgres_signal CONT; then
        process_signal "$(postgres_pid_file)" INT || true
        process_wait_gone "$(postgres_pid_file)" "$POSTGRES_STOP_SECONDS" || process_signal "$(postgres_pid_file)" QUIT || true
    fi
    process_end "$(postgres_pid_file)" 5 || die "the PostgreSQL of $POSTGRES_HOME_DIR does not end, not even by SIGKILL: its disk may hang"
}

postgres_wipe() {
    [ ! -s "$POSTGRES_HOME_DIR/place" ] || rm -rf "$(postgres_cluster)"
    rm -rf "$POSTGRES_HOME_DIR"
}

postgres_env() {
    entry DATABASE_URL "$(postgres_url "$POSTGRES_DATABASE")"
    entry SENTRA_TEST_DATABASE_URL "$(postgres_url postgres)"
    entry SENTRA_TEST_DATABASE_CA "$POSTGRES_HOME_DIR/tls/ca.pem"
    entry SENTRA_TEST_POSTGRES_BIN "$(postgres_bin)"
}
