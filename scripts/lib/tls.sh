# shellcheck shell=bash
# Certificates for the SASL_SSL listener of the test broker: an authority of its own and one server key, made with openssl.
# They protect nothing but a broker on loopback, and live as long as its data folder.

TLS_DAYS=3650

# Makes $1/ca.pem (for clients) and $1/broker.pem (key and chain, for Kafka).
tls_make() {
    local dir="$1"
    mkdir -p "$dir" && tls_make_authority "$dir" && tls_make_server "$dir" || return 1
    cat "$dir/server.key" "$dir/server.pem" "$dir/ca.pem" >"$dir/broker.pem"
    rm -f "$dir/ca.key" "$dir/ca.srl" "$dir/server.key" "$dir/server.csr" "$dir/server.pem" "$dir/server.ext"
}

tls_make_authority() {
    local dir="$1"
    openssl req -x509 -newkey rsa:2048 -sha256 -nodes -days "$TLS_DAYS" -subj "/CN=Sentra test authority" \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>/dev/null
}

tls_make_server() {
    local dir="$1"
    openssl req -newkey rsa:2048 -sha256 -nodes -subj "/CN=localhost" -keyout "$dir/server.key" -out "$dir/server.csr" 2>/dev/null || return 1
    printf '%s\n' "subjectAltName=DNS:localhost,IP:127.0.0.1" "extendedKeyUsage=serverAuth" >"$dir/server.ext"
    openssl x509 -req -sha256 -days "$TLS_DAYS" -in "$dir/server.csr" -extfile "$dir/server.ext" \
        -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -out "$dir/server.pem" 2>/dev/null
}
