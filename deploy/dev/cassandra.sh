#!/usr/bin/env bash
# Real Cassandra for tests: one node on 127.0.0.1, one each on 127.0.2.4 and
# 127.0.2.5, or a cluster of three on 127.0.2.1 to 127.0.2.3, which may run beside
# each other. Passwords and permissions are on (cassandra/cassandra administers),
# TLS is optional on the same port.
set -euo pipefail

readonly version=5.0.6
readonly jars="${HELIOGRAPH_CASSANDRA_JARS:-${XDG_CACHE_HOME:-$HOME/.cache}/heliograph/cassandra-$version}"
readonly state="${HELIOGRAPH_CASSANDRA_STATE:-${TMPDIR:-/tmp}/heliograph-dev-cassandra}"
# group or batch: an acked write survives power loss; periodic: it does not.
readonly commitlog="${HELIOGRAPH_CASSANDRA_COMMITLOG:-group}"
readonly heap="${HELIOGRAPH_CASSANDRA_HEAP:-1536m}"
readonly port=9042

say() { printf 'cassandra.sh: %s\n' "$*" >&2; }

usage() {
  cat >&2 <<'TEXT'
usage: cassandra.sh start | stop               one node: 127.0.0.1
       cassandra.sh cluster start | stop       three nodes: 127.0.2.1 to 127.0.2.3
       cassandra.sh node N start | stop | kill | pause | resume | remove
       cassandra.sh nodetool N COMMAND...      such as nodetool 0 flush
       cassandra.sh ca                         prints the file to trust for TLS
Node 0 is the single one, 1 to 3 are the cluster's, 4 and 5 are more single ones
for tests that end them. Stopping the single node or the cluster removes its data;
stopping or killing a node by number keeps it.
TEXT
  exit 64
}

address() { if (($1 == 0)); then echo 127.0.0.1; else echo "127.0.2.$1"; fi; }

jmx_port() { echo $((7199 + $1)); }

folder() { echo "$state/node-$1"; }

# The node's process, if it runs.
running_pid() {
  local pid_file pid
  pid_file="$(folder "$1")/pid"
  [[ -s "$pid_file" ]] || return 1
  pid="$(<"$pid_file")"
  [[ -r "/proc/$pid/cmdline" ]] && tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qxF -- "-Dcassandra.storagedir=$(folder "$1")" || return 1
  printf '%s\n' "$pid"
}

