#!/usr/bin/env bash
# Starts a Docker engine on a machine that runs none, and ends only that one.
set -euo pipefail

readonly state="${HELIOGRAPH_DOCKER_STATE:-${TMPDIR:-/tmp}/heliograph-dev-docker}"
readonly pid_file="$state/dockerd.pid"
readonly log_file="$state/dockerd.log"

say() { printf 'docker.sh: %s\n' "$*" >&2; }

answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

is_dockerd() { [[ "$(cat "/proc/$1/comm" 2>/dev/null)" == dockerd ]]; }

started_here() { [[ -s "$pid_file" ]] && is_dockerd "$(<"$pid_file")"; }

start() {
  if answers; then
    return 0
  fi
  command -v dockerd >/dev/null || { say "dockerd is not installed: run deploy/dev/install.sh"; return 1; }
  [[ $EUID -eq 0 ]] || { say "starting dockerd needs root"; return 1; }
  mkdir -p "$state"
  # A pid file left by an engine that was killed would make dockerd refuse.
  local stale=/var/run/docker.pid
  if [[ -s "$stale" ]] && ! is_dockerd "$(<"$stale")"; then
    rm -f "$stale"
  fi
  # Without systemd nobody may have mounted the control groups yet.
  if ! mountpoint -q /sys/fs/cgroup && command -v cgroupfs-mount >/dev/null; then
    cgroupfs-mount
  fi
  setsid dockerd >"$log_file" 2>&1 </dev/null &
  local pid=$!
  printf '%s\n' "$pid" >"$pid_file"
  local deadline=$((SECONDS + 30))
  until answers; do
    if ! kill -0 "$pid" 2>/dev/null; then
      say "dockerd ended; the end of $log_file:"
      tail -n 15 "$log_file" >&2
      rm -f "$pid_file"
      return 1
    fi
    if ((SECONDS >= deadline)); then
      say "dockerd does not answer after 30 s; see $log_file"
      return 1
    fi
    sleep 0.2
  done
}

stop() {
  if ! started_here; then
    rm -f "$pid_file"
    return 0
  fi
  local pid
  pid="$(<"$pid_file")"
  kill -TERM "$pid"
  local deadline=$((SECONDS + 30))
  while kill -0 "$pid" 2>/dev/null; do
    if ((SECONDS >= deadline)); then
      say "dockerd ($pid) does not end after 30 s; see $log_file"
      return 1
    fi
    sleep 0.2
  done
  rm -f "$pid_file"
}

status() {
  if ! answers; then
    echo "no Docker engine answers"
    return 1
  fi
  local by="not by this script"
  if started_here; then
    by="by this script, pid $(<"$pid_file"), log $log_file"
  fi
  echo "Docker engine $(docker version --format '{{.Server.Version}}') answers, started $by"
}

case "${1:-}" in
  start | stop | status) "$1" ;;
  *)
    say "usage: docker.sh start|stop|status"
    exit 64
    ;;
esac
