"""The Lua scripts that count in Redis: one round trip before a request, one after it.

Of each subject there are two keys: a hash with the minute windows and the calendar periods, and a sorted set
of the places in flight, which end by themselves when their gateway does not renew them. Of each gateway
there is a hash of its open reservations with their seconds: what is not in it any more is not settled again,
and what never got into it is not taken back. All keys carry one hash tag: one node of a cluster has them.

A window is a ring of 61 slots, the current second and the sixty before it, with its sum beside it, so that a
call costs the same however much was asked before.
"""

RING = 61
CLOCK = "redis.call('TIME')"
"""Tests put another clock in its place; the gateways' own clocks play no part."""

_COMMON = """
local now = redis.call('TIME')
local second, micro = tonumber(now[1]), tonumber(now[2])
local floor = math.floor
local day = floor(second / 86400)
local week = floor((day + 3) / 7)
local function month_of(days)
  local z = days + 719468
  local era = floor(z / 146097)
  local doe = z - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local mp = floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  return (yoe + era * 400 + (month <= 2 and 1 or 0)) * 12 + month - 1
end
local month = month_of(day)
local period = {0, 0, 0, day, day, week, month}
local names = {[4] = 'd', [5] = 'a', [6] = 'b', [7] = 'c'}
local numbers = {[4] = 'dn', [5] = 'an', [6] = 'bn', [7] = 'cn'}

-- Brings a subject's windows to the current second; returns the second, and both sums.
local function advance(key, s, r, t)
  if s >= second then return s, r, t end
  if r == 0 and t == 0 then return second, 0, 0 end
  if second - s >= 61 then
    local old = {}
    for i = 0, 60 do old[#old + 1] = 'r' .. i; old[#old + 1] = 't' .. i end
    redis.call('HDEL', key, unpack(old))
    return second, 0, 0
  end
  local fields = {}
  for i = s + 1, second do fields[#fields + 1] = 'r' .. i % 61; fields[#fields + 1] = 't' .. i % 61 end
  local gone = redis.call('HMGET', key, unpack(fields))
  for i = 1, #gone, 2 do r = r - (tonumber(gone[i]) or 0); t = t - (tonumber(gone[i + 1]) or 0) end
  redis.call('HDEL', key, unpack(fields))
  return second, r, t
end
"""

RESERVE = (
    _COMMON
    + """
-- KEYS: open reservations, then hash and set of each subject.
-- ARGV: id, lease in ms, tokens, cost, take (1) or look (0), then of each subject the seven limits (-1: none)
-- and the four seeds of its calendar counters ('' where they were not asked for).
-- Returns {code, second, micro, subject, limit, wait in us, then of each subject r, t, last second with
-- requests, with tokens, in flight, and the four calendar counters}.
-- Codes: 0 refused, 1 taken, 2 seeds missing.
local id, lease = ARGV[1], tonumber(ARGV[2])
local tokens, cost, take = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1'
local subjects = (#KEYS - 1) / 2
local ms = second * 1000 + floor(micro / 1000)
local us = second * 1000000 + micro
local amount = {1, tokens, 1, tokens, cost, cost, cost}
local state, missing = {}, false
for n = 1, subjects do
  local key, places, at = KEYS[2 * n], KEYS[2 * n + 1], 5 + (n - 1) * 11
  local v = redis.call('HMGET', key, 's', 'r', 't', 'lr', 'lt', 'd', 'dn', 'a', 'an', 'b', 'bn', 'c', 'cn')
  local one = {key = key, places = places, limit = {}, used = {}, seeded = {}}
  one.lr, one.lt = tonumber(v[4]) or 0, tonumber(v[5]) or 0
  one.s, one.r, one.t = advance(key, tonumber(v[1]) or 0, tonumber(v[2]) or 0, tonumber(v[3]) or 0)
  for i = 1, 7 do one.limit[i] = tonumber(ARGV[at + i]) end
  one.used[1], one.used[2], one.used[3] = one.r, one.t, 0
  if one.limit[3] >= 0 then
    redis.call('ZREMRANGEBYSCORE', places, '-inf', ms)
    one.used[3] = redis.call('ZCARD', places)
  end
  for i = 4, 7 do
    one.used[i] = 0
    if one.limit[i] >= 0 then
      if tonumber(v[5 + 2 * (i - 3)]) == period[i] then
        one.used[i] = tonumber(v[4 + 2 * (i - 3)]) or 0
      else
        local seed = ARGV[at + 4 + i]
        if seed == '' then missing = true else one.used[i] = tonumber(seed); one.seeded[i] = true end
      end
    end
  end
  state[n] = one
end
local code, who, what, worst = 1, 0, 0, 0
if missing then code = 2 end
for n = 1, subjects do
  local one = state[n]
  redis.call('HSET', one.key, 's', one.s, 'r', one.r, 't', one.t)
  if code ~= 2 and take then
    for i = 1, 7 do
      local most = one.limit[i]
      if most >= 0 and one.used[i] + amount[i] > most then
        local wait = 1000000
        if i <= 2 then
          local letter, excess = i == 1 and 'r' or 't', one.used[i] + amount[i] - most
          local fields = {}
          for s = one.s - 60, one.s do fields[#fields + 1] = letter .. s % 61 end
          local slots = redis.call('HMGET', one.key, unpack(fields))
          wait = 61000000
          for k = 1, 61 do
            excess = excess - (tonumber(slots[k]) or 0)
            if excess <= 0 then wait = (one.s - 60 + k - 1 + 61) * 1000000 - us; break end
          end
        elseif i >= 4 then
          local ends = (day + 1) * 86400
          if i == 6 then ends = ((week + 1) * 7 - 3) * 86400 end
          if i == 7 then
            local d = day + 28
            while month_of(d) == month do d = d + 1 end
            while month_of(d - 1) ~= month do d = d - 1 end
            ends = d * 86400
          end
          wait = ends * 1000000 - us
        end
        if wait > worst then code, who, what, worst = 0, n, i, wait end
      end
    end
  end
end
for n = 1, subjects do
  local one, long = state[n], false
  local taking = code == 1 and take
  for i = 4, 7 do
    if one.limit[i] >= 0 and code ~= 2 then
      long = true
      if taking then one.used[i] = one.used[i] + amount[i] end
      if taking or one.seeded[i] then
        redis.call('HSET', one.key, names[i], one.used[i], numbers[i], period[i])
      end
    end
  end
  if taking then
    local slot = one.s % 61
    if one.limit[1] >= 0 then
      one.used[1], one.lr = one.used[1] + 1, one.s
      redis.call('HINCRBY', one.key, 'r' .. slot, 1)
      redis.call('HSET', one.key, 'r', one.used[1], 'lr', one.s)
    end
    if one.limit[2] >= 0 then
      one.used[2], one.lt = one.used[2] + tokens, one.s
      redis.call('HINCRBY', one.key, 't' .. slot, tokens)
      redis.call('HSET', one.key, 't', one.used[2], 'lt', one.s)
    end
    if one.limit[3] >= 0 then
      one.used[3] = one.used[3] + 1
      redis.call('ZADD', one.places, ms + lease, id)
      redis.call('PEXPIRE', one.places, 2 * lease)
    end
  end
  redis.call('EXPIRE', one.key, long and 3024000 or 120)
end
if code == 1 and take then
  redis.call('HSET', KEYS[1], id, second)
  redis.call('EXPIRE', KEYS[1], 86400)
end
local reply = {code, second, micro, who, what, worst}
for n = 1, subjects do
  local one = state[n]
  reply[#reply + 1] = one.used[1]
  reply[#reply + 1] = one.used[2]
  reply[#reply + 1] = one.lr
  reply[#reply + 1] = one.lt
  for i = 3, 7 do reply[#reply + 1] = one.used[i] end
end
return reply
"""
)

