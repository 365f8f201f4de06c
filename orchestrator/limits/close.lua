-- Close the account's gate, never shortening what is closed already.
--
-- KEYS[1]  orchestrator:{account}:gate  "timed|reason", "held|reason" or "buys|reason";
--                                       expires by itself
-- ARGV[1]  the new value
-- ARGV[2]  milliseconds it holds
--
-- A gate that is held (until a person, a setting or a probe opens it) outranks a timed one, and that
-- one which is timed for purchases alone.

local known = redis.call('GET', KEYS[1])
local value = ARGV[1]
local millis = tonumber(ARGV[2])
if known then
  local was_held = string.sub(known, 1, 5) == 'held|'
  local is_held = string.sub(value, 1, 5) == 'held|'
  if was_held and not is_held then
    return 0
  end
  if string.sub(known, 1, 6) == 'timed|' and string.sub(value, 1, 5) == 'buys|' then
    value = known
  end
  millis = math.max(millis, redis.call('PTTL', KEYS[1]))
end
redis.call('SET', KEYS[1], value, 'PX', string.format('%.0f', millis))
return 1
