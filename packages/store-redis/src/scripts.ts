import { createHash, randomBytes } from 'node:crypto';

/** A Lua script, and the SHA-1 by which Redis knows it once it has run. */
export interface Script {
  readonly source: string;
  readonly sha: string;
}

/*
 * Each call is one script on one key: atomic, one round trip, at home in a Cluster, and always sent to a master (a plain
 * HGETALL may go to a replica, where a destroyed session can still be found).
 *
 * A session is one hash. Its fields have one letter; the user's keys have a `:` in front, so that none is ever one of ours:
 *
 *     c created  u updated  e expires (milliseconds since the epoch)  r revision  k the last idempotency keys
 *
 * A session that goes on under another id leaves a mark for a while: a hash of `b` (by), the key of its successor, and `e`.
 */

/**
 * Replies with the hash as a list, without the idempotency keys. Clients take long to read many strings, so a list of small
 * ones is sent as JSON; large ones take longer to escape.
 */
const READ = `
local key = KEYS[1]
local kind = redis.call('TYPE', key).ok
local function hash()
  local list, size = redis.call('HGETALL', key), 0
  for i = 1, #list, 2 do
    if list[i] == 'k' then list[i + 1] = '' end
    size = size + #list[i] + #list[i + 1]
  end
  return size < 100 * #list and cjson.encode(list) or list
end
`;

/** Replies with the hash, nil where there is nothing, or its type where it is no hash. The caller looks at the expiry. */
export const LOAD: Script = script(`${READ}
if kind == 'hash' then return hash() end
return kind ~= 'none' and {'type', kind}
`);

/*
 * ARGV[1] is the caller's clock, by which the contract has expiry checked; Redis' own clock only removes what has expired.
 * The time to live is therefore relative, and holds whatever the two clocks say. ARGV[2] is the idempotency key. Fields are
 * set one by one, since Lua can't unpack thousands of arguments. The first write of a script is one that Redis refuses when
 * it is out of memory, unless something is replaced or destroyed: all or nothing.
 */
const WRITE = `${READ}
local now, name = tonumber(ARGV[1]), ARGV[2]
local function removeAt(instant)
  local left = math.min(math.max(0, math.ceil(tonumber(instant) - now)), 1e15)
  redis.call('PEXPIRE', key, string.format('%.0f', left))
end
`;

/** A hash that has neither expired nor lacks a field is a record or a mark; anything else is as good as nothing. */
const SESSION = `${WRITE}
local fields = kind == 'hash' and redis.call('HMGET', key, 'c', 'u', 'e', 'r', 'k', 'b') or {}
local function number(text) return text and string.find(text, '^[%d.e+-]+$') and tonumber(text) end
local expires, revision, names, by = number(fields[3]), number(fields[4]), fields[5] or '', fields[6]
local isLive = expires and now < expires
local isMark = isLive and by
local isRecord = isLive and not by and number(fields[1]) and number(fields[2]) and revision

-- The revision that this very call made, if it was carried out before.
local function repeated()
  for at = 1, #names, #name do
    if string.sub(names, at, at + #name - 1) == name then
      return string.format('%.0f', revision + 1 - (#names + 1 - at) / #name)
    end
  end
end
`;

/** ARGV[3…]: created, updated, expires, revision, {field, value}. Replies `created` or `exists`. */
export const CREATE: Script = script(`${SESSION}
if isRecord and repeated() then return 'created' end
if isRecord or isMark then return 'exists' end
if kind ~= 'none' then redis.call('DEL', key) end
redis.call('HSET', key, 'c', ARGV[3], 'u', ARGV[4], 'e', ARGV[5], 'r', ARGV[6], 'k', name)
for i = 7, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
removeAt(ARGV[5])
return 'created'
`);

/** How many writes a record remembers. */
const REMEMBERED = 8;

