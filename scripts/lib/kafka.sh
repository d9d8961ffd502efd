# shellcheck shell=bash
# One real Apache Kafka node (KRaft, broker and controller in one process) in a private folder, from Maven's jars.
# Plaintext on loopback is the super user's, for tests; SASL_SSL with SCRAM-SHA-512 obeys the access list below.
# Reads KAFKA_HOME_DIR (the folder); expects common.sh, process.sh, ports.sh and tls.sh.
#
# Two variables are for tests of what goes wrong between nodes and clients:
# SENTRA_KAFKA_PROXY_PORT is told to the clients of the PROXIED listener as its port: whoever listens there passes it on.
# SENTRA_KAFKA_JOIN names the services folder of a node that runs: this one becomes the cluster's second broker (node 2,
# no controller, plaintext only), which may be stopped without the cluster losing its mind.

KAFKA_POM="$SENTRA_ROOT/deploy/kafka/pom.xml"
# Alone on 2 cores it takes 3 to 7 s; beside a busy compiler, half a minute was seen.
KAFKA_READY_SECONDS=120
KAFKA_STOP_SECONDS=15

# Test topics and groups with these beginnings are what the user `sentra` may touch.
KAFKA_SASL_USER=sentra
KAFKA_SASL_STRANGER=nobody
KAFKA_SASL_TRANSACTIONS=sasl.transactions
KAFKA_SASL_VERDICTS=sasl.verdicts
KAFKA_SASL_DLQ=sasl.dlq
KAFKA_SASL_GROUP=sasl-

kafka_pid_file() { printf '%s\n' "$KAFKA_HOME_DIR/pid"; }

# --- The jars, shared by all checkouts -------------------------------------------------------------------------------

# Prints the folder of the jars: named by version and by the pom's content, so that a changed pom is another folder.
kafka_jars() {
    local version digest
    version="$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$KAFKA_POM")"
    digest="$(sha256sum "$KAFKA_POM")"
    printf '%s\n' "$SENTRA_CACHE/kafka-$version-${digest:0:8}"
}

# Fetches the jars once. Two checkouts may do so at once: the lock makes the second wait, the rename makes it all or nothing.
kafka_fetch() {
    local jars="$1"
    [ ! -d "$jars" ] || return 0
    mkdir -p "$SENTRA_CACHE"
    (
        flock 8
        [ -d "$jars" ] || kafka_download "$jars"
    ) 8>"$SENTRA_CACHE/kafka.lock" ||
        die "Maven could not fetch Kafka's jars (lines above): is the network up? Does ~/.m2/settings.xml name your mirror?"
}

kafka_download() {
    local jars="$1" partial
    say "services: fetching Kafka's jars into $jars (54 MB, once)"
    partial="$(mktemp -d "$jars.partial.XXXXXX")" || return 1
    if mvn -q -B -f "$KAFKA_POM" dependency:copy-dependencies -DoutputDirectory="$partial/lib" >"$partial/maven.log" 2>&1 &&
        mv -T "$partial/lib" "$jars"; then
        rm -rf "$partial"
    else
        tail -n 20 "$partial/maven.log" >&2
        rm -rf "$partial"
        return 1
    fi
}

kafka_java() { java -cp "$(kafka_jars)/*" "$@"; }

# --- Configuration ---------------------------------------------------------------------------------------------------

# Writes server.properties for the ports $1 (plaintext), $2 (SASL_SSL), $3 (controller) and $4 (proxied).
kafka_configure() {
    if kafka_joins; then kafka_second "$@"; else kafka_listeners "$@"; fi >"$KAFKA_HOME_DIR/server.properties"
    kafka_single_node >>"$KAFKA_HOME_DIR/server.properties"
}

kafka_joins() { [ -n "${SENTRA_KAFKA_JOIN:-}" ]; }

kafka_second() {
    local first
    read -r -a first <"$SENTRA_KAFKA_JOIN/kafka/ports"
    cat <<PROPERTIES
process.roles=broker
node.id=2
controller.quorum.bootstrap.servers=127.0.0.1:${first[2]}
listeners=PLAINTEXT://127.0.0.1:$1
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
PROPERTIES
}

kafka_listeners() {
    cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$3
listeners=PLAINTEXT://127.0.0.1:$1,SASL_SSL://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3,PROXIED://127.0.0.1:$4
advertised.listeners=PLAINTEXT://127.0.0.1:$1,SASL_SSL://localhost:$2,CONTROLLER://127.0.0.1:$3,PROXIED://127.0.0.1:${SENTRA_KAFKA_PROXY_PORT:-$4}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT

sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location=$KAFKA_HOME_DIR/tls/broker.pem
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:ANONYMOUS
PROPERTIES
}

