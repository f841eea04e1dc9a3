-- Does what a transaction's timer stands for, and sets the timer anew (rules 7, 8, 10 and 12).

local LOOK_AGAIN = 60000

-- What cannot be read is moved on and listed with its cause, so that it holds up nothing else (§4).
local function leave(cause)
  redis.pcall('ZADD', DUE, now + LOOK_AGAIN, GID)
  redis.pcall('ZADD', PARKED, 'NX', now, GID)
  redis.pcall('HSET', UNREADABLE, GID, cause.field .. ': ' .. cause.why)
end

local function check_payloads()
  for _, branch in ipairs(record.branches) do
    if is_drivable(branch) then
      arguments_of(branch)
      result_of(branch)
    end
  end
end

-- What was unreadable and is not any more is no longer listed.
local function forget_trouble()
  if redis.call('HEXISTS', UNREADABLE, GID) == 0 then
    return
  end
  write('hash', 'HDEL', UNREADABLE, GID)
  local parked = record and parked_since(record)
  if parked then
    write('zset', 'ZADD', PARKED, parked, GID)
  else
    write('zset', 'ZREM', PARKED, GID)
  end
end

local function overdue()
  if now >= record.deadline_at then
    return 'deadline_passed'
  end
  if now >= record.lease_until then
    return 'initiator_lost'
  end
end

local function ring_due()
  local waiting = {}
  for _, branch in ipairs(record.branches) do
    local bell = record.bells[branch.participant]
    local due_now = is_drivable(branch) and not leased_until(branch) and branch.next <= now
    if due_now and (not bell or bell.again <= now) then
      waiting[branch.participant] = true
    end
  end
  local names = sorted_names(waiting)
  for _, name in ipairs(names) do
    ring(name)
  end
  return #names
end

local function operate()
  local by = take()
  if not record then
    due_remove()
    write('zset', 'ZREM', OPEN, GID)
    write('zset', 'ZREM', PARKED, GID)
    write('hash', 'HDEL', UNREADABLE, GID)
    return { 'refused', { 'not_found' } }
  end
  check_payloads()
  forget_trouble()
  if not record.ended_at then
    list_as_open()
  end
  local reason, count = '', 0
  if record.state == 'trying' then
    reason = overdue() or ''
    if reason ~= '' then
      make_decision('cancel', reason, by)
      count = #sorted_names(rung)
    end
  else
    count = ring_due()
  end
  return { 'ok', reason, count, due_anew() or -1 }
end
