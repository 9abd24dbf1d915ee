package redis

// Presence has keys of its own in a room's partition. An owner is one node's
// time between two losses of what it has announced: after one, the node is
// another owner.
//
//	here:ROOM      hash: user → "nodes sessions name", of all nodes
//	ids:ROOM       zset: the users of here by id, all with score 0
//	at:OWNER:ROOM  hash: user → "sessions name", as the owner has announced it
//	rooms:OWNER    set: the rooms for which there is an at
//
// and one beside them, of which every beat reads all:
//
//	owners         hash: OWNER → "" while it lives, "left TIME" since it has
//	               said that it ends, "dead TIME" since somebody took it upon
//	               itself to take its users out; times in µs

// membersText is the part that scripts share: set changes one user of one
// owner, and news tells the room.
const membersText = `
local came, gone = {}, {}
local function set(here, ids, at, user, n, name)
	local old = redis.call('HGET', at, user)
	if n == 0 and not old then return end
	local was, called = 0, nil
	if old then
		local cut = string.find(old, ' ', 1, true)
		was, called = tonumber(string.sub(old, 1, cut - 1)), string.sub(old, cut + 1)
	end
	if name == '' and called then name = called end
	if n == was and name == called then return end
	local all = redis.call('HGET', here, user)
	local nodes, sessions, known = 0, 0, name
	if all then
		local a = string.find(all, ' ', 1, true)
		local b = string.find(all, ' ', a + 1, true)
		nodes, sessions, known = tonumber(string.sub(all, 1, a - 1)), tonumber(string.sub(all, a + 1, b - 1)), string.sub(all, b + 1)
	end
	if not old then nodes = nodes + 1 end
	sessions = sessions + n - was
	if n == 0 then
		nodes = nodes - 1
		redis.call('HDEL', at, user)
	else
		redis.call('HSET', at, user, n .. ' ' .. name)
		if name ~= called then known = name end
	end
	if nodes > 0 then
		redis.call('HSET', here, user, nodes .. ' ' .. sessions .. ' ' .. known)
		if not all then
			redis.call('ZADD', ids, 0, user)
			came[#came + 1] = ' +' .. user
		end
	else
		redis.call('HDEL', here, user)
		redis.call('ZREM', ids, user)
		gone[#gone + 1] = ' -' .. user
	end
end
local function news(here, channel, quiet)
	local count = redis.call('HLEN', here)
	if not quiet and #came + #gone > 0 then
		redis.call('SPUBLISH', channel, 'm ' .. count .. table.concat(came) .. table.concat(gone))
	end
	came, gone = {}, {}
	return count
end
`

// announceText takes what a node says of a room, and tells the room who has
// come or gone on all nodes.
//
//	KEYS meta, here, ids, at, rooms, the room's channel
//	ARGV gen, latest time, room, "quiet" or "", then user, sessions and name of each user
//
// It answers how many users there are.
const announceText = membersText + `
if redis.call('HGET', KEYS[1], 'gen') ~= ARGV[1] then return {-1} end
local time = redis.call('TIME')
if time[1] * 1000000 + time[2] > tonumber(ARGV[2]) then return {-2} end
for i = 5, #ARGV, 3 do set(KEYS[2], KEYS[3], KEYS[4], ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]) end
if redis.call('EXISTS', KEYS[4]) == 1 then
	redis.call('SADD', KEYS[5], ARGV[3])
else
	redis.call('SREM', KEYS[5], ARGV[3])
end
return {0, news(KEYS[2], KEYS[6], ARGV[4] == 'quiet')}
`

// presentText reads a page.
//
//	KEYS meta, here, ids
//	ARGV gen, cursor, limit
//
// It answers how many users there are, then user and what here has of each.
const presentText = `
if redis.call('HGET', KEYS[1], 'gen') ~= ARGV[1] then return {-1} end
local out = {0, redis.call('HLEN', KEYS[2])}
if ARGV[3] == '1' and ARGV[2] == '' then return out end
local users = redis.call('ZRANGEBYLEX', KEYS[3], '(' .. ARGV[2], '+', 'LIMIT', 0, ARGV[3])
if #users == 0 then return out end
local are = redis.call('HMGET', KEYS[2], unpack(users))
for i, user in ipairs(users) do
	out[#out + 1] = user
	out[#out + 1] = are[i]
end
return out
`

// reapText takes out users of a dead owner in one partition.
//
//	KEYS meta, rooms, never
//	ARGV gen, what the partition's keys begin with, owner, how many at most
//
// It answers 1 when none is left.
const reapText = membersText + `
if redis.call('HGET', KEYS[1], 'gen') ~= ARGV[1] then return {-1} end
local budget = tonumber(ARGV[4])
while budget > 0 do
	local room = redis.call('SRANDMEMBER', KEYS[2])
	if not room then return {0, 1} end
	local here, ids, at = ARGV[2] .. 'here:' .. room, ARGV[2] .. 'ids:' .. room, ARGV[2] .. 'at:' .. ARGV[3] .. ':' .. room
	local users = redis.call('HRANDFIELD', at, budget)
	for _, user in ipairs(users) do set(here, ids, at, user, 0, '') end
	news(here, ARGV[2] .. 'room:' .. room)
	if redis.call('EXISTS', at) == 0 then redis.call('SREM', KEYS[2], room) end
	budget = budget - #users - 1
end
return {0, 0}
`

// The two below are sent as text.

// endText notes that an owner ends.
//
//	KEYS owners
//	ARGV owner
const endText = `
if redis.call('HGET', KEYS[1], ARGV[1]) ~= '' then return 0 end
local time = redis.call('TIME')
return redis.call('HSET', KEYS[1], ARGV[1], string.format('left %.0f', time[1] * 1000000 + time[2]))
`

// takeOverText has the caller take out an owner's users, unless the owner or its
// node has changed.
//
//	KEYS owners, nodes
//	ARGV owner, what it is, and unless that is enough its node and what that
//	     has in the list, "" for nothing
//
// It answers 1 if the caller may.
const takeOverText = `
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if ARGV[3] and (redis.call('HGET', KEYS[2], ARGV[3]) or '') ~= ARGV[4] then return 0 end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], string.format('dead %.0f', time[1] * 1000000 + time[2]))
return 1
`