SETTLE = (
    _COMMON
    + """
-- KEYS: open reservations, then hash and set of each subject.
-- ARGV: id, requests, tokens and cost to add, day, week, month of the reservation, then of each subject which
-- of the seven limits it has, as digits 0 and 1. Returns 1, or 0 where it was settled already.
local at = 0
if ARGV[1] ~= '' then
  at = redis.call('HGET', KEYS[1], ARGV[1])
  if not at then return 0 end
  at = tonumber(at)
  redis.call('HDEL', KEYS[1], ARGV[1])
end
local requests, tokens, cost = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local of = {[4] = ARGV[5], [5] = ARGV[5], [6] = ARGV[6], [7] = ARGV[7]}
for n = 1, (#KEYS - 1) / 2 do
  local key, places, has = KEYS[2 * n], KEYS[2 * n + 1], ARGV[7 + n]
  if has:byte(3) == 49 and ARGV[1] ~= '' then redis.call('ZREM', places, ARGV[1]) end
  if requests ~= 0 and has:byte(1) == 49 or tokens ~= 0 and has:byte(2) == 49 then
    local v = redis.call('HMGET', key, 's', 'r', 't')
    if v[1] then
      local s, r, t = advance(key, tonumber(v[1]), tonumber(v[2]) or 0, tonumber(v[3]) or 0)
      if s - at < 61 then
        if has:byte(1) == 49 and requests ~= 0 then
          r = r + requests
          redis.call('HINCRBY', key, 'r' .. at % 61, requests)
        end
        if has:byte(2) == 49 and tokens ~= 0 then
          t = t + tokens
          redis.call('HINCRBY', key, 't' .. at % 61, tokens)
        end
      end
      redis.call('HSET', key, 's', s, 'r', r, 't', t)
    end
  end
  for i = 4, 7 do
    local more = i == 4 and tokens or cost
    if has:byte(i) == 49 and more ~= 0 and redis.call('HGET', key, numbers[i]) == of[i] then
      redis.call('HINCRBY', key, names[i], more)
    end
  end
end
return 1
"""
)

RENEW = """
-- KEYS: sets of places in flight. ARGV: lease in ms, then the id that is to stay in each.
local now = redis.call('TIME')
local ms, lease = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000), tonumber(ARGV[1])
for n = 1, #KEYS do
  redis.call('ZADD', KEYS[n], 'XX', ms + lease, ARGV[n + 1])
  redis.call('PEXPIRE', KEYS[n], 2 * lease)
end
"""
