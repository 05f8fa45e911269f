#!/bin/sh
# Writes devices.conf, the users of account DEVICES, from a list of devices: one line for each, with the device's id and
# its public user nkey (U…) or the bcrypt hash of its password ($2a$…). Lines that begin with # are left out.
#
#   ./devices.sh <devices.txt >devices.conf
#
# A device may publish its own keys and ask for its own desired state, and hear what is live for it and the call to
# send everything again. Its inbox is its own, too: the agent's connection needs the inbox prefix _INBOX.<device>.
set -eu
awk '
function refuse(why) { printf "devices.sh: line %d: %s\n", NR, why >"/dev/stderr"; failed = 1; exit 1 }
BEGIN { print "# Written by devices.sh: change the list that it was made from."; print "users: [" }
/^[ \t]*(#|$)/ { next }
NF != 2 { refuse("a device id and a key or hash belong there, got " NF " fields") }
# A dot or a wildcard in an id would give a device the keys of others.
$1 !~ /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/ || length($1) > 63 { refuse($1 " is no device id (a DNS label)") }
$1 in seen { refuse($1 " is there twice") }
{ seen[$1] = 1 }
$2 ~ /^U[A-Z2-7]+$/ && length($2) == 56 { who = "nkey: " $2 }
$2 ~ /^\$2[aby]\$[0-9][0-9]\$[.\/A-Za-z0-9]+$/ && length($2) == 60 { who = "user: \"" $1 "\", password: \"" $2 "\"" }
who == "" { refuse("the second field is neither a public user nkey nor a bcrypt hash") }
{
  d = $1
  printf "  { %s, permissions: {\n", who
  printf "    publish: { allow: [\"$KV.device-info.info.%s\", \"$KV.device-state.state.%s.*\", \"$KV.device-heartbeat.heartbeat.%s\", \"fleet.v1.reconciler.device.desired.%s\"] }\n", d, d, d, d
  printf "    subscribe: { allow: [\"fleet.v1.live.%s.*\", \"fleet.v1.agents.resync\", \"fleet.v1.agents.resync.%s\", \"_INBOX.%s.>\"] }\n", d, d, d
  print "  } }"
  who = ""
}
END { if (!failed) print "]" }
'