# Sends one frame of the native protocol (version 4) and prints the answer's opcode.
ask() {
  local header length
  printf "$1" >&3
  header="$(timeout 5 head -c 9 <&3 | od -An -v -tu1)"
  read -ra header <<<"${header//$'\n'/ }"
  ((${#header[@]} == 9)) || return 1
  length=$(((header[5] << 24) + (header[6] << 16) + (header[7] << 8) + header[8]))
  ((length == 0)) || timeout 5 head -c "$length" <&3 >/dev/null
  printf '%s\n' "${header[4]}"
}

# Signs in as the administrator, which works once the default role is there.
signs_in() {
  local startup='\x04\0\0\0\x01\0\0\0\x16\0\x01\0\x0bCQL_VERSION\0\x053.0.0'
  local password='\x04\0\0\0\x0f\0\0\0\x18\0\0\0\x14\0cassandra\0cassandra'
  exec 3<>"/dev/tcp/$1/$port" || return 1
  [[ "$(ask "$startup")" == 3 ]] && [[ "$(ask "$password")" == 16 ]]
}

answers() { (signs_in "$1") 2>/dev/null; }

fetch_jars() {
  [[ ! -e "$jars/complete" ]] || return 0
  command -v mvn >/dev/null || { say "maven is not installed: run deploy/dev/install.sh"; return 1; }
  say "fetching Cassandra $version"
  mkdir -p "$jars"
  cat >"$jars/pom.xml" <<POM
<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>heliograph.dev</groupId>
  <artifactId>cassandra-for-tests</artifactId>
  <version>$version</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.cassandra</groupId>
      <artifactId>cassandra-all</artifactId>
      <version>$version</version>
    </dependency>
  </dependencies>
</project>
POM
  mvn --quiet --batch-mode --file "$jars/pom.xml" dependency:copy-dependencies "-DoutputDirectory=$jars/lib" >"$jars/log" 2>&1 || {
    tail -n 20 "$jars/log" >&2
    return 1
  }
  touch "$jars/complete"
}

# A certificate of its own authority, for all addresses that nodes have here.
make_certificate() {
  [[ ! -s "$state/ca.pem" ]] || return 0
  local store=(-storetype PKCS12 -storepass heliograph -keypass heliograph)
  local names=san=dns:localhost,ip:127.0.0.1,ip:127.0.2.1,ip:127.0.2.2,ip:127.0.2.3
  (
    cd "$state"
    rm -f ca.p12 node.p12
    keytool -genkeypair -keystore ca.p12 "${store[@]}" -alias ca -keyalg RSA -dname CN=heliograph-dev-ca -ext bc:c -validity 3650
    keytool -genkeypair -keystore node.p12 "${store[@]}" -alias node -keyalg RSA -dname CN=heliograph-dev-node -validity 3650
    keytool -certreq -keystore node.p12 "${store[@]}" -alias node -file node.csr
    keytool -gencert -keystore ca.p12 "${store[@]}" -alias ca -infile node.csr -outfile node.pem -rfc -ext "$names" -validity 3650
    keytool -exportcert -keystore ca.p12 "${store[@]}" -alias ca -rfc -file ca.new
    keytool -importcert -noprompt -keystore node.p12 "${store[@]}" -alias ca -file ca.new
    keytool -importcert -noprompt -keystore node.p12 "${store[@]}" -alias node -file node.pem
    mv ca.new ca.pem
  ) >"$state/keytool.log" 2>&1 || { tail -n 20 "$state/keytool.log" >&2; return 1; }
}

# What every node needs.
prepare() {
  command -v java >/dev/null || { say "java is not installed: run deploy/dev/install.sh"; return 1; }
  fetch_jars
  make_certificate
}

write_settings() {
  local node="$1" dir seed alone=0 tokens=('0' '-9223372036854775808' '-3074457345618258603' '3074457345618258602' '0' '0')
  dir="$(folder "$node")"
  ((node >= 1 && node <= 3)) || alone=1
  seed="$(address $((alone ? node : 1)))"
  mkdir -p "$dir/conf"
  cat >"$dir/conf/cassandra.yaml" <<SETTINGS
cluster_name: heliograph-dev-$((alone ? 1 : 3))
listen_address: $(address "$node")
rpc_address: $(address "$node")
storage_port: 7000
native_transport_port: $port
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "$seed"
endpoint_snitch: SimpleSnitch
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
num_tokens: 1
initial_token: '${tokens[$node]}'
auto_bootstrap: false
default_keyspace_rf: $((alone ? 1 : 3))
data_file_directories:
  - $dir/data
commitlog_directory: $dir/commitlog
saved_caches_directory: $dir/saved_caches
hints_directory: $dir/hints
cdc_raw_directory: $dir/cdc_raw
# Room for the statements of the hundreds of providers that tests make; a lone node
# for a test keeps so few that it drops what is in use.
prepared_statements_cache_size: $((node >= 4 ? 1 : 64))MiB
$(if [[ "$commitlog" == group ]]; then cat "$(dirname "$0")/../cassandra/durable-acks.yaml"; fi)
$(if [[ "$commitlog" == batch ]]; then echo 'commitlog_sync: batch'; fi)
$(if [[ "$commitlog" == periodic ]]; then printf 'commitlog_sync: periodic\ncommitlog_sync_period: 10s\n'; fi)
auto_snapshot: false
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
role_manager: CassandraRoleManager
# What a test grants or revokes holds soon.
roles_validity: 500ms
permissions_validity: 500ms
credentials_validity: 500ms
client_encryption_options:
  enabled: true
  optional: true
  keystore: $state/node.p12
  keystore_password: heliograph
  store_type: PKCS12
  require_client_auth: false
memtable:
  configurations:
    default:
      class_name: TrieMemtable
SETTINGS
  cat >"$dir/conf/logback.xml" <<'SETTINGS'
<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{HH:mm:ss.SSS} %-5level [%thread] %logger{20}: %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="out"/></root>
</configuration>
SETTINGS
}

# Java 17 keeps these packages closed unless they are named.
java_flags() {
  local package
  for package in java.base/jdk.internal.misc java.base/java.lang.ref java.base/jdk.internal.ref java.base/sun.nio.ch \
    java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry java.rmi/sun.rmi.server \
    java.sql/java.sql jdk.unsupported/sun.misc; do
    printf '%s\n' "--add-exports=$package=ALL-UNNAMED"
  done
  for package in java.base/java.io java.base/java.lang java.base/java.lang.module java.base/java.lang.reflect java.base/java.math \
    java.base/java.net java.base/java.nio java.base/java.util java.base/java.util.concurrent java.base/java.util.concurrent.atomic \
    java.base/jdk.internal.loader java.base/jdk.internal.math java.base/jdk.internal.module java.base/jdk.internal.ref \
    java.base/jdk.internal.reflect java.base/jdk.internal.util.jar java.base/sun.nio.ch jdk.management/com.sun.management.internal; do
    printf '%s\n' "--add-opens=$package=ALL-UNNAMED"
  done
}

launch() {
  local node="$1" dir flags
  dir="$(folder "$node")"
  mkdir -p "$dir/tmp"
  mapfile -t flags < <(java_flags)
  # The lock of this script is not for the node to keep.
  setsid java "-Xms$heap" "-Xmx$heap" -XX:+UseG1GC "${flags[@]}" "-javaagent:$(ls "$jars"/lib/jamm-*.jar)" \
    "-Dcassandra.config=file://$dir/conf/cassandra.yaml" "-Dlogback.configurationFile=file://$dir/conf/logback.xml" \
    "-Dcassandra.storagedir=$dir" "-Djava.io.tmpdir=$dir/tmp" "-Dcassandra.jmx.local.port=$(jmx_port "$node")" \
    -Dcassandra-foreground=yes -Dcassandra.skip_wait_for_gossip_to_settle=0 -Dcassandra.ring_delay_ms=5000 \
    -Dcassandra.superuser_setup_delay_ms=500 \
    -cp "$dir/conf:$jars/lib/*" org.apache.cassandra.service.CassandraDaemon >>"$dir/log" 2>&1 </dev/null 9>&- &
  printf '%s\n' "$!" >"$dir/pid"
}

start_node() {
  local node="$1" at pid
  at="$(address "$node")"
  if ! pid="$(running_pid "$node")"; then
    if (exec 3<>"/dev/tcp/$at/$port") 2>/dev/null; then
      say "something else listens on $at port $port"
      return 1
    fi
    prepare
    write_settings "$node"
    launch "$node"
    pid="$(<"$(folder "$node")/pid")"
  fi
  await "$node" "$pid"
}

await() {
  local node="$1" pid="$2" deadline=$((SECONDS + 180))
  until answers "$(address "$node")"; do
    if ! kill -0 "$pid" 2>/dev/null || ((SECONDS >= deadline)); then
      say "node $node does not answer; the end of $(folder "$node")/log:"
      tail -n 25 "$(folder "$node")/log" >&2
      return 1
    fi
    sleep 0.3
  done
}

end_node() {
  local node="$1" how="$2" pid deadline=$((SECONDS + 60))
  if pid="$(running_pid "$node")"; then
    kill "-$how" "$pid"
    # A paused process takes no other signal.
    kill -CONT "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do
      ((SECONDS < deadline)) || { say "node $node ($pid) does not end"; return 1; }
      sleep 0.1
    done
  fi
  rm -f "$(folder "$node")/pid"
}

signal_node() {
  local pid
  pid="$(running_pid "$1")" || { say "node $1 does not run"; return 1; }
  kill "-$2" "$pid"
}

start_cluster() {
  local node
  prepare
  for node in 1 2 3; do
    running_pid "$node" >/dev/null || { write_settings "$node"; launch "$node"; }
    # Roles are kept by a majority of three: who starts first can be asked last.
    await_port "$node"
  done
  for node in 1 2 3; do
    await "$node" "$(<"$(folder "$node")/pid")"
  done
}

await_port() {
  local node="$1" pid deadline=$((SECONDS + 180))
  pid="$(<"$(folder "$node")/pid")"
  until (exec 3<>"/dev/tcp/$(address "$node")/$port") 2>/dev/null; do
    if ! kill -0 "$pid" 2>/dev/null || ((SECONDS >= deadline)); then
      say "node $node does not listen; the end of $(folder "$node")/log:"
      tail -n 25 "$(folder "$node")/log" >&2
      return 1
    fi
    sleep 0.3
  done
}

remove() {
  local node
  for node in "$@"; do
    end_node "$node" TERM
    rm -rf "$(folder "$node")"
  done
}

nodetool() {
  local node="$1" flags
  shift
  mapfile -t flags < <(java_flags)
  echo '<configuration/>' >"$state/quiet.xml"
  exec java -Xmx128m "${flags[@]}" -Dcom.sun.jndi.rmiURLParsing=legacy "-Dcassandra.config=file://$(folder "$node")/conf/cassandra.yaml" \
    "-Dcassandra.storagedir=$state" "-Dlogback.configurationFile=file://$state/quiet.xml" -cp "$jars/lib/*" \
    org.apache.cassandra.tools.NodeTool -h 127.0.0.1 -p "$(jmx_port "$node")" "$@" 9>&-
}

# A path needs no turn.
if [[ $# -eq 1 && "$1" == ca ]]; then
  echo "$state/ca.pem"
  exit
fi
mkdir -p "$state"
exec 9>"$state/lock"
flock 9
case "${1:-}" in
  start) [[ $# -eq 1 ]] || usage; start_node 0 ;;
  stop) [[ $# -eq 1 ]] || usage; remove 0 ;;
  cluster)
    case "${2:-}" in
      start) start_cluster ;;
      stop) remove 1 2 3 ;;
      *) usage ;;
    esac
    ;;
  node)
    [[ $# -eq 3 && "$2" =~ ^[0-5]$ ]] || usage
    case "$3" in
      start) start_node "$2" ;;
      stop) end_node "$2" TERM ;;
      kill) end_node "$2" KILL ;;
      pause) signal_node "$2" STOP ;;
      resume) signal_node "$2" CONT ;;
      remove) remove "$2" ;;
      *) usage ;;
    esac
    ;;
  nodetool) [[ $# -ge 3 && "$2" =~ ^[0-5]$ ]] || usage; flock -u 9; shift; nodetool "$@" ;;
  *) usage ;;
esac
