#!/usr/bin/env bash
# A real S3 server on loopback: Ceph's radosgw over one monitor and one object store in memory.
#   radosgw.sh up DIR PORT     starts it and writes DIR/env.sh
#   radosgw.sh down DIR        stops it
# It holds 4 GiB, or MEMSTORE_BYTES.
set -euo pipefail
command=$1 DIR=$2 PORT=${3:-}
ACCESS=nightsift-test SECRET=nightsift-test-secret

stop() {
    for file in "$DIR"/client-*.pid "$DIR"/osd-*.pid "$DIR"/mon-*.pid; do
        [ -s "$file" ] || continue
        pid=$(cat "$file")
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -9 "$pid" 2>/dev/null || true
    done
}
if [ "$command" = down ]; then stop; exit 0; fi

if ! command -v radosgw >/dev/null || ! command -v ceph-osd >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update >/dev/null
    apt-get install -y --no-install-recommends ceph-mon ceph-osd radosgw >/dev/null
fi
mkdir -p "$DIR"/mon "$DIR"/osd "$DIR"/log "$DIR"/run
FSID=$(cat /proc/sys/kernel/random/uuid) OSD=$(cat /proc/sys/kernel/random/uuid)
MON="[v2:127.0.0.1:$((PORT + 1)),v1:127.0.0.1:$((PORT + 2))]"
cat >"$DIR/ceph.conf" <<CONF
[global]
fsid = $FSID
mon host = $MON
mon initial members = a
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
run dir = $DIR/run
admin socket = $DIR/run/\$cluster-\$name.asok
pid file = $DIR/\$type-\$id.pid
log file = $DIR/log/\$name.log
keyring = $DIR/keyring
crash dir = $DIR/run
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 10000
[mon]
mon data = $DIR/mon
mon data avail crit = 1
mon data avail warn = 1
mon cluster log file = $DIR/log/cluster.log
[osd]
keyring = $DIR/osd/keyring
osd data = $DIR/osd
osd objectstore = memstore
memstore device bytes = ${MEMSTORE_BYTES:-4294967296}
osd memory target = 1073741824
osd mclock profile = high_client_ops
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:$PORT tcp_nodelay=1
rgw thread pool size = 32
rgw enable lc threads = false
rgw enable usage log = false
rgw enable ops log = false
rgw rados pool pg num min = 1
rgw gc obj min wait = 5
rgw gc processor period = 5
CONF
cd "$DIR"
ceph-authtool --create-keyring keyring --gen-key -n mon. --cap mon 'allow *' >/dev/null
ceph-authtool keyring --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' >/dev/null
ceph-authtool keyring --gen-key -n client.rgw --cap mon 'allow rw' --cap osd 'allow rwx' >/dev/null
monmaptool --create --clobber --fsid "$FSID" --addv a "$MON" monmap >/dev/null
ceph-mon -c ceph.conf --mkfs -i a --monmap monmap --keyring keyring
ceph-mon -c ceph.conf -i a
timeout 30 ceph -c ceph.conf osd new "$OSD" >/dev/null
timeout 30 ceph -c ceph.conf auth get-or-create osd.0 mon 'allow profile osd' osd 'allow *' mgr 'allow profile osd' -o osd/keyring
ceph-osd -c ceph.conf -i 0 --mkfs --osd-uuid "$OSD" >log/mkfs.log 2>&1
ceph-osd -c ceph.conf -i 0 >log/osd-start.log 2>&1
radosgw -c ceph.conf -n client.rgw
for _ in $(seq 300); do (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null && break; sleep 0.1; done
timeout 30 radosgw-admin -c ceph.conf user create --uid=test --display-name=test --access-key=$ACCESS --secret=$SECRET >/dev/null
cat >env.sh <<ENV
export AWS_ENDPOINT_URL=http://127.0.0.1:$PORT
export AWS_ACCESS_KEY_ID=$ACCESS AWS_SECRET_ACCESS_KEY=$SECRET AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
export AWS_EC2_METADATA_DISABLED=true
export AWS_REQUEST_CHECKSUM_CALCULATION=when_required AWS_RESPONSE_CHECKSUM_VALIDATION=when_required
ENV
