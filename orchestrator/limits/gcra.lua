-- One request's leave to be sent: the account's gate first, then its rate (GCRA).
--
-- KEYS[1]  orchestrator:{account}:gate  "timed|reason" or "held|reason"; expires by itself
-- KEYS[2]  orchestrator:{account}:rate  theoretical arrival time of the next request, in
--                                       microseconds of this server's clock; expires when past
-- ARGV[1]  microseconds between two requests at the full rate; 0 is no limit
-- ARGV[2]  requests that may come at once (at least 1)
-- ARGV[3]  "ask" for a request that buys nothing: it passes a gate that is held
--
-- Returns {"granted"}, {"wait", microseconds} or {"closed", milliseconds, gate}.
-- Over any t seconds at most rate * t + burst requests are granted.

local gate = redis.call('GET', KEYS[1])
if gate and not (ARGV[3] == 'ask' and string.sub(gate, 1, 5) == 'held|') then
  return {'closed', redis.call('PTTL', KEYS[1]), gate}
end

local interval = tonumber(ARGV[1])
if interval == 0 then
  return {'granted'}
end

local burst = tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local arrival = tonumber(redis.call('GET', KEYS[2]) or now)
if arrival < now then
  arrival = now
end
-- Further ahead than a full burst it cannot be, unless the clock was set back or the rate changed.
if arrival > now + burst * interval then
  arrival = now + burst * interval
end

local early = arrival - (burst - 1) * interval - now
if early > 0 then
  return {'wait', early}
end
arrival = arrival + interval
redis.call('SET', KEYS[2], string.format('%.0f', arrival), 'PX', math.ceil((arrival - now) / 1000))
return {'granted'}
