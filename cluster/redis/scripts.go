package redis

import (
	"crypto/sha1" //nolint:gosec // Redis names scripts by it
	"encoding/hex"
	"errors"
	"net"
	"strings"

	"github.com/redis/rueidis"
)

// A script that must be there. It is called by its hash alone: a server that
// does not know it has been restarted or replaced since the generation began,
// and may have forgotten more than a script.
type script struct{ text, sha string }

func newScript(keys partKeys, flags, text string) script {
	// Neither clusters nor partitions that share a server may share the alarm.
	text = "#!lua" + flags + "\n-- gohub " + string(keys) + text
	sum := sha1.Sum([]byte(text)) //nolint:gosec // Redis names scripts by it
	return script{text, hex.EncodeToString(sum[:])}
}

// scripts are those of one partition.
type scripts struct {
	publish, log, beat, announce, present, reap script
}

func newScripts(keys partKeys) scripts {
	return scripts{
		publish:  newScript(keys, "", publishText),
		log:      newScript(keys, " flags=no-writes", logText),
		beat:     newScript(keys, " flags=allow-oom", beatText), // it lets go of memory
		announce: newScript(keys, "", announceText),
		present:  newScript(keys, " flags=no-writes", presentText),
		reap:     newScript(keys, " flags=allow-oom", reapText), // the same
	}
}

func (s *scripts) all() []script {
	return []script{s.publish, s.log, s.beat, s.announce, s.present, s.reap}
}

// The keys of a partition:
//
//	meta           hash: gen, the generation; low, no Seq is below it and all messages
//	               below it are stored; trim, as low, but never above what a dead node left;
//	               run, the run_id of the server on which the generation began
//	heads          zset: room → its newest Seq
//	log:ROOM       stream: Seq-0 → m, the frame
//	id:ROOM:ID     "seq sender", for the dedup window
//	nodes          hash: node → "low beat about", see beatText
//	recovery       hash: of a generation that is to begin, see alarmText
//
// Numbers are doubles in Lua: 2^53 µs after 1970 is the year 2255. They are
// written with %.0f, since .. writes 1.79e+15.

// What the first element of a script's answer says.
const (
	answerOK    = 0
	answerGen   = -1 // the generation is another one
	answerStale = -2 // the node's last beat was too long ago
	// The server is not the one on which the generation began: it may have
	// forgotten what is not to be seen from here.
	answerServer = -3
)

// publishText orders messages of one room.
//
//	KEYS meta, heads, log, the room's channel, the prefix of its ids
//	ARGV gen, no Seq below it, latest time, floor, room, dedup window in ms,
//	     then id, sender and frame of each message
//
// A room's first message in a generation follows all that there was before it:
// the floor is what one node knows, which may have missed something.
//
// For each message it answers "seq", "=seq" for a duplicate, or "!" for an id
// of another sender.
const publishText = `
local meta = redis.call('HMGET', KEYS[1], 'gen', 'low', 'trim')
if meta[1] ~= ARGV[1] then return {-1} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[3]) then return {-2} end
local head = redis.call('ZSCORE', KEYS[2], ARGV[5])
local prev = math.max(tonumber(head or '0'), tonumber(ARGV[4]))
if not head then prev = math.max(prev, tonumber(string.match(ARGV[1], '^g(%d+)')) - 1) end
local least = math.max(now, tonumber(meta[2]), tonumber(ARGV[2]))
local out, last = {0}, nil
for i = 7, #ARGV, 3 do
	local seq = string.format('%.0f', math.max(prev + 1, least))
	local sender = ARGV[i + 1]
	local old = redis.call('SET', KEYS[5] .. ARGV[i], seq .. ' ' .. sender, 'NX', 'GET', 'PX', ARGV[6])
	if old then
		local at = string.find(old, ' ', 1, true)
		if string.sub(old, at + 1) == sender then
			out[#out + 1] = '=' .. string.sub(old, 1, at - 1)
		else
			out[#out + 1] = '!'
		end
	else
		local frame = ARGV[i + 2]
		redis.call('XADD', KEYS[3], 'MINID', '~', meta[3], seq .. '-0', 'm', frame)
		redis.call('SPUBLISH', KEYS[4], seq .. ' ' .. string.format('%.0f', prev) .. ' ' .. frame)
		out[#out + 1] = seq
		prev, last = tonumber(seq), seq
	end
end
if last then redis.call('ZADD', KEYS[2], last, ARGV[5]) end
return out
`

// logText reads a room's log.
//
//	KEYS meta, log
//	ARGV gen, after, limit
//
// It answers base, then Seq and frame of each message.
const logText = `
local meta = redis.call('HMGET', KEYS[1], 'gen', 'low')
if meta[1] ~= ARGV[1] then return {-1} end
local out = {0, string.format('%.0f', tonumber(meta[2]) - 1)}
if ARGV[3] == '0' then return out end
for _, e in ipairs(redis.call('XRANGE', KEYS[2], '(' .. ARGV[2] .. '-0', '+', 'COUNT', ARGV[3])) do
	out[#out + 1] = string.sub(e[1], 1, -3)
	out[#out + 1] = e[2][2]
end
return out
`

// runText gives the server's run_id.
const runText = `
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
`

