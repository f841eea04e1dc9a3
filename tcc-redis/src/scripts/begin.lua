-- Begins a transaction in a call of its own. Same key, same answer (rule 15).

local GID_SHAPE = '^%w+%-%d%d$'

-- The state of the transaction that holds the business key, if that is another one that is kept.
local function find_rival(key)
  local holder = redis.pcall('GET', key)
  if not holder then
    return nil
  end
  if type(holder) ~= 'string' or not string.find(holder, GID_SHAPE) then
    unreadable('key', 'no gid')
  end
  local rival = key_of('tx:' .. holder)
  local state = rival and redis.pcall('HGET', rival, 'state')
  if not state then
    return nil
  end
  if not STATES[state] then
    unreadable('key', 'its transaction cannot be read')
  end
  return holder, state
end

-- No record is there, and nobody has the key.
local function quick()
  local creates, name, key, initiator, deadline, lease_ms, retention_ms = unpack(ARGV, taken + 1, taken + 7)
  if creates ~= 1 or taken + 8 ~= last or now >= deadline or not is_new() then
    return nil
  end
  local business = key ~= '' and TAG .. 'key:' .. name .. ':' .. key
  if business and (not declared[business] or redis.pcall('GET', business)) then
    return nil
  end
  local limits, timer = first_limits(lease_ms, deadline)
  local kept = plain_text(0) .. number_text(retention_ms)
  if not begin_quick(HISTORY_MAX > 0 and moment_text(now) .. ' begun by ' .. initiator) then
    return nil
  end
  if business then
    redis.call('SET', business, GID)
    write_first(kept .. ' keyed', name, initiator, limits, timer, 'key', key)
  else
    write_first(kept, name, initiator, limits, timer)
  end
  return QUICK
end

local function operate()
  local new = take_create()
  local again_after_cancel = take_flag()
  if record then
    if record.initiator ~= new.initiator or record.name ~= new.name then
      refuse('gid_taken')
    end
    return { 'ok', 'new' }
  end
  local key = new.key and key_of('key:' .. new.name .. ':' .. new.key)
  if key then
    local holder, state = find_rival(key)
    if #missing > 0 then
      return
    end
    if holder and not (again_after_cancel and state == 'cancelled') then
      return { 'ok', 'taken', holder }
    end
  end
  create(new)
  if key then
    write('string', 'SET', key, GID)
  end
  return { 'ok', 'new' }
end
