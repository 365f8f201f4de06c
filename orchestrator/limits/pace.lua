-- The pace of one kind of request after the provider refused some as too many; put before the
-- scripts that use it.
--
-- A refusal cuts the pace to a share of what it was, `top`. From there it comes back along the curve
-- of CUBIC (RFC 9438): quickly to near `top`, where it lingers, since the provider's limit is
-- probably still there, and then faster and faster, since the limit has probably gone.

local CUT = 0.7          -- the share of the pace that a refusal leaves
local RETURN = 36        -- seconds from a `top` near zero to the full rate
local LEAST = 0.01       -- the share of the full rate that is always left
local SLACK = 100000     -- microseconds by which a request may come early
local FORGET = 120000    -- milliseconds after a cut at which the full rate is certainly back

-- Requests per second at `now` (microseconds); nil once the full rate is back.
local function paced_rate(top, cut_at, full, now)
  local seconds = math.max(0, now - cut_at) / 1000000
  local steepness = full / RETURN ^ 3
  local lingering = (top * (1 - CUT) / steepness) ^ (1 / 3)
  local rate = steepness * (seconds - lingering) ^ 3 + top
  if rate >= full then
    return nil
  end
  return math.max(rate, full * LEAST)
end
