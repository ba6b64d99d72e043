#!/usr/bin/env bash
# Starts chromedriver on a port of the loopback, and ends only that one.
set -euo pipefail

readonly state="${HELIOGRAPH_CHROMEDRIVER_STATE:-${TMPDIR:-/tmp}/heliograph-dev-chromedriver}"
readonly pid_file="$state/chromedriver.pid"
readonly log_file="$state/chromedriver.log"

say() { printf 'chromedriver.sh: %s\n' "$*" >&2; }

usage() {
  say "usage: chromedriver.sh start PORT | stop"
  exit 64
}

# The process started here, if it still runs.
running_pid() {
  local pid
  [[ -s "$pid_file" ]] || return 1
  pid="$(<"$pid_file")"
  [[ "$(cat "/proc/$pid/comm" 2>/dev/null)" == chromedriver ]] || return 1
  printf '%s\n' "$pid"
}

ready() {
  local answer
  exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
  printf 'GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' >&3
  IFS= read -r -t 5 answer <&3
  [[ "$answer" == *" 200 "* ]]
}

answers() { (ready "$1") 2>/dev/null; }

start() {
  local port="$1" pid
  if pid="$(running_pid)"; then
    if answers "$port"; then
      return 0
    fi
    say "chromedriver ($pid) runs on another port; stop it first"
    return 1
  fi
  command -v chromedriver >/dev/null || { say "chromedriver is not installed: run deploy/dev/install.sh"; return 1; }
  if answers "$port"; then
    say "using the chromedriver that answers on port $port"
    return 0
  fi
  mkdir -p "$state"
  setsid chromedriver --port="$port" >"$log_file" 2>&1 </dev/null &
  pid=$!
  printf '%s\n' "$pid" >"$pid_file"
  local deadline=$((SECONDS + 15))
  until answers "$port"; do
    if ! kill -0 "$pid" 2>/dev/null || ((SECONDS >= deadline)); then
      say "chromedriver does not answer on port $port:"
      tail -n 15 "$log_file" >&2
      kill "$pid" 2>/dev/null || true
      rm -f "$pid_file"
      return 1
    fi
    sleep 0.1
  done
}

stop() {
  local pid
  if pid="$(running_pid)"; then
    kill -TERM "$pid"
    local deadline=$((SECONDS + 15))
    while kill -0 "$pid" 2>/dev/null; do
      ((SECONDS < deadline)) || { say "chromedriver ($pid) does not end"; return 1; }
      sleep 0.1
    done
  fi
  rm -f "$pid_file"
}

case "${1:-}" in
  start) [[ $# -eq 2 && "$2" =~ ^[0-9]+$ ]] || usage; start "$2" ;;
  stop) [[ $# -eq 1 ]] || usage; stop ;;
  *) usage ;;
esac
