#!/usr/bin/env bash
# A real SMTP server for tests: takes mail for any recipient and puts it into
# one Maildir, DIR/Maildir, of the system user mailtest.
set -euo pipefail

readonly user=mailtest

say() { printf 'smtp.sh: %s\n' "$*" >&2; }

usage() {
  say "usage: smtp.sh start DIR ADDR PORT | stop DIR"
  exit 64
}

accepts() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# opensmtpd's parent process, if it is the one that runs with DIR's settings.
running_pid() {
  local pid_file="$1/smtpd.pid" pid
  [[ -s "$pid_file" ]] || return 1
  pid="$(<"$pid_file")"
  [[ -r "/proc/$pid/cmdline" ]] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$1/smtpd.conf" || return 1
  printf '%s\n' "$pid"
}

ensure_user() {
  if ! id "$user" >/dev/null 2>&1; then
    useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
  fi
}

write_settings() {
  local dir="$1" addr="$2" port="$3"
  cat >"$dir/smtpd.conf" <<SETTINGS
table all { "@" = $user }
queue ttl 1h
listen on $addr port $port
action "local" maildir "$dir/Maildir" virtual <all>
match from any for any action "local"
SETTINGS
}

start() {
  local dir addr="$2" port="$3"
  mkdir -p "$1"
  dir="$(cd "$1" && pwd)"
  if running_pid "$dir" >/dev/null; then
    return 0
  fi
  [[ $EUID -eq 0 ]] || { say "starting smtpd needs root"; return 1; }
  command -v smtpd >/dev/null || { say "smtpd is not installed: run deploy/dev/install.sh"; return 1; }
  if accepts "$addr" "$port"; then
    say "something listens on $addr port $port already"
    return 1
  fi
  ensure_user
  mkdir -p "$dir/Maildir"
  chown "$user:" "$dir/Maildir"
  # The delivering process, which runs as $user, has to reach the folder.
  chmod a+x "$dir"
  if ! runuser -u "$user" -- test -w "$dir/Maildir"; then
    say "the user $user cannot reach $dir/Maildir: a folder above it is closed"
    return 1
  fi
  write_settings "$dir" "$addr" "$port"
  setsid smtpd -d -f "$dir/smtpd.conf" >"$dir/smtpd.log" 2>&1 </dev/null &
  local pid=$!
  printf '%s\n' "$pid" >"$dir/smtpd.pid"
  local deadline=$((SECONDS + 15))
  until accepts "$addr" "$port"; do
    if ! kill -0 "$pid" 2>/dev/null || ((SECONDS >= deadline)); then
      say "smtpd does not accept on $addr port $port:"
      tail -n 15 "$dir/smtpd.log" >&2
      kill "$pid" 2>/dev/null || true
      rm -f "$dir/smtpd.pid"
      return 1
    fi
    sleep 0.1
  done
}

stop() {
  local dir pid
  [[ -d "$1" ]] || return 0
  dir="$(cd "$1" && pwd)"
  if pid="$(running_pid "$dir")"; then
    kill -TERM "$pid"
    local deadline=$((SECONDS + 15))
    while kill -0 "$pid" 2>/dev/null; do
      ((SECONDS < deadline)) || { say "smtpd ($pid) does not end"; return 1; }
      sleep 0.1
    done
  fi
  rm -f "$dir/smtpd.pid"
}

case "${1:-}" in
  start) [[ $# -eq 4 ]] || usage; start "$2" "$3" "$4" ;;
  stop) [[ $# -eq 2 ]] || usage; stop "$2" ;;
  *) usage ;;
esac