// beatText says that a node lives, lets the logs go of what all nodes have
// stored, and drops rooms that are idle and stored.
//
//	KEYS meta, heads, nodes, owners, this node's channel
//	ARGV gen, node, its low or "", what the partition's keys begin with, how many rooms to drop at most,
//	     how long a room idles in µs, the owner that this node is, what it says of itself
//
// The nodes are a hash: node → "low beat about", the first two in µs of the
// server's clock. It answers the time, all nodes with what they have there, all
// owners likewise (see membersText), whether this node's was not among them until
// now, and whether the node itself was not.
const beatText = runText + `
local old = redis.call('HMGET', KEYS[1], 'gen', 'low', 'run')
if old[1] ~= ARGV[1] then return {-1} end
if old[3] ~= run then return {-3} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local low = ARGV[3]
if low == '' then low = string.format('%.0f', now) end
local anew = redis.call('HSET', KEYS[3], ARGV[2], low .. ' ' .. string.format('%.0f', now) .. ' ' .. ARGV[8])
local nodes = redis.call('HGETALL', KEYS[3])
local least
for i = 2, #nodes, 2 do
	local l = tonumber(string.sub(nodes[i], 1, string.find(nodes[i], ' ', 1, true) - 1))
	if not least or l < least then least = l end
end
local lowest = string.format('%.0f', math.max(tonumber(old[2]), least))
redis.call('HSET', KEYS[1], 'low', lowest, 'trim', string.format('%.0f', least))
local idle = string.format('(%.0f', math.min(least, now - ARGV[6]))
for _, room in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', idle, 'LIMIT', 0, ARGV[5])) do
	redis.call('DEL', ARGV[4] .. 'log:' .. room)
	redis.call('ZREM', KEYS[2], room)
end
redis.call('SPUBLISH', KEYS[5], 'beat')
local fresh = redis.call('HSETNX', KEYS[4], ARGV[7], '')
return {0, string.format('%.0f', now), nodes, redis.call('HGETALL', KEYS[4]), fresh, anew}
`

// The three below are sent as text: they must work on a server that forgot.

// alarmText tells what generation runs, or takes part in beginning a new one.
// Nobody can publish meanwhile.
//
//	KEYS recovery, meta, never
//	ARGV the last generation this node knew or "", a word nobody else has used,
//	     the highest Seq this node knows, whether it has unstored messages (0 or 1),
//	     how long to wait for other nodes and how long a node's unstored messages hold it up, in µs
//
// It answers 1 and the generation, or 0, the word, and whether it may begin.
const alarmText = `
local gen = redis.call('HGET', KEYS[2], 'gen')
local running = gen and string.sub(gen, 1, 1) == 'g'
if running and gen ~= ARGV[1] then return {1, gen} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if running or not gen then
	gen = 'r' .. ARGV[2]
	redis.call('HSET', KEYS[2], 'gen', gen)
	redis.call('DEL', KEYS[1])
	redis.call('HSET', KEYS[1], 'began', string.format('%.0f', now))
end
local high = redis.call('HGET', KEYS[1], 'high')
if not high or tonumber(high) < tonumber(ARGV[3]) then redis.call('HSET', KEYS[1], 'high', ARGV[3]) end
if ARGV[4] == '1' then redis.call('HSET', KEYS[1], 'held', string.format('%.0f', now)) end
local r = redis.call('HMGET', KEYS[1], 'began', 'held')
local may = 1
if not r[1] or now - r[1] < tonumber(ARGV[5]) or r[2] and now - r[2] < tonumber(ARGV[6]) then may = 0 end
return {0, gen, may}
`

// beginText begins a generation above everything known.
//
//	KEYS recovery, meta, never
//	ARGV the word
//
// It answers the generation, or "" if somebody else was faster.
const beginText = runText + `
local old = redis.call('HMGET', KEYS[2], 'gen', 'low', 'trim')
if old[1] ~= ARGV[1] then return '' end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local high = redis.call('HGET', KEYS[1], 'high') or '0'
local low = string.format('%.0f', math.max(now, tonumber(high), tonumber(old[2] or '0')) + 1)
local gen = 'g' .. low .. '-' .. string.sub(ARGV[1], 2)
redis.call('HSET', KEYS[2], 'gen', gen, 'low', low, 'trim', old[3] or '0', 'run', run)
redis.call('DEL', KEYS[1])
return gen
`

// forgetText removes a node unless it has changed.
//
//	KEYS nodes
//	ARGV node, what it had there
const forgetText = `
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0
`

// refused are the errors of a server that has not begun what it was asked.
var refused = []string{
	"NOSCRIPT", "OOM", "LOADING", "READONLY", "MASTERDOWN", "MISCONF", "BUSY", "NOREPLICAS",
	"CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "NOAUTH", "WRONGPASS", "NOPERM", "ERR max number of clients",
}

// surely reports whether err means that nothing was done.
func surely(err error) bool {
	if re, ok := rueidis.IsRedisErr(err); ok {
		for _, p := range refused {
			if strings.HasPrefix(re.Error(), p) {
				return true
			}
		}
		return false
	}
	if errors.Is(err, rueidis.ErrNoSlot) { // the client knows no server to send it to
		return true
	}
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func forgot(err error) bool {
	re, ok := rueidis.IsRedisErr(err)
	return ok && re.IsNoScript()
}
