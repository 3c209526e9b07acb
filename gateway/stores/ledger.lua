-- One atomic step of the privacy ledger: reserve, settle, cap, or read. All of an account's keys share one hash tag.
--
-- KEYS  1 meta (hash)     signature, last (ms), spent:i, life:i, cap:i (an operator's override)
--       2 entries (zset)  reservation id -> admission time in ms
--       3 amounts (hash)  reservation id -> "R|a,b" reserved, "S|a,b" settled
--       4 history (hash)  "day|i" -> amount, by UTC day of admission
-- ARGV  1 operation  2 now in ms, or "" for this server's clock  3 signature  4 window kind  5 period, or length in ms
--       6 caps "a,b"  7 reservation id  8 amounts "a,b" (for cap: the overrides, "-" for a coordinate that has none)
-- Returns {status, now_ms, resets_ms, spent "a,b", life "a,b", caps "a,b"}; status: ok, exceeded, changed, unknown, over.
--
-- The time never runs backwards for an account: an earlier clock reading is replaced by the latest one seen. Settling can only lower an
-- amount, once. Nothing is removed but what has left the window.

local function split(text)
  local out = {}
  for part in string.gmatch(text, "[^,]+") do out[#out + 1] = tonumber(part) end
  return out
end

local function join(values)
  local out = {}
  for i, v in ipairs(values) do out[i] = string.format("%.0f", v) end
  return table.concat(out, ",")
end

-- Days since 1970-01-01 of the first day of the month that holds `days`, and of the next month (proleptic Gregorian calendar).
local function month_of(days)
  local function first(y, m)
    if m <= 2 then y = y - 1 end
    local era = math.floor(y / 400)
    local yoe = y - era * 400
    local shifted = m > 2 and m - 3 or m + 9
    local doy = math.floor((153 * shifted + 2) / 5)
    return era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy - 719468
  end
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local m = mp < 10 and mp + 3 or mp - 9
  local y = yoe + era * 400
  if m <= 2 then y = y + 1 end
  if m == 12 then return first(y, m), first(y + 1, 1) end
  return first(y, m), first(y, m + 1)
end

-- [start, end) of the calendar period that holds `now`, in ms.
local function period_of(now, period)
  local hour, day = 3600000, 86400000
  if period == "hour" then local s = now - now % hour; return s, s + hour end
  if period == "day" then local s = now - now % day; return s, s + day end
  local days = math.floor(now / day)
  if period == "week" then local monday = days - (days + 3) % 7; return monday * day, (monday + 7) * day end
  local from, to = month_of(days)
  return from * day, to * day
end

local op, signature, kind, period = ARGV[1], ARGV[3], ARGV[4], ARGV[5]
local meta, entries, amounts, history = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local caps = split(ARGV[6])

local now = tonumber(ARGV[2])
if not now then
  local t = redis.call("TIME")
  now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end
now = math.max(now, tonumber(redis.call("HGET", meta, "last") or "0"))

local function counters(name)
  local out = {}
  for i = 1, #caps do out[i] = tonumber(redis.call("HGET", meta, name .. ":" .. i) or "0") end
  return out
end

for i = 1, #caps do
  local override = redis.call("HGET", meta, "cap:" .. i)
  if override then caps[i] = tonumber(override) end
end

local from, to
if kind == "calendar" then from, to = period_of(now, period) else from, to = now - tonumber(period) + 1, nil end

local function answer(status, resets)
  return {status, string.format("%.0f", now), string.format("%.0f", resets or to or now),
          join(counters("spent")), join(counters("life")), join(caps)}
end

local kept = redis.call("HGET", meta, "signature")
if kept and kept ~= signature then return answer("changed") end

if op == "read" then
  -- Reading changes nothing: what has left the window is left out of the sum, not removed.
  local gone = redis.call("ZRANGEBYSCORE", entries, "-inf", "(" .. string.format("%.0f", from))
  local spent = counters("spent")
  for _, id in ipairs(gone) do
    local a = split(string.sub(redis.call("HGET", amounts, id), 3))
    for i = 1, #caps do spent[i] = spent[i] - a[i] end
  end
  return {"ok", string.format("%.0f", now), string.format("%.0f", to or now), join(spent), join(counters("life")), join(caps)}
end

redis.call("HSET", meta, "signature", signature, "last", string.format("%.0f", now))
for _, id in ipairs(redis.call("ZRANGEBYSCORE", entries, "-inf", "(" .. string.format("%.0f", from))) do
  local a = split(string.sub(redis.call("HGET", amounts, id), 3))
  for i = 1, #caps do redis.call("HINCRBY", meta, "spent:" .. i, string.format("%.0f", 0 - a[i])) end
  redis.call("HDEL", amounts, id)
  redis.call("ZREM", entries, id)
end

if op == "cap" then
  -- An override is kept under the signature: it counts the same quantity as the cap that it stands for.
  local i = 0
  for text in string.gmatch(ARGV[8], "[^,]+") do
    i = i + 1
    if text == "-" then redis.call("HDEL", meta, "cap:" .. i) else redis.call("HSET", meta, "cap:" .. i, text) end
    local override = redis.call("HGET", meta, "cap:" .. i)
    caps[i] = tonumber(override) or split(ARGV[6])[i]
  end
  return answer("ok")
end

local id, wanted = ARGV[7], split(ARGV[8])
local held = redis.call("HGET", amounts, id)

local function add(delta, day)
  for i = 1, #caps do
    local d = string.format("%.0f", delta[i])
    redis.call("HINCRBY", meta, "spent:" .. i, d)
    redis.call("HINCRBY", meta, "life:" .. i, d)
    redis.call("HINCRBY", history, day .. "|" .. i, d)
  end
end

local function day_of(ms) return string.format("%.0f", math.floor(ms / 86400000)) end

if op == "reserve" then
  if held then return answer("ok") end -- the same reservation again: a retry of a call whose answer was lost
  local spent = counters("spent")
  local function fits()
    for i = 1, #caps do if spent[i] + wanted[i] > caps[i] then return false end end
    return true
  end
  if not fits() then
    if kind == "calendar" then return answer("exceeded", to) end
    for _, old in ipairs(redis.call("ZRANGEBYSCORE", entries, "-inf", "+inf")) do
      local a = split(string.sub(redis.call("HGET", amounts, old), 3))
      for i = 1, #caps do spent[i] = spent[i] - a[i] end
      if fits() then return answer("exceeded", tonumber(redis.call("ZSCORE", entries, old)) + tonumber(period)) end
    end
    return answer("exceeded", now + tonumber(period))
  end
  redis.call("ZADD", entries, string.format("%.0f", now), id)
  redis.call("HSET", amounts, id, "R|" .. ARGV[8])
  add(wanted, day_of(now))
  return answer("ok")
end

-- settle
if not held then return answer("unknown") end
if string.sub(held, 1, 1) == "S" then return answer("ok") end
local reserved, delta = split(string.sub(held, 3)), {}
for i = 1, #caps do
  if wanted[i] > reserved[i] then return answer("over") end
  delta[i] = wanted[i] - reserved[i]
end
redis.call("HSET", amounts, id, "S|" .. ARGV[8])
add(delta, day_of(tonumber(redis.call("ZSCORE", entries, id))))
return answer("ok")
