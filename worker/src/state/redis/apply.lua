-- Applies a delta to a shard, or refuses it whole. Says what core/fold.rs says; read that first.
--
-- All is checked before the first write, since Redis does not roll back. The work is in bulk commands; what a
-- record costs is mostly the strings that are made of it, so they are few and short. Numbers travel as
-- little-endian doubles: times and offsets are whole and below 2^53. A sum is `high * 10^15 + low`.
--
-- KEYS  those of a shard, in one slot; expiry also names keys by a suffix, in the same slot
-- ARGV  fingerprint, rules, moves, cells, booked, then of the rides and of the fares: ids, values, groups
-- reply {'applied', watermark} | {'refused', offset...} in the order of the moves | {'fingerprint', its}
--       | {'denied', command}; a watermark or an offset that is not there is ''

local meta, progress, pending, expiry, panes, frozen, books = unpack(KEYS)
local fingerprint, rules, moves, cells, booked = unpack(ARGV)
local ride_ids, rides, ride_groups, fare_ids, fares, fare_groups = unpack(ARGV, 6)
local window, slide, delay, within, known_rides, known_fares = struct.unpack('<dddddd', rules)

local call, sub, rep, concat = redis.call, string.sub, string.rep, table.concat
local pack_, unpack_ = struct.pack, struct.unpack
local CARRY, NONE = 1e15, -1
-- As many arguments as a command may have, and as many items as stay in the caches of a processor.
local CHUNK, SLICE = 7000, 1000
-- What is pending under an id, by its length: a ride (end, place), a fare (start, tip), or both, ride first.
local RIDE, FARE, BOTH = 10, 16, 26
local JOINED, DUPLICATE = 1, 2

local function text(number)
  return string.format('%.0f', number)
end

