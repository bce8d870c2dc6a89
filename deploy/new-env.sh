#!/bin/sh
# Prints random keys and a password, one setting a line: `sh deploy/new-env.sh > deploy/.env`. Keep the file to yourself.
set -eu

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

for name in REDIS_PASSWORD TINYCDP_WRITE_KEY TINYCDP_READ_KEY TINYCDP_ADMIN_KEY; do
  echo "$name=$(random)"
done
