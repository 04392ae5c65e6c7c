import { createHash } from 'node:crypto';

/** A Lua script, and the SHA-1 by which Redis knows it once it has run. */
export interface Script {
  readonly source: string;
  readonly sha: string;
}

/*
 * A session is one hash: `created` and `expires` (milliseconds since the epoch), `ops` (see UPDATE), and each entry
 * under its key with a `:` in front, so that no user's key is ever one of ours.
 *
 * Each call is one script on one key: atomic, one round trip, and at home in a Cluster. ARGV[1] is the caller's clock,
 * by which the contract has expiry checked; Redis' own clock only removes what is over. The time to live is therefore
 * relative: it holds whatever the two clocks think of each other. Fields are set one by one, since Lua can't unpack
 * thousands of arguments. But where a wreck is replaced, a script's first write is one that Redis refuses when it is out
 * of memory: all or nothing.
 */
const PRELUDE = `
local key, now = KEYS[1], tonumber(ARGV[1])
local kind = redis.call('TYPE', key).ok

local function instant(field)
  local text = redis.call('HGET', key, field)
  return text and string.find(text, '^[%d.e+-]+$') and tonumber(text)
end

-- Anything but an unexpired hash of ours is no record.
local function isLive()
  if kind ~= 'hash' then return false end
  local expires = instant('expires')
  return expires and now < expires and instant('created')
end

local function removeAt(expires)
  local left = math.min(math.max(0, math.ceil(tonumber(expires) - now)), 1e15)
  redis.call('PEXPIRE', key, string.format('%.0f', left))
end
`;

/** ARGV: now. Answers the hash as a flat list, or nil where nothing is, or `expired` or `corrupt`. */
export const LOAD: Script = script(`
if isLive() then return redis.call('HGETALL', key) end
if kind == 'none' then return false end
local expires = kind == 'hash' and instant('expires')
return {expires and expires <= now and 'expired' or 'corrupt'}
`);

/** ARGV: now, created, expires, {field, value}. Answers `created` or `exists`. */
export const CREATE: Script = script(`
if isLive() then return {'exists'} end
if kind ~= 'none' then redis.call('DEL', key) end
redis.call('HSET', key, 'created', ARGV[2], 'expires', ARGV[3])
for i = 4, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
removeAt(ARGV[3])
return {'created'}
`);

/** How many updates a record remembers: as many as fit into 64 bytes, within which Redis keeps small hashes compact. */
const REMEMBERED = 8;

/**
 * ARGV: now, expires, operation, the field expected (or empty), whether it should be there (1), and with which value,
 * how many fields to set, {field, value}, {field to delete}.
 * Answers `updated`, `gone`, or `conflict` with the value that is there; an error where the operation was wiped.
 *
 * `ops` holds the last operations, so that one that is sent twice (see operation.ts) is carried out once.
 */
export const UPDATE: Script = script(`
local expires, operation, expected = ARGV[2], ARGV[3], ARGV[4]
if string.byte(operation) == 0 then return redis.error_reply('TIMEOUT nobody waits for this update any more') end
if not isLive() then return {'gone'} end

local ops = redis.call('HGET', key, 'ops') or ''
if string.find(ops, operation, 1, true) then return {'updated'} end

if expected ~= '' then
  local actual = redis.call('HGET', key, expected)
  if actual ~= (ARGV[5] == '1' and ARGV[6]) then return {'conflict', actual} end
end

redis.call('HSET', key, 'expires', expires, 'ops', string.sub(ops .. operation, -#operation * ${REMEMBERED}))
local deleted = 8 + 2 * ARGV[7]
for i = 8, deleted - 1, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
for i = deleted, #ARGV do redis.call('HDEL', key, ARGV[i]) end
removeAt(expires)
return {'updated'}
`);

/** ARGV: now. Answers what LOAD would have, for the last time. Whatever else is under the key goes too. */
export const DESTROY: Script = script(`
local record = isLive() and redis.call('HGETALL', key)
if kind ~= 'none' then redis.call('DEL', key) end
return record
`);

/*
 * An owner's sessions are one sorted set of their addresses, each with the instant until which it is named. Anything
 * else under the key is no index.
 */

/** ARGV: now, address, until. Answers `added`. */
export const OWNER_ADD: Script = script(`
if kind ~= 'none' and kind ~= 'zset' then redis.call('DEL', key) end
local before = redis.call('ZSCORE', key, ARGV[2])
if not before or tonumber(before) < tonumber(ARGV[3]) then redis.call('ZADD', key, ARGV[3], ARGV[2]) end
redis.call('ZREMRANGEBYSCORE', key, '-inf', ARGV[1])
local last = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
if last[2] then removeAt(last[2]) end
return {'added'}
`);

/** ARGV: now, address. Answers `removed`, also where it wasn't there. */
export const OWNER_REMOVE: Script = script(`
if kind == 'zset' then redis.call('ZREM', key, ARGV[2]) end
return {'removed'}
`);

/** ARGV: now. Answers the addresses. */
export const OWNER_KEYS: Script = script(`
return kind == 'zset' and redis.call('ZRANGEBYSCORE', key, '(' .. ARGV[1], '+inf') or {}
`);

function script(body: string): Script {
  const source = PRELUDE + body;
  return { source, sha: createHash('sha1').update(source).digest('hex') };
}
