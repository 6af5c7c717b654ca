-- Applies a delta to a shard, or refuses it whole. Says what core/fold.rs says; read that first.
--
-- All is checked before the first write, since Redis does not roll back. The work is in bulk commands. Numbers
-- travel as little-endian doubles: times and offsets are whole and below 2^53. A sum is `high * 10^15 + low`.
--
-- KEYS  those of a shard, in one slot; expiry and panes also name keys by a suffix, in the same slot
-- ARGV  fingerprint, rules, moves, rides, ride groups, fares, fare groups, cells, booked
-- reply {'applied', watermark} | {'refused', offset...} in the order of the moves | {'fingerprint', its}
--       | {'denied', command}; a watermark or an offset that is not there is ''

local meta, progress, pending, expiry, panes, frozen, books = unpack(KEYS)
local fingerprint, rules, moves, rides, ride_groups, fares, fare_groups, cells, booked = unpack(ARGV)
local window, slide, delay, within, known_rides, known_fares = struct.unpack('<dddddd', rules)

local call, sub, concat = redis.call, string.sub, table.concat
local pack_, unpack_ = struct.pack, struct.unpack
local CHUNK, CARRY, NONE = 3500, 1e15, -1

local function text(number)
  return string.format('%.0f', number)
end

-- Calls `command key` with the arguments of a list, a few thousand a time, and gathers what it returns.
local function bulk(command, key, list)
  if #list <= CHUNK then
    return call(command, key, unpack(list))
  end
  local all = {}
  for first = 1, #list, CHUNK do
    local last = math.min(first + CHUNK - 1, #list)
    local some = call(command, key, unpack(list, first, last))
    if type(some) == 'table' then
      for i = 1, #some do all[#all + 1] = some[i] end
    end
  end
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
  HSET = pending, HDEL = pending, HINCRBY = books, APPEND = expiry, STRLEN = expiry, GETRANGE = expiry,
  ZADD = expiry, ZREM = expiry, ZRANGE = panes, ZRANGEBYSCORE = expiry, DEL = panes,
}
for command, key in pairs(redis.acl_check_cmd and commands or {}) do
  if not redis.acl_check_cmd(command, key) then return {'denied', command} end
end

-- Pairs: sums by cell, a cell being the 8 bytes of its pane and the 2 of its place.

local low, high, trips = {}, {}, {}
local function count(cell, tip)
  local sum = (low[cell] or 0) + tip
  if sum >= CARRY then
    sum, high[cell] = sum - CARRY, (high[cell] or 0) + 1
  elseif sum <= -CARRY then
    sum, high[cell] = sum + CARRY, (high[cell] or 0) - 1
  end
  low[cell] = sum
  trips[cell] = (trips[cell] or 0) + 1
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

