#!/usr/bin/env bash
# What the tests talk to: a Docker engine, chromedriver and a Cassandra node.
# Mail servers and clusters are started by the tests that need one.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly here

case "${1:-}" in
  start)
    "$here/docker.sh" start
    "$here/chromedriver.sh" start 9515
    "$here/cassandra.sh" start
    ;;
  stop)
    "$here/cassandra.sh" stop
    # Of tests that were killed.
    "$here/cassandra.sh" cluster stop
    "$here/cassandra.sh" node 4 remove
    "$here/cassandra.sh" node 5 remove
    "$here/chromedriver.sh" stop
    "$here/docker.sh" stop
    ;;
  *)
    echo "services.sh: usage: services.sh start|stop" >&2
    exit 64
    ;;
esac