-- Calls `command key` with the arguments of a list, a few thousand a time, and gathers what it returns.
local function bulk(command, key, list)
  if #list <= CHUNK then
    return call(command, key, unpack(list))
  end
  local all, n = {}, 0
  for first = 1, #list, CHUNK do
    local some = call(command, key, unpack(list, first, math.min(first + CHUNK - 1, #list)))
    if type(some) == 'table' then
      for i = 1, #some do all[n + i] = some[i] end
      n = n + #some
    end
  end
  return all
end

-- `n` ids, after `skipped` ones.
local function cut(ids, skipped, n)
  local all = {unpack_(rep('c8', n), ids, skipped * 8 + 1)}
  all[n + 1] = nil -- where the last one ended
  return all
end

-- The claim: does the shard stand where the delta expects?

local held = call('HMGET', meta, 'fingerprint', 'watermark', 'rides', 'fares')
if held[1] and held[1] ~= fingerprint then
  return {'fingerprint', held[1]}
end
local stands = {}
local list = call('HGETALL', progress)
for i = 1, #list, 2 do stands[list[i]] = list[i + 1] end

local moved, agrees, offsets = {}, true, {'refused'}
local at = 1
while at <= #moves do
  local topic, index, from, to, max, idle
  topic, index, from, to, max, idle, at = unpack_('<c1I4dddB', moves, at)
  local name = topic .. index
  local value, stood, max_before = stands[name], NONE, NONE
  if value then stood, max_before = unpack_('<dd', value) end
  agrees = agrees and stood == from
  offsets[#offsets + 1] = stood == NONE and '' or text(stood)
  moved[#moved + 1] = name
  moved[#moved + 1] = pack_('<ddB', to, math.max(max, max_before), idle)
end
if not agrees then
  return offsets
end
local watermark = held[2] and tonumber(held[2])

-- A command that the user may not call would end the script half way. Redis can tell since 7.0.

local commands = {
  HSET = pending, HDEL = pending, HKEYS = panes, HINCRBY = books, APPEND = expiry, STRLEN = expiry,
  GETRANGE = expiry, ZADD = expiry, ZREM = expiry, ZRANGEBYSCORE = expiry, DEL = expiry,
}
for command, key in pairs(redis.acl_check_cmd and commands or {}) do
  if not redis.acl_check_cmd(command, key) then return {'denied', command} end
end

-- A hash begins as a list, searched from its front. One long value makes it a table for good.
if not held[1] then call('HSET', pending, '', rep(' ', 100)) end

-- Sums: by place {high, low, trips}; as bytes, one after the other, places with their sums.

local function count(sums, place, high, low, trips)
  local sum = sums[place]
  if not sum then
    sum = {0, 0, 0}
    sums[place] = sum
  end
  low = sum[2] + low
  if low >= CARRY then
    low, high = low - CARRY, high + 1
  elseif low <= -CARRY then
    low, high = low + CARRY, high - 1
  end
  sum[1], sum[2], sum[3] = sum[1] + high, low, sum[3] + trips
end

local function gather(sums, bytes)
  for i = 1, #bytes, 26 do count(sums, unpack_('<c2ddd', bytes, i)) end
  return sums
end

local function packed(sums)
  local done, list, n = '', {}, 0
  for place, sum in pairs(sums) do
    if n == 4 * SLICE then
      done, n = done .. pack_('<' .. rep('c2ddd', SLICE), unpack(list)), 0
    end
    list[n + 1], list[n + 2], list[n + 3], list[n + 4] = place, sum[1], sum[2], sum[3]
    n = n + 4
  end
  return done .. pack_('<' .. rep('c2ddd', n / 4), unpack(list, 1, n))
end

-- Pairs: by pane their sums.

local met = {}
local function sums_of(pane)
  met[pane] = met[pane] or {}
  return met[pane]
end
at = 1
while at <= #cells do
  local pane, place, high, low, trips
  pane, place, high, low, trips, at = unpack_('<dc2ddd', cells, at)
  count(met[pane] or sums_of(pane), place, high, low, trips)
end

-- The books, by the byte of a topic and the byte of an outcome.

local tally = {}
local function book(entry, records)
  tally[entry] = (tally[entry] or 0) + records
end
at = 1
while at <= #booked do
  local entry, records
  entry, records, at = unpack_('<c2d', booked, at)
  book(entry, records)
end

local function wait(expires, ids)
  local name = text(expires)
  if call('APPEND', expiry .. ':' .. name, ids) == #ids then call('ZADD', expiry, name, name) end
end

-- Meets the rides or the fares of the delta with what is pending. They are sorted by when they leave; a group
-- is that time and how many. `meets(waiting, at)` tells what of both waits from now on, and the outcome.
local function meet(all, values, groups, width, topic, other, meets)
  local n, done = #all / 8, 0
  local group_end, group_at, expires, open = 0, 1, nil, nil
  local waits, late, duplicates, joined = 0, 0, 0, 0
  while done < n do
    local first, slice_end = done, math.min(done + SLICE, n)
    local ids = cut(all, first, slice_end - first)
    local found = call('HMGET', pending, unpack(ids))
    local put, puts, gone, goes = {}, 0, {}, 0
    while done < slice_end do
      if done == group_end then
        local size
        expires, size, group_at = unpack_('<dd', groups, group_at)
        group_end = done + size
        open = not watermark or watermark < expires
      end
      local leave, leaves, last = {}, 0, math.min(group_end, slice_end)
      for k = done + 1, last do
        local id, waiting, value, outcome = ids[k - first], found[k - first], nil, nil
        if waiting then value, outcome = meets(waiting, (k - 1) * width + 1) end
        if outcome == JOINED then
          joined = joined + 1
          if not value then
            goes = goes + 1
            gone[goes] = id
          end
        elseif outcome == DUPLICATE then
          duplicates, value = duplicates + 1, nil
        elseif open then
          value = value or sub(values, (k - 1) * width + 1, k * width)
          leaves = leaves + 1
          leave[leaves] = id
        else
          late, value = late + 1, nil
        end
        if value then
          put[puts + 1], put[puts + 2] = id, value
          puts = puts + 2
        end
      end
      if leaves == last - done then
        wait(expires, sub(all, done * 8 + 1, last * 8))
      elseif leaves > 0 then
        wait(expires, concat(leave))
      end
      done, waits = last, waits + leaves
    end
    if puts > 0 then call('HSET', pending, unpack(put)) end
    if goes > 0 then call('HDEL', pending, unpack(gone)) end
  end
  book(topic .. 'P', waits)
  book(other .. 'P', -joined)
  book(topic .. 'D', duplicates)
  book(topic .. 'L', late)
end

-- Counts a pair, if it is one.
local function joins(start, tip, finish, place)
  if start >= finish or finish > start + within then return false end
  local pane = finish - finish % slide
  count(met[pane] or sums_of(pane), place, 0, tip, 1)
  return true
end

meet(ride_ids, rides, ride_groups, RIDE, 'r', 'f', function(waiting, at)
  if #waiting == RIDE then return nil, DUPLICATE end
  local start, tip = unpack_('<dd', waiting, #waiting - FARE + 1)
  if joins(start, tip, unpack_('<dc2', rides, at)) then
    return #waiting == BOTH and sub(waiting, 1, RIDE) or nil, JOINED
  end
  return sub(rides, at, at + RIDE - 1) .. sub(waiting, -FARE), #waiting == BOTH and DUPLICATE
end)

meet(fare_ids, fares, fare_groups, FARE, 'f', 'r', function(waiting, at)
  if #waiting == FARE then return nil, DUPLICATE end
  local start, tip = unpack_('<dd', fares, at)
  if joins(start, tip, unpack_('<dc2', waiting)) then
    return #waiting == BOTH and sub(waiting, -FARE) or nil, JOINED
  end
  return sub(waiting, 1, RIDE) .. sub(fares, at, at + FARE - 1), #waiting == BOTH and DUPLICATE
end)

-- They go to their panes, by the watermark that stood before.

local names, put = {}, {}
for pane, sums in pairs(met) do
  local open = not watermark or watermark < pane + window
  for _, sum in pairs(sums) do
    book(open and 'rJ' or 'rL', sum[3])
    book(open and 'fJ' or 'fL', sum[3])
  end
  if open then names[#names + 1] = text(pane) end
end
local before = #names > 0 and bulk('HMGET', panes, names)
for k, name in ipairs(names) do
  local sums = met[tonumber(name)]
  put[2 * k - 1], put[2 * k] = name, packed(before[k] and gather(sums, before[k]) or sums)
end
if #put > 0 then bulk('HSET', panes, put) end

-- The partitions move, and with them the watermark.

known_rides = math.max(known_rides, tonumber(held[3] or 0))
known_fares = math.max(known_fares, tonumber(held[4] or 0))
if #moved > 0 then bulk('HSET', progress, moved) end
for i = 1, #moved, 2 do stands[moved[i]] = moved[i + 1] end

local function reached()
  local least, greatest
  for topic, partitions in pairs({r = known_rides, f = known_fares}) do
    for index = 0, partitions - 1 do
      local value = stands[topic .. text(index)]
      if not value then return nil end
      local _, max, idle = unpack_('<ddB', value)
      if max ~= NONE then greatest = math.max(greatest or max, max) end
      if idle == 0 then
        if max == NONE then return nil end
        least = math.min(least or max, max)
      end
    end
  end
  least = least or greatest
  return least and least - delay
end

-- Windows close, panes and records leave.

local function freeze(now)
  local ends, needed, gone, put = {}, {}, {}, {}
  for _, name in ipairs(call('HKEYS', panes)) do
    local pane = tonumber(name)
    for finish = pane + slide, pane + window, slide do
      if finish <= now and (not watermark or watermark < finish) then ends[finish] = true end
    end
    if pane + slide <= now then needed[#needed + 1] = name end
    if pane + window <= now then gone[#gone + 1] = name end
  end
  if #needed == 0 then return end
  local sums = {}
  for k, bytes in ipairs(bulk('HMGET', panes, needed)) do
    sums[tonumber(needed[k])] = gather({}, bytes)
  end
  for finish in pairs(ends) do
    local all = {}
    for pane = finish - window, finish - slide, slide do
      for place, sum in pairs(sums[pane] or {}) do count(all, place, sum[1], sum[2], sum[3]) end
    end
    put[#put + 1] = text(finish - window)
    put[#put + 1] = packed(all)
  end
  if #put > 0 then bulk('HSET', frozen, put) end
  if #gone > 0 then bulk('HDEL', panes, gone) end
end

local function pane_closes(time)
  return time - time % slide + window
end

-- Of what waits under an id, what does so still.
local function stays(value, now)
  local ride = #value ~= FARE and sub(value, 1, RIDE) or ''
  local fare = #value ~= RIDE and sub(value, -FARE) or ''
  if ride ~= '' and pane_closes((unpack_('<d', ride))) <= now then
    book('rU', 1)
    book('rP', -1)
    ride = ''
  end
  if fare ~= '' and pane_closes(unpack_('<d', fare) + within) <= now then
    book('fU', 1)
    book('fP', -1)
    fare = ''
  end
  return ride .. fare
end

local function leave(ids, now)
  local found, put, gone, seen = call('HMGET', pending, unpack(ids)), {}, {}, {}
  for k = 1, #ids do
    local id, value = ids[k], found[k]
    -- An id that waited, joined and waited again is in the list twice.
    if value and not seen[id] then
      seen[id] = true
      local rest = stays(value, now)
      if rest == '' then
        gone[#gone + 1] = id
      elseif rest ~= value then
        put[#put + 1] = id
        put[#put + 1] = rest
      end
    end
  end
  if #put > 0 then call('HSET', pending, unpack(put)) end
  if #gone > 0 then call('HDEL', pending, unpack(gone)) end
end

local function expire(now)
  for _, name in ipairs(call('ZRANGEBYSCORE', expiry, '-inf', text(now))) do
    local key = expiry .. ':' .. name
    for first = 0, call('STRLEN', key) - 1, 8 * SLICE do
      local ids = call('GETRANGE', key, first, first + 8 * SLICE - 1)
      leave(cut(ids, 0, #ids / 8), now)
    end
    call('DEL', key)
    call('ZREM', expiry, name)
  end
end

local now = reached()
if now and (not watermark or watermark < now) then
  -- Windows end, and records leave, only on the grid of the slide.
  if not watermark or math.floor(watermark / slide) < math.floor(now / slide) then
    freeze(now)
    expire(now)
  end
  watermark = now
end

for entry, records in pairs(tally) do
  if records ~= 0 then call('HINCRBY', books, entry, text(records)) end
end
call('HSET', meta, 'fingerprint', fingerprint, 'rides', text(known_rides), 'fares', text(known_fares))
if not watermark then return {'applied', ''} end
call('HSET', meta, 'watermark', text(watermark))
return {'applied', text(watermark)}