/**
 * ARGV[3…]: updated, expires (empty: unchanged), and in pairs what is expected and what is to change. Before the user's key
 * stands `?` (expected: `=` and its value, or empty for none), `:` (to be set) or `-` (to be deleted).
 * Replies with the revision, `gone`, or `conflict` and the value of each expected key.
 */
export const UPDATE: Script = script(`${SESSION}
if not isRecord then return 'gone' end
local before = repeated()
if before then return before end

local function each(sign, act)
  for i = 5, #ARGV, 2 do
    if string.sub(ARGV[i], 1, 1) == sign then act(':' .. string.sub(ARGV[i], 2), ARGV[i + 1]) end
  end
end
local actual, isConflict = {'conflict'}, false
each('?', function(field, expected)
  local value = redis.call('HGET', key, field)
  actual[#actual + 1] = value
  isConflict = isConflict or (value and '=' .. value or '') ~= expected
end)
if isConflict then return actual end

local expiry, after = ARGV[4] ~= '' and ARGV[4], string.format('%.0f', revision + 1)
names = string.sub(names .. name, -#name * ${REMEMBERED})
redis.call('HSET', key, 'u', ARGV[3], 'e', expiry or fields[3], 'r', after, 'k', names)
each(':', function(field, value) redis.call('HSET', key, field, value) end)
each('-', function(field) redis.call('HDEL', key, field) end)
if expiry then removeAt(expiry) end
return after
`);

/**
 * ARGV[3…]: the revision to destroy (empty: any), and for the mark to leave: by, until (empty: none).
 * Replies with the record or the mark that was there, or nil. A record of another revision stays, and a mark; whatever else
 * is under the key is removed.
 */
export const DESTROY: Script = script(`${SESSION}
local found = (isRecord or isMark) and hash()
local isOther = ARGV[3] ~= '' and revision ~= tonumber(ARGV[3])
if isMark or isRecord and isOther then return found end
if kind ~= 'none' then redis.call('DEL', key) end
if isRecord and ARGV[5] ~= '' then
  redis.call('HSET', key, 'b', ARGV[4], 'e', ARGV[5])
  removeAt(ARGV[5])
end
return found
`);

/*
 * A group of the index is one sorted set of addresses, each with the instant until which it is named. Anything else under
 * the key is no group.
 */

/** ARGV[3…]: address, until, limit (empty: none). Replies `added` or `full`. */
export const INDEX_ADD: Script = script(`${WRITE}
if kind ~= 'none' and kind ~= 'zset' then redis.call('DEL', key) end
local address, expires, limit = ARGV[3], ARGV[4], tonumber(ARGV[5])
local before = tonumber(redis.call('ZSCORE', key, address))
local isNew = not before or before <= now
if isNew and limit and redis.call('ZCOUNT', key, '(' .. ARGV[1], '+inf') >= limit then return 'full' end
if not before or before < tonumber(expires) then redis.call('ZADD', key, expires, address) end
redis.call('ZREMRANGEBYSCORE', key, '-inf', ARGV[1])
local last = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
if last[2] then removeAt(last[2]) end
return 'added'
`);

/** ARGV[3]: address. Replies `removed`, also where it wasn't there. */
export const INDEX_REMOVE: Script = script(`${WRITE}
if kind == 'zset' then redis.call('ZREM', key, ARGV[3]) end
return 'removed'
`);

/** ARGV[1]: now. Replies with the addresses. */
export const INDEX_KEYS: Script = script(`
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then return {} end
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf')
`);

function script(source: string): Script {
  return { source, sha: createHash('sha1').update(source).digest('hex') };
}

/**
 * What each write says first: the time, and a random idempotency key. The record remembers the key, so that an update which
 * arrives twice, since the connection broke before its reply, is carried out once.
 */
export function stamp(): [now: string, name: string] {
  if (names.length === 0)
    names =
      randomBytes(6 * 256)
        .toString('base64url')
        .match(/.{8}/g) ?? [];
  return [String(Date.now()), names.pop() as string];
}

/** In stock: a call for six random bytes takes as long as a call for hundreds. */
let names: string[] = [];
