#!/bin/sh
# apply.sh - made by tenantry from tenants.toml; changes here are overwritten.
#
# Makes and changes the streams and consumers of the registry on a running server, as
# `tenantry apply` does, with a shell and the nats command line and nothing else. It can
# be run again at any time. What cannot be changed in place is said and left alone; no
# stream or consumer is ever deleted. It shows no plan and holds nothing back: what
# somebody changed by hand becomes what is declared, and messages beyond its limits go.
#
#   sh apply.sh [URL [CREDENTIALS]]
set -u
default='nats://127.0.0.1:4222'
url=${1:-$default}
credentials=${2:-$(dirname "$0")/../credentials}
tenant='' made=0 failed=0

# Goes on as the provisioner of a tenant. A third argument is a password that is supplied.
tenant() {
  tenant=$1
  files=$credentials/$1/$2
  if [ ! -r "$files.env" ]; then
    echo "$tenant: cannot read $files.env" >&2
    files=/dev/null
  fi
  set -a
  NATS_USER='' NATS_PASSWORD='' NATS_INBOX_PREFIX=_INBOX
  [ "$files" = /dev/null ] || . "$files.env"
  NATS_URL=$url NATS_PASSWORD=${3:-$NATS_PASSWORD} NATS_NKEY=''
  [ ! -r "$files.nk" ] || NATS_NKEY=$files.nk
  set +a
}

# One request below $JS.API; the answer is in $answer.
request() {
  answer=$(nats --inbox-prefix "$NATS_INBOX_PREFIX" --timeout 20s request --raw "\$JS.API.$1" "$2" 2>&1)
}

# What became of it: made, or refused in the server's words.
result() {
  case $answer in
    '{"type":'*'","error":{'*)
      echo "$tenant: $1: $(printf %s "$answer" | sed 's/.*"description":"\([^"]*\)".*/\1/')" >&2
      failed=$((failed + 1)) ;;
    '{"type":'*)
      made=$((made + 1)) ;;
    *)
      echo "$tenant: $1: ${answer:-no answer}" >&2
      failed=$((failed + 1)) ;;
  esac
}

stream() {
  request "STREAM.CREATE.$1" "$2"
  # It is there, otherwise than declared.
  case $answer in *'"err_code":10058,'*) request "STREAM.UPDATE.$1" "$2" ;; esac
  result "stream $1"
}

# The consumers of a stream with this retention: name and body of each. Those that are not
# there come first: what another one gives up would be gone from an interest stream.
consumers() {
  each new "$@" || return 0
  each any "$@"
}

each() {
  which=$1 of=$2 retention=$3
  shift 3
  while [ $# -gt 0 ]; do
    case $which in
      new)
        request "CONSUMER.CREATE.$of.$1" "${2%?},\"action\":\"create\"}"
        case $retention$answer in
          *'"err_code":10148,'* | *'"err_code":10013,'* | *'"err_code":10105,'*) ;;
          interest*'"error":{'*) result "consumer $of/$1"; return 1 ;;
        esac ;;
      any)
        # One that loses its filter in place hears of no new messages.
        case $2 in
          *'"filter_subject'*) answer='' ;;
          *) request "CONSUMER.INFO.$of.$1" '' ;;
        esac
        case $answer in
          *'"config":{'*'"filter_subject'*)
            echo "$tenant: consumer $of/$1: it would lose its filter: write one that covers all" >&2
            failed=$((failed + 1)) ;;
          *)
            request "CONSUMER.CREATE.$of.$1" "$2"
            result "consumer $of/$1" ;;
        esac ;;
    esac
    shift 2
  done
}

finish() {
  echo "$made streams and consumers are as declared, $failed failed"
  [ "$failed" = 0 ]
}

tenant TENANT_A provisioner
stream EVENTS '{"compression":"none","discard":"old","duplicate_window":120000000000,"max_age":2592000000000000,"max_bytes":134217728,"max_consumers":-1,"max_msg_size":-1,"max_msgs":-1,"max_msgs_per_subject":-1,"metadata":{"tenantry":"614d587ac807282e"},"name":"EVENTS","num_replicas":1,"retention":"limits","storage":"file","subjects":["TENANT_A.events.>"]}'
consumers EVENTS limits \
  event-analytics '{"config":{"ack_policy":"explicit","ack_wait":30000000000,"deliver_policy":"all","durable_name":"event-analytics","filter_subject":"TENANT_A.events.metrics.>","max_ack_pending":1000,"max_deliver":3,"max_waiting":512,"metadata":{"tenantry":"dcf5a6eecedd9c51"},"name":"event-analytics","replay_policy":"instant"},"stream_name":"EVENTS"}'
stream KV_settings '{"allow_direct":true,"allow_rollup_hdrs":true,"compression":"none","deny_delete":true,"discard":"new","duplicate_window":120000000000,"max_bytes":-1,"max_consumers":-1,"max_msg_size":-1,"max_msgs":-1,"max_msgs_per_subject":5,"metadata":{"tenantry":"676c8c1464ea3c1f"},"name":"KV_settings","num_replicas":1,"retention":"limits","storage":"file","subjects":["$KV.settings.>"]}'

tenant TENANT_B provisioner
stream ORDERS '{"compression":"none","discard":"old","duplicate_window":120000000000,"max_bytes":-1,"max_consumers":-1,"max_msg_size":-1,"max_msgs":-1,"max_msgs_per_subject":-1,"metadata":{"tenantry":"67453b8510169955"},"name":"ORDERS","num_replicas":1,"retention":"limits","storage":"file","subjects":["TENANT_B.orders.>"]}'
stream KV_settings '{"allow_direct":true,"allow_rollup_hdrs":true,"compression":"none","deny_delete":true,"discard":"new","duplicate_window":120000000000,"max_bytes":-1,"max_consumers":-1,"max_msg_size":-1,"max_msgs":-1,"max_msgs_per_subject":1,"metadata":{"tenantry":"f58da959903405b4"},"name":"KV_settings","num_replicas":1,"retention":"limits","storage":"file","subjects":["$KV.settings.>"]}'

finish
