"""The Lua scripts that count in Redis: one round trip before a request, one after it.

Of each subject there are two keys: a hash with the minute windows and the calendar periods, and a sorted set
of the places in flight, which end by themselves when their gateway does not renew them. Of each gateway there
is a hash of its open reservations with their seconds, so that each is taken once and settled once however
often it is asked for: what is in it is not taken again, what is not in it is not settled again. Its field `g`
names Redis's memory: where that is another than the reservation was made in, Redis has forgotten the
reservation and it is counted in full. An id with the value '' is spent: it can be neither taken nor settled.

A window is a ring of 61 slots, the current second and the sixty before it, with its sum beside it, so that a
call costs the same however much was asked before. All keys carry one hash tag, so that a script's keys lie in
one slot of a cluster. Redis's own clock counts; those of the gateways play no part.
"""

CLOCK = "redis.call('TIME')"
"""Tests put another clock in its place."""

_CALENDAR = """
local floor, call = math.floor, redis.call
local names = {[4] = 'd', [5] = 'a', [6] = 'b', [7] = 'c'}
local numbers = {[4] = 'dn', [5] = 'an', [6] = 'bn', [7] = 'cn'}
-- Months since the year 0 of a day since 1970 (Howard Hinnant's civil_from_days).
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
-- The numbers of the periods that a second lies in, by limit.
local function periods_at(second)
  local day = floor(second / 86400)
  return {0, 0, 0, day, day, floor((day + 3) / 7), month_of(day)}
end
"""

