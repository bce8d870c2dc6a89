#!/bin/sh
# Prints random keys and a password, one setting a line. For a file that its owner alone may read:
# `(umask 077; sh deploy/new-env.sh > deploy/.env)`.
set -eu

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

for name in REDIS_PASSWORD TINYCDP_WRITE_KEY TINYCDP_READ_KEY TINYCDP_ADMIN_KEY; do
  echo "$name=$(random)"
done
