#!/usr/bin/env bash
# Makes the secrets that docker-compose.yml reads as files, by chance, once; those that are there stay.
# The folder is closed to others. The files are not: containers read them as users of their own.

set -euo pipefail
umask 022
cd "$(dirname "${BASH_SOURCE[0]}")"
mkdir -p secrets
chmod 700 secrets

random() { od -An -N 24 -tx1 /dev/urandom | tr -d ' \n'; }

# Written whole and renamed: an interrupted run leaves no half a secret.
keep() {
    [ ! -s "secrets/$1" ] || return 0
    printf '%s' "$2" >"secrets/$1.new"
    mv "secrets/$1.new" "secrets/$1"
    printf 'secrets/%s made\n' "$1" >&2
}

keep postgres_password "$(random)"
keep serve_token "$(random)"
# Always as the password is: the two belong together.
printf 'postgres://sentra:%s@postgres:5432/sentra' "$(cat secrets/postgres_password)" >secrets/database_url
