package redis

import (
	"strconv"

	"github.com/gohub/gohub"
)

// A partition is a part of the rooms, by hash, that stands on its own: its
// keys and channels have one hash tag, so they are in one slot of a Redis
// Cluster and on one server. It has its own generation, its own list of nodes and
// its own recovery; that others fail is nothing to it. A server alone holds one,
// a Redis Cluster clusterPartitions.
//
// The number is part of the keys: another one is another cluster.
const clusterPartitions = 32

// clusterSlots is how many slots a Redis Cluster has.
const clusterSlots = 16384

// homes is in how many partitions nodes say who they are: what is said is long,
// all nodes read it, and one that can be reached is enough.
const homes = 3

// keyspace makes the names of keys and channels, "prefix:{tag}:…".
type keyspace []partKeys // of each partition

// partKeys is what all names of a partition begin with.
type partKeys string

func newKeyspace(prefix string, partitions int) keyspace {
	k := make(keyspace, partitions)
	for p, tag := range spread(partitions) {
		k[p] = partKeys(prefix + ":{" + strconv.Itoa(tag) + "}:")
	}
	return k
}

// partition is where a key that names a room, or anything, belongs.
func (k keyspace) partition(key string) int { return int(hash(key) % uint32(len(k))) } //nolint:gosec // 32 at most

// of is the keys of that partition.
func (k keyspace) of(key string) partKeys { return k[k.partition(key)] }

// isHome reports whether nodes say in a partition who they are: some that are
// far from each other, and so on different servers.
func (k keyspace) isHome(part int) bool {
	every := (len(k) + homes - 1) / homes
	return part%every == 0
}

func (k partKeys) meta() string           { return string(k) + "meta" }
func (k partKeys) heads() string          { return string(k) + "heads" }
func (k partKeys) log(room string) string { return string(k) + "log:" + room }

// ids is what the keys of a room's ids begin with.
func (k partKeys) ids(room string) string          { return string(k) + "id:" + room + ":" }
func (k partKeys) room(room string) string         { return string(k) + "room:" + room }
func (k partKeys) here(room string) string         { return string(k) + "here:" + room }
func (k partKeys) users(room string) string        { return string(k) + "ids:" + room }
func (k partKeys) rooms(owner string) string       { return string(k) + "rooms:" + owner }
func (k partKeys) owned(owner, room string) string { return string(k) + "at:" + owner + ":" + room }
func (k partKeys) nodes() string                   { return string(k) + "nodes" }
func (k partKeys) owners() string                  { return string(k) + "owners" }
func (k partKeys) recovery() string                { return string(k) + "recovery" }
func (k partKeys) signals() string                 { return string(k) + "signals" }
func (k partKeys) node(node string) string         { return string(k) + "node:" + node }
func (k partKeys) ticket(id string) string         { return string(k) + "ticket:" + id }
func (k partKeys) device(name string) string       { return string(k) + "dev:" + name }

// never names a key that there never is. A script that writes names it, too:
// while a slot moves, Redis refuses a call of which a key is missing where it
// arrives (TRYAGAIN), so no script sees half of a partition.
func (k partKeys) never() string { return string(k) + "never" }

// roomKey names a room inside its partition. The tenant's length comes first,
// so that no tenant can be mistaken for another's room.
func roomKey(id gohub.RoomID) string {
	return strconv.Itoa(len(id.Tenant)) + ":" + id.Tenant + ":" + id.Name
}

// hash is FNV-1a.
func hash(key string) uint32 {
	h := uint32(2166136261)
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return h
}

// spread gives n hash tags, the lowest numbers whose slots are in the first nth
// of all slots, in the second, and so on: servers with as many slots as others
// have as many of them, but for one.
func spread(n int) []int {
	tags := make([]int, n)
	for i := range tags {
		tags[i] = -1
	}
	for number, left := 0, n; left > 0; number++ {
		if at := slot(strconv.Itoa(number)) * n / clusterSlots; tags[at] < 0 {
			tags[at] = number
			left--
		}
	}
	return tags
}

// slot is where Redis Cluster puts keys with this hash tag: CRC-16/XMODEM.
func slot(tag string) int {
	crc := uint16(0)
	for i := range len(tag) {
		crc ^= uint16(tag[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % clusterSlots
}
