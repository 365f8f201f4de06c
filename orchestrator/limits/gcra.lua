-- Leave to send some requests now: the account's gate, its rate (GCRA), and the pace of their kind.
--
-- KEYS[1]  orchestrator:{account}:gate  "timed|reason", "held|reason" or "buys|reason";
--                                       expires by itself
-- KEYS[2]  orchestrator:{account}:rate  theoretical arrival time of the next request, in
--                                       microseconds of this server's clock; expires once long past
-- KEYS[3]  orchestrator:{account}:pace:<kind>  what slow.lua wrote after a refusal, and `arrival`
--                                       as above for this kind; gone at the full rate
-- ARGV[1]  microseconds between two requests at the full rate; 0 is no limit
-- ARGV[2]  requests that may come at once (at least 1)
-- ARGV[3]  "ask" for a request that buys nothing: only a timed gate stops it
-- ARGV[4]  microseconds to take for the time; empty is this server's clock
-- ARGV[5]  how many requests are ready to be sent at once (at least 1)
--
-- Returns {"granted", microseconds of the clock, how many}, {"wait", microseconds} or
-- {"closed", milliseconds, gate}. What is granted together is what asking one by one at this
-- moment would have granted.
-- Over any t seconds at most rate * t + burst requests are granted.

local gate = redis.call('GET', KEYS[1])
if gate and not (ARGV[3] == 'ask' and string.sub(gate, 1, 6) ~= 'timed|') then
  return {'closed', redis.call('PTTL', KEYS[1]), gate}
end

local now = tonumber(ARGV[4])
if not now then
  local clock = redis.call('TIME')
  now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
end
local interval = tonumber(ARGV[1])
local count = tonumber(ARGV[5])
if interval == 0 then
  return {'granted', now, count}
end

local burst = tonumber(ARGV[2])
local arrival = tonumber(redis.call('GET', KEYS[2]) or now)
if arrival < now then
  arrival = now
end
-- Further ahead than a full burst it cannot be, unless the clock was set back or the rate changed.
if arrival > now + burst * interval then
  arrival = now + burst * interval
end
local early = arrival - (burst - 1) * interval - now
count = math.min(count, math.floor(-early / interval) + 1)

local pace, paced_arrival, apart
local known = redis.call('HMGET', KEYS[3], 'top', 'cut_at', 'arrival')
if known[1] then
  pace = paced_rate(tonumber(known[1]), tonumber(known[2]), 1000000 / interval, now)
  if not pace then
    redis.call('DEL', KEYS[3])
  else
    apart = 1000000 / pace
    paced_arrival = math.min(math.max(tonumber(known[3]), now), now + SLACK + apart)
    early = math.max(early, math.ceil(paced_arrival - SLACK - now))
    count = math.min(count, math.floor((now + SLACK - paced_arrival) / apart) + 1)
  end
end

if early > 0 then
  return {'wait', early}
end
arrival = arrival + count * interval
local millis = math.ceil((arrival - now) / 1000) + FORGET
redis.call('SET', KEYS[2], string.format('%.0f', arrival), 'PX', millis)
if pace then
  redis.call('HSET', KEYS[3], 'arrival', string.format('%.0f', paced_arrival + count * apart))
end
return {'granted', now, count}