-- Meets the rides or the fares of the delta with what is pending. An item is an id and a value; a value is a
-- tag and a ride (end, pane, place) or a fare (start, tip), or after the tag B both.
local function meet(items, width, groups, topic, meets)
  if #items == 0 then return end
  local ids, n = {}, 0
  for i = 1, #items, width do
    n = n + 1
    ids[n] = sub(items, i, i + 7)
  end
  local found = bulk('HMGET', pending, ids)
  local put, puts, gone = {}, 0, {}
  local waits, late, duplicates, joined = 0, 0, 0, 0
  local item, group = 0, 1
  while group <= #groups do
    local expires, size
    expires, size, group = unpack_('<dd', groups, group)
    local open = not watermark or watermark < expires
    local leave, leaves = {}, 0
    for k = item + 1, item + size do
      local value, i = found[k], (k - 1) * width + 9
      local keep, joins, duplicate
      if value then
        keep, joins, duplicate = meets(value, i)
      else
        keep = sub(items, i, i + width - 9)
      end
      if joins then
        joined = joined + 1
        if keep then
          puts = puts + 2
          put[puts - 1], put[puts] = ids[k], keep
        else
          gone[#gone + 1] = ids[k]
        end
      elseif duplicate then
        duplicates = duplicates + 1
      elseif open then
        waits = waits + 1
        puts = puts + 2
        put[puts - 1], put[puts] = ids[k], keep
        leaves = leaves + 1
        leave[leaves] = ids[k]
      else
        late = late + 1
      end
    end
    item = item + size
    if leaves > 0 then
      local name = text(expires)
      if call('APPEND', expiry .. ':' .. name, concat(leave)) == leaves * 8 then
        call('ZADD', expiry, name, name)
      end
    end
  end
  if puts > 0 then bulk('HSET', pending, put) end
  if #gone > 0 then bulk('HDEL', pending, gone) end
  local other = topic == 'r' and 'f' or 'r'
  book(topic .. 'P', waits)
  book(other .. 'P', -joined)
  book(topic .. 'D', duplicates)
  book(topic .. 'L', late)
end

local function joins(start, finish)
  return start < finish and finish <= start + within
end

meet(rides, 27, ride_groups, 'r', function(value, i)
  local tag = sub(value, 1, 1)
  if tag == 'R' then return nil, false, true end
  local fare = sub(value, -16)
  local start, tip = unpack_('<dd', fare)
  if joins(start, (unpack_('<d', rides, i + 1))) then
    count(sub(rides, i + 9, i + 18), tip)
    return tag == 'B' and 'R' .. sub(value, 2, 19) or nil, true
  end
  return 'B' .. sub(rides, i + 1, i + 18) .. fare, false, tag == 'B'
end)

meet(fares, 25, fare_groups, 'f', function(value, i)
  local tag = sub(value, 1, 1)
  if tag == 'F' then return nil, false, true end
  local start, tip = unpack_('<dd', fares, i + 1)
  if joins(start, (unpack_('<d', value, 2))) then
    count(sub(value, 10, 19), tip)
    return tag == 'B' and 'F' .. sub(value, -16) or nil, true
  end
  return 'B' .. sub(value, 2, 19) .. sub(fares, i + 1, i + 16), false, tag == 'B'
end)

at = 1
while at <= #cells do
  local cell, h, l, n
  cell, h, l, n, at = unpack_('<c10ddd', cells, at)
  count(cell, l)
  high[cell] = (high[cell] or 0) + h
  trips[cell] = trips[cell] - 1 + n
end

-- Sums go to their panes, by the watermark that stood before.

local function carry(h, l)
  local over = (l - math.fmod(l, CARRY)) / CARRY
  return h + over, l - over * CARRY
end

local by_pane = {}
for cell in pairs(trips) do
  local pane = sub(cell, 1, 8)
  by_pane[pane] = by_pane[pane] or {}
  table.insert(by_pane[pane], sub(cell, 9, 10))
end
for bytes, places in pairs(by_pane) do
  local pane, n = unpack_('<d', bytes), 0
  for _, place in ipairs(places) do n = n + trips[bytes .. place] end
  if watermark and pane + window <= watermark then
    book('rL', n)
    book('fL', n)
  else
    book('rJ', n)
    book('fJ', n)
    local name = text(pane)
    local key = panes .. ':' .. name
    local before, after = bulk('HMGET', key, places), {}
    for k, place in ipairs(places) do
      local cell = bytes .. place
      local h, l, t = 0, 0, 0
      if before[k] then h, l, t = unpack_('<ddd', before[k]) end
      h, l = carry(h + (high[cell] or 0), l + low[cell])
      after[2 * k - 1], after[2 * k] = place, pack_('<ddd', h, l, t + trips[cell])
    end
    bulk('HSET', key, after)
    call('ZADD', panes, name, name)
  end
end

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
  local starts, ends, sums = call('ZRANGE', panes, 0, -1), {}, {}
  for _, name in ipairs(starts) do
    for finish = tonumber(name) + slide, tonumber(name) + window, slide do
      if finish <= now and (not watermark or watermark < finish) then ends[finish] = true end
    end
    sums[tonumber(name)] = false
  end
  for finish in pairs(ends) do
    local h, l, n, order = {}, {}, {}, {}
    for pane = finish - window, finish - slide, slide do
      if sums[pane] == false then sums[pane] = call('HGETALL', panes .. ':' .. text(pane)) end
      local all = sums[pane] or {}
      for i = 1, #all, 2 do
        local place = all[i]
        local ph, pl, pn = unpack_('<ddd', all[i + 1])
        if not n[place] then
          h[place], l[place], n[place] = 0, 0, 0
          order[#order + 1] = place
        end
        h[place], l[place] = carry(h[place] + ph, l[place] + pl)
        n[place] = n[place] + pn
      end
    end
    for i, place in ipairs(order) do
      order[i] = pack_('<c2ddd', place, h[place], l[place], n[place])
    end
    call('HSET', frozen, text(finish - window), concat(order))
  end
  for _, name in ipairs(starts) do
    if tonumber(name) + window <= now then
      call('DEL', panes .. ':' .. name)
      call('ZREM', panes, name)
    end
  end
end

local function ride_expires(value)
  return unpack_('<d', value, 10) + window
end

local function fare_expires(value)
  local finish = unpack_('<d', value, #value - 15) + within
  return finish - finish % slide + window
end

local function leave(now, ids)
  local found, put, gone, seen = bulk('HMGET', pending, ids), {}, {}, {}
  for k, value in ipairs(found) do
    -- An id that waited, joined and waited again is in the list twice.
    if value and not seen[ids[k]] then
      seen[ids[k]] = true
      local tag = sub(value, 1, 1)
      local ride, fare = tag ~= 'F', tag ~= 'R'
      local keep_ride = ride and now < ride_expires(value)
      local keep_fare = fare and now < fare_expires(value)
      if ride and not keep_ride then book('rU', 1) book('rP', -1) end
      if fare and not keep_fare then book('fU', 1) book('fP', -1) end
      if not keep_ride and not keep_fare then
        gone[#gone + 1] = ids[k]
      elseif tag == 'B' and not (keep_ride and keep_fare) then
        put[#put + 1] = ids[k]
        put[#put + 1] = keep_ride and 'R' .. sub(value, 2, 19) or 'F' .. sub(value, -16)
      end
    end
  end
  if #put > 0 then call('HSET', pending, unpack(put)) end
  if #gone > 0 then call('HDEL', pending, unpack(gone)) end
end

local function expire(now)
  for _, name in ipairs(call('ZRANGEBYSCORE', expiry, '-inf', text(now))) do
    local key = expiry .. ':' .. name
    local length = call('STRLEN', key)
    for first = 0, length - 1, 8 * CHUNK do
      local some, ids = call('GETRANGE', key, first, first + 8 * CHUNK - 1), {}
      for i = 1, #some, 8 do ids[#ids + 1] = sub(some, i, i + 7) end
      leave(now, ids)
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
