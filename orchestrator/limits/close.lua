-- Close the account's gate, never shortening what is closed already.
--
-- KEYS[1]  orchestrator:{account}:gate  "timed|reason" or "held|reason"; expires by itself
-- ARGV[1]  the new value
-- ARGV[2]  milliseconds it holds
--
-- A gate that is held (until a person, a setting or a probe opens it) outranks a timed one.

local known = redis.call('GET', KEYS[1])
local millis = tonumber(ARGV[2])
if known then
  local was_held = string.sub(known, 1, 5) == 'held|'
  local is_held = string.sub(ARGV[1], 1, 5) == 'held|'
  if was_held and not is_held then
    return 0
  end
  millis = math.max(millis, redis.call('PTTL', KEYS[1]))
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', string.format('%.0f', millis))
return 1
