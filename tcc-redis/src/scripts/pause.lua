-- Pauses phase two of a participant or an action, or resumes it, and keeps who did and why. Answers with how many
-- pauses it changed; nothing if there are as many as there may be.

local PAUSES_MAX = 256

local function pause(keys, arguments)
  begin_call(keys, arguments)
  read_clock()
  local paused, audit = keys[6], keys[7]
  local what, scope, by, why = take(), take(), take(), take()
  local stands = redis.call('HEXISTS', paused, scope) == 1
  if stands == (what == 'paused') then
    return 0
  end
  if not stands and redis.call('HLEN', paused) >= PAUSES_MAX then
    return false
  end
  -- Before anything else, because it fails where the audit is none.
  redis.call(audit_entry(audit, by, why, 'changed', what, 'scope', scope))
  if stands then
    redis.call('HDEL', paused, scope)
  else
    redis.call('HSET', paused, scope, moment_text(now) .. ' by ' .. by .. ': ' .. why)
  end
  keep_time()
  return 1
end
