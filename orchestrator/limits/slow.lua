-- The provider refused a request as one too many: cut the pace of its kind.
--
-- KEYS[1]  orchestrator:{account}:pace:<kind>  hash of `top` (requests per second before the last
--                                       cut), `cut_at` and `arrival` (microseconds)
-- ARGV[1]  microseconds between two requests at the full rate
-- ARGV[2]  when the refused request was granted, by the clock of gcra.lua
-- ARGV[3]  microseconds to take for the time; empty is this server's clock
--
-- A request that was granted before the last cut says nothing about the pace since: however many
-- were on their way, they cut once. Returns 1 for a cut, else 0.

local now = tonumber(ARGV[3])
if not now then
  local clock = redis.call('TIME')
  now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
end
local full = 1000000 / tonumber(ARGV[1])
local rate = full
local known = redis.call('HMGET', KEYS[1], 'top', 'cut_at')
if known[1] then
  local cut_at = tonumber(known[2])
  -- A cut that lies ahead was made before the clock was set back.
  if tonumber(ARGV[2]) <= cut_at and cut_at <= now then
    return 0
  end
  rate = paced_rate(tonumber(known[1]), cut_at, full, now) or full
end
local top = math.max(rate, full * LEAST / CUT)
local apart = 1000000 / (top * CUT)
redis.call('HSET', KEYS[1], 'top', string.format('%.9f', top), 'cut_at', string.format('%.0f', now),
  'arrival', string.format('%.0f', now + SLACK + apart))
redis.call('PEXPIRE', KEYS[1], FORGET)
return 1