RESERVE = (
    _CALENDAR
    + """
-- KEYS: open reservations, then hash and set of each subject.
-- ARGV: id, lease in ms, tokens, cost, take (1) or look (0), then of each subject the seven limits (-1: none)
-- and the four seeds of its calendar counters ('' where they were not asked for; '?' where nobody can tell:
-- then a counter begins with 0 if that of the period before is there, as it has counted all along).
-- Returns {code, second, micro, subject, limit, wait in us, then of each subject r, t, last second with
-- requests, with tokens, in flight, and the four calendar counters}.
-- Codes: 0 refused, 1 taken, 2 seeds missing, 3 the id is spent or taken already.
local now = redis.call('TIME')
local second, micro = tonumber(now[1]), tonumber(now[2])
local tokens, cost, take = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1'
local subjects = (#KEYS - 1) / 2
local amount = {1, tokens, 1, tokens, cost, cost, cost}
local period = periods_at(second)

-- Brings a subject's ring to the current second; returns what has left it of r and t.
local function gone(key, s)
  local fields, r, t = {}, 0, 0
  for i = s + 1, math.min(second, s + 61) do
    fields[#fields + 1] = 'r' .. i % 61
    fields[#fields + 1] = 't' .. i % 61
  end
  local old = call('HMGET', key, unpack(fields))
  for i = 1, #old, 2 do r, t = r + (tonumber(old[i]) or 0), t + (tonumber(old[i + 1]) or 0) end
  call('HDEL', key, unpack(fields))
  return r, t
end

local state, missing = {}, false
for n = 1, subjects do
  local key, places, at = KEYS[2 * n], KEYS[2 * n + 1], 5 + (n - 1) * 11
  local slot = second % 61
  local v = call('HMGET', key, 's', 'r', 't', 'lr', 'lt', 'd', 'dn', 'a', 'an', 'b', 'bn', 'c', 'cn',
    'r' .. slot, 't' .. slot)
  local s, r, t = tonumber(v[1]) or 0, tonumber(v[2]) or 0, tonumber(v[3]) or 0
  local slot_r, slot_t, fresh = tonumber(v[14]) or 0, tonumber(v[15]) or 0, s < second
  if fresh then
    if r ~= 0 or t ~= 0 then
      local old_r, old_t = gone(key, s)
      r, t = r - old_r, t - old_t
    end
    s, slot_r, slot_t = second, 0, 0
  elseif s > second then
    -- The clock has gone back: the newest slot goes on.
    slot = s % 61
    local w = call('HMGET', key, 'r' .. slot, 't' .. slot)
    slot_r, slot_t = tonumber(w[1]) or 0, tonumber(w[2]) or 0
  end
  local limit, used, seeded = {}, {r, t, 0, 0, 0, 0, 0}, false
  for i = 1, 7 do limit[i] = tonumber(ARGV[at + i]) end
  if limit[3] >= 0 then
    call('ZREMRANGEBYSCORE', places, '-inf', second * 1000 + floor(micro / 1000))
    used[3] = call('ZCARD', places)
  end
  for i = 4, 7 do
    if limit[i] >= 0 then
      if tonumber(v[2 * i - 1]) == period[i] then
        used[i] = tonumber(v[2 * i - 2]) or 0
      else
        local seed = ARGV[at + 4 + i]
        if seed == '?' and tonumber(v[2 * i - 1]) == period[i] - 1 then seed = '0' end
        if tonumber(seed) then used[i], seeded = tonumber(seed), true else missing = true end
      end
    end
  end
  state[n] = {key = key, places = places, s = s, limit = limit, used = used, fresh = fresh, seeded = seeded,
    lr = tonumber(v[4]) or 0, lt = tonumber(v[5]) or 0, slot = slot, slot_r = slot_r, slot_t = slot_t}
end

-- Seconds until the call fits under limit i, in us.
local function wait_for(one, i)
  local us = second * 1000000 + micro
  if i == 3 then return 1000000 end
  if i <= 2 then
    local letter, excess, fields = i == 1 and 'r' or 't', one.used[i] + amount[i] - one.limit[i], {}
    for s = one.s - 60, one.s do fields[#fields + 1] = letter .. s % 61 end
    local slots = call('HMGET', one.key, unpack(fields))
    for k = 1, 61 do
      excess = excess - (tonumber(slots[k]) or 0)
      if excess <= 0 then return (one.s - 60 + k - 1 + 61) * 1000000 - us end
    end
    return 61000000
  end
  local day = period[4]
  local ends = day + 1
  if i == 6 then ends = (period[6] + 1) * 7 - 3 end
  if i == 7 then
    ends = day + 28
    while month_of(ends) == period[7] do ends = ends + 1 end
    while month_of(ends - 1) ~= period[7] do ends = ends - 1 end
  end
  return ends * 86400000000 - us
end

local code, who, what, worst = 1, 0, 0, 0
if missing then code = 2 end
if code == 1 and take then
  for n = 1, subjects do
    local one = state[n]
    for i = 1, 7 do
      if one.limit[i] >= 0 and one.used[i] + amount[i] > one.limit[i] then
        local wait = wait_for(one, i)
        if wait > worst then code, who, what, worst = 0, n, i, wait end
      end
    end
  end
  if code == 1 then
    if call('HSETNX', KEYS[1], ARGV[1], second) == 0 then code = 3 else call('EXPIRE', KEYS[1], 86400) end
  end
end

local taking, lease = code == 1 and take, tonumber(ARGV[2])
local reply = {code, second, micro, who, what, worst}
for n = 1, subjects do
  local one = state[n]
  local limit, used, long = one.limit, one.used, false
  if taking then
    for i = 1, 7 do if limit[i] >= 0 then used[i] = used[i] + amount[i] end end
  end
  if taking or one.fresh or one.seeded then
    local set = {'s', one.s, 'r', used[1], 't', used[2]}
    local k = 6
    if taking and limit[1] >= 0 then
      one.lr = one.s
      set[7], set[8], set[9], set[10], k = 'lr', one.s, 'r' .. one.slot, one.slot_r + 1, 10
    end
    if taking and limit[2] >= 0 then
      one.lt = one.s
      set[k + 1], set[k + 2], set[k + 3], set[k + 4] = 'lt', one.s, 't' .. one.slot, one.slot_t + tokens
      k = k + 4
    end
    for i = 4, 7 do
      if limit[i] >= 0 then
        long = true
        if code ~= 2 then
          set[k + 1], set[k + 2], set[k + 3], set[k + 4] = names[i], used[i], numbers[i], period[i]
          k = k + 4
        end
      end
    end
    call('HSET', one.key, unpack(set))
    if one.fresh or one.seeded then call('EXPIRE', one.key, long and 3024000 or 120) end
  end
  if taking and limit[3] >= 0 then
    call('ZADD', one.places, second * 1000 + floor(micro / 1000) + lease, ARGV[1])
    if one.fresh or used[3] == 1 then call('PEXPIRE', one.places, lease + 2000) end
  end
  local m = #reply
  reply[m + 1], reply[m + 2], reply[m + 3], reply[m + 4] = used[1], used[2], one.lr, one.lt
  for i = 3, 7 do reply[m + 2 + i] = used[i] end
end
return reply
"""
)