kafka_single_node() {
    cat <<PROPERTIES

log.dirs=$KAFKA_HOME_DIR/data
log.retention.ms=-1
log.retention.bytes=-1
log.cleaner.dedupe.buffer.size=16777216
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4

default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=6000
PROPERTIES
}

# --- First start: secrets, certificates, an empty log with its users ---------------------------------------------------

# Makes what lives as long as the data. The marker is written last, so that an interrupted first start begins anew.
kafka_init() {
    [ ! -e "$KAFKA_HOME_DIR/formatted" ] || return 0
    rm -rf "$KAFKA_HOME_DIR/data" "$KAFKA_HOME_DIR/tls" "$KAFKA_HOME_DIR/granted"
    tls_make "$KAFKA_HOME_DIR/tls" || die "openssl could not make certificates in $KAFKA_HOME_DIR/tls"
    openssl rand -hex 16 >"$KAFKA_HOME_DIR/password.$KAFKA_SASL_USER"
    openssl rand -hex 16 >"$KAFKA_HOME_DIR/password.$KAFKA_SASL_STRANGER"
    kafka_format >"$KAFKA_HOME_DIR/format.log" 2>&1 || {
        tail -n 20 "$KAFKA_HOME_DIR/format.log" >&2
        die "Kafka's storage could not be formatted (the lines above are from $KAFKA_HOME_DIR/format.log)"
    }
    : >"$KAFKA_HOME_DIR/formatted"
}

kafka_password() { cat "$KAFKA_HOME_DIR/password.$1"; }

kafka_scram() { printf 'SCRAM-SHA-512=[name=%s,password=%s]' "$1" "$(kafka_password "$1")"; }

# A random UUID as Kafka writes it: 16 bytes in URL-safe base64 without padding, not beginning with a dash.
kafka_cluster_id() { printf 's%s\n' "$(openssl rand -base64 16 | tr '+/' '-_' | cut -c 2-22)"; }

kafka_format() {
    if kafka_joins; then
        kafka_java -Xshare:auto -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format \
            -t "$(sed -n 's/^cluster.id=//p' "$SENTRA_KAFKA_JOIN/kafka/data/meta.properties")" \
            -c "$KAFKA_HOME_DIR/server.properties"
        return
    fi
    kafka_java -Xshare:auto -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format --standalone \
        -t "$(kafka_cluster_id)" \
        -c "$KAFKA_HOME_DIR/server.properties" \
        --add-scram "$(kafka_scram "$KAFKA_SASL_USER")" --add-scram "$(kafka_scram "$KAFKA_SASL_STRANGER")"
}

# Least privilege for the user `sentra`. Kafka lets Read and Write imply Describe, and Write imply idempotent writing; settings
# are asked for where topics are judged.
kafka_grant() {
    [ ! -e "$KAFKA_HOME_DIR/granted" ] || return 0
    # The cluster has them from its first node.
    if kafka_joins; then return 0; fi
    local reading writing judging
    kafka_allow "$1" Read --topic "$KAFKA_SASL_TRANSACTIONS" --topic "$KAFKA_SASL_VERDICTS" --group "$KAFKA_SASL_GROUP" &
    reading=$!
    kafka_allow "$1" Write --topic "$KAFKA_SASL_VERDICTS" --topic "$KAFKA_SASL_DLQ" &
    writing=$!
    kafka_allow "$1" DescribeConfigs --topic "$KAFKA_SASL_TRANSACTIONS" --topic "$KAFKA_SASL_VERDICTS" \
        --topic "$KAFKA_SASL_DLQ" &
    judging=$!
    wait "$reading" && wait "$writing" && wait "$judging" || return 1
    : >"$KAFKA_HOME_DIR/granted"
}

kafka_allow() {
    local bootstrap="$1" operation="$2"
    shift 2
    kafka_java -XX:TieredStopAtLevel=1 org.apache.kafka.tools.AclCommand --bootstrap-server "$bootstrap" --add \
        --allow-principal "User:$KAFKA_SASL_USER" --operation "$operation" --resource-pattern-type prefixed "$@" \
        >"$KAFKA_HOME_DIR/acl.$operation.log" 2>&1
}

# --- Start, readiness, stop --------------------------------------------------------------------------------------------

kafka_answers() { kcat -b "$1" -L -m 2 >/dev/null 2>&1; }