SETTLE = (
    _CALENDAR
    + """
-- KEYS: open reservations, then hash and set of each subject.
-- ARGV: id, mode, requests, tokens and cost to add, the second of the reservation, the name of the memory it
-- was made in, its tokens and cost in full, whether calendar counters that are missing begin with it (1) or
-- with what is recorded (0), then of each subject which of the seven limits it has, as digits 0 and 1.
-- Modes: `settle`; `undo`, for one that was perhaps taken and is not to be any more; `pay`, for what was used
-- while Redis was away.
-- Returns 0 where that was done before, 1 where it is done now, 2 if its id is kept as spent, too.
local id, mode = ARGV[1], ARGV[2]
local requests, tokens, cost = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local at, begin, done = tonumber(ARGV[6]), ARGV[10] == '1', 1
local found = call('HGET', KEYS[1], id)
if found == '' then return 0 end
if found then
  at = tonumber(found)
  call('HDEL', KEYS[1], id)
else
  if mode == 'settle' then
    if call('HGET', KEYS[1], 'g') == ARGV[7] then return 0 end
    requests, tokens, cost = 1, tonumber(ARGV[8]), tonumber(ARGV[9])
  end
  call('HSET', KEYS[1], id, '')
  call('EXPIRE', KEYS[1], 86400)
  if mode == 'undo' then return 2 end
  done = 2
end
local period = periods_at(at)
for n = 1, (#KEYS - 1) / 2 do
  local key, has = KEYS[2 * n], ARGV[10 + n]
  if has:byte(3) == 49 then call('ZREM', KEYS[2 * n + 1], id) end
  if requests ~= 0 or tokens ~= 0 or cost ~= 0 then
    local slot = at % 61
    local v = call('HMGET', key, 's', 'r', 't', 'd', 'dn', 'a', 'an', 'b', 'bn', 'c', 'cn',
      'r' .. slot, 't' .. slot)
    local s, set = tonumber(v[1]), {}
    if s and s - at < 61 and at <= s then
      if requests ~= 0 and has:byte(1) == 49 then
        set[1], set[2], set[3] = 'r', (tonumber(v[2]) or 0) + requests, 'r' .. slot
        set[4] = (tonumber(v[12]) or 0) + requests
      end
      if tokens ~= 0 and has:byte(2) == 49 then
        local k = #set
        set[k + 1], set[k + 2], set[k + 3] = 't', (tonumber(v[3]) or 0) + tokens, 't' .. slot
        set[k + 4] = (tonumber(v[13]) or 0) + tokens
      end
    end
    for i = 4, 7 do
      local more = i == 4 and tokens or cost
      if more ~= 0 and has:byte(i) == 49 then
        local k, used, number = #set, tonumber(v[2 * i - 4]) or 0, tonumber(v[2 * i - 3]) or -1
        if number == period[i] then
          set[k + 1], set[k + 2] = names[i], used + more
        elseif begin and done == 2 and number < period[i] then
          set[k + 1], set[k + 2], set[k + 3], set[k + 4] = names[i], more, numbers[i], period[i]
        end
      end
    end
    if #set > 0 then
      call('HSET', key, unpack(set))
      if begin and done == 2 then call('EXPIRE', key, 3024000) end
    end
  end
end
return done
"""
)

RENEW = """
-- KEYS: sets of places in flight. ARGV: lease in ms, then the id that is to stay in each.
local now = redis.call('TIME')
local lease = tonumber(ARGV[1])
local ends = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) + lease
for n = 1, #KEYS do
  redis.call('ZADD', KEYS[n], ends, ARGV[n + 1])
  redis.call('PEXPIRE', KEYS[n], lease + 2000)
end
"""