# Starts the node in a session of its own (a Ctrl-C in the caller's terminal is not for it) and remembers the process.
kafka_launch() {
    local log="$KAFKA_HOME_DIR/kafka.log"
    [ ! -e "$log" ] || mv "$log" "$log.previous"
    setsid java -Xms256m -Xmx1g -cp "$(kafka_jars)/*" \
        -Dorg.slf4j.simpleLogger.showDateTime=true -Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd\'T\'HH:mm:ss.SSS \
        kafka.Kafka "$KAFKA_HOME_DIR/server.properties" </dev/null >"$log" 2>&1 8>&- 9>&- &
    process_remember "$(kafka_pid_file)" $!
}

# Waits until the node answers a metadata request at $1; fails at once when the process ends.
kafka_await() {
    local deadline=$((SECONDS + KAFKA_READY_SECONDS))
    while process_alive "$(kafka_pid_file)" >/dev/null; do
        if kafka_answers "$1"; then return 0; fi
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
    return 1
}

kafka_end() {
    process_end "$(kafka_pid_file)" "$KAFKA_STOP_SECONDS" ||
        die "the Kafka of $KAFKA_HOME_DIR (pid $(process_alive "$(kafka_pid_file)")) does not end, not even by SIGKILL: its disk may hang"
}

# One attempt to start on ports that were free a moment ago: the plaintext, SASL_SSL, controller and proxied ports.
kafka_try() {
    local ports
    ports="$(ports_of "$KAFKA_HOME_DIR/ports" 4)" || die "no free ports from $PORT_LOWEST on: end what listens there"
    # shellcheck disable=SC2086  # four numbers, four arguments
    set -- $ports
    kafka_configure "$@"
    kafka_init
    kafka_launch
    kafka_await "127.0.0.1:$1" && kafka_grant "127.0.0.1:$1"
}

# Starts the node. Another process may take a port between our look and Kafka's bind: then once more.
kafka_start() {
    local attempt
    mkdir -p "$KAFKA_HOME_DIR"
    chmod 700 "$KAFKA_HOME_DIR"
    kafka_fetch "$(kafka_jars)"
    for attempt in 1 2 3; do
        if kafka_try; then return 0; fi
        kafka_end
        grep -q 'Address already in use' "$KAFKA_HOME_DIR/kafka.log" || break
        rm -f "$KAFKA_HOME_DIR/ports"
        say "services: a port was taken meanwhile (attempt $attempt), picking others"
    done
    tail -n 30 "$KAFKA_HOME_DIR/kafka.log" >&2
    die "Kafka did not answer within $KAFKA_READY_SECONDS s (the lines above are the end of $KAFKA_HOME_DIR/kafka.log)"
}

kafka_running() { process_alive "$(kafka_pid_file)" >/dev/null && kafka_answers "127.0.0.1:$(kafka_port 1)"; }

# Prints port number $1 of the four.
kafka_port() {
    local ports
    read -r -a ports <"$KAFKA_HOME_DIR/ports"
    printf '%s\n' "${ports[$1 - 1]}"
}

kafka_signal() { process_signal "$(kafka_pid_file)" "$1"; }

kafka_wipe() { rm -rf "$KAFKA_HOME_DIR"; }

kafka_env() {
    entry KAFKA_BOOTSTRAP_SERVERS "127.0.0.1:$(kafka_port 1)"
    entry SENTRA_TEST_KAFKA_PROXIED "127.0.0.1:$(kafka_port 4)"
    if kafka_joins; then return 0; fi
    entry SENTRA_TEST_SASL_BOOTSTRAP "localhost:$(kafka_port 2)"
    entry SENTRA_TEST_SASL_CA "$KAFKA_HOME_DIR/tls/ca.pem"
    entry SENTRA_TEST_SASL_USER "$KAFKA_SASL_USER"
    entry SENTRA_TEST_SASL_PASSWORD "$(kafka_password "$KAFKA_SASL_USER")"
    entry SENTRA_TEST_SASL_STRANGER "$KAFKA_SASL_STRANGER"
    entry SENTRA_TEST_SASL_STRANGER_PASSWORD "$(kafka_password "$KAFKA_SASL_STRANGER")"
    entry SENTRA_TEST_SASL_TRANSACTIONS "$KAFKA_SASL_TRANSACTIONS"
    entry SENTRA_TEST_SASL_VERDICTS "$KAFKA_SASL_VERDICTS"
    entry SENTRA_TEST_SASL_DLQ "$KAFKA_SASL_DLQ"
    entry SENTRA_TEST_SASL_GROUP "$KAFKA_SASL_GROUP"
}
