-- Closes epochs, each once (rule 11), every branch on its own (rule 9).

local function take_drive()
  local drive = { place = take_number(), epoch = take(), direction = take(), how = take(), seen = take() }
  if drive.how ~= 'done' then
    drive.after_ms, drive.error = take_number(), take()
  end
  return drive
end

-- How the epoch was closed, as it is answered.
local function answer_of(closed, again)
  return { 'closed', closed, again or 0 }
end

-- How long the drive took, where its own claim says.
local function duration(branch, current)
  return current and branch.claimed and now - branch.claimed .. ' ms' or 'unknown time'
end

local function close_claim(branch, closed, again)
  branch.closed = closed
  branch.lease = nil
  if closed == 'final' then
    branch.token = NOBODY
    branch.claimed = nil
  end
  branch.again = again
  return answer_of(closed, again)
end

-- The effect did happen, whoever holds the claim by now; but a drive that knew less than the record must
-- run again (rule 11).
local function complete(branch, drive, current)
  if drive.seen ~= (branch.try or 'unknown') then
    if current then
      due_afresh(branch)
      close_claim(branch, 'drive_again')
      due_earlier(now)
      ring(branch.participant)
    end
    return answer_of('drive_again')
  end
  finish(branch)
  note(branch.state, ordinal_text(drive.place), 'after', duration(branch, current))
  -- A newer claim is its holder's to close: its handler may still run (I4).
  if current then
    close_claim(branch, 'final')
  end
  return answer_of('final')
end

local function park(branch, drive)
  branch.parked = drive.seen
  branch.since = now
  set_text(branch.place, 'error', drive.error)
  note('parked', ordinal_text(drive.place), drive.seen, 'after', duration(branch, true))
  return close_claim(branch, 'parked')
end

local function reschedule(branch, drive)
  if drive.how == 'failed' then
    set_text(branch.place, 'error', drive.error)
    branch.ongoing = nil
    branch.unhandled = nil
  else
    -- The attempt is given back (rule 10).
    branch.attempts = math.max(branch.attempts - 1, 0)
  end
  if drive.how == 'ongoing' then
    branch.ongoing = branch.ongoing or now
    branch.unhandled = nil
  elseif drive.how == 'unhandled' then
    branch.unhandled = branch.unhandled or now
  end
  branch.next = now + drive.after_ms
  note(drive.how, ordinal_text(drive.place), 'after', duration(branch, true), 'again at', moment_text(branch.next))
  due_earlier(due.kind == 'earlier' and math.min(due.at, branch.next) or branch.next)
  return close_claim(branch, 'rescheduled', branch.next)
end

local function close_one(drive)
  local branch = record.branches[drive.place]
  if not branch then
    return { 'refused', 'no_such_branch', drive.place }
  end
  local current = branch.token and number_text(branch.epoch) == drive.epoch
  if current and branch.closed then
    return answer_of(branch.closed, branch.again)
  end
  if DIRECTION[branch.state] ~= drive.direction then
    return { 'refused', 'wrong_direction', drive.place }
  end
  if FINAL[branch.state] and (current or drive.how == 'done') then
    if current then
      close_claim(branch, 'final')
    end
    return answer_of('final')
  end
  if drive.how == 'done' then
    return complete(branch, drive, current)
  end
  if not current then
    return { 'refused', 'stale_epoch', drive.place }
  end
  if drive.how == 'park' then
    return park(branch, drive)
  end
  return reschedule(branch, drive)
end

local WATCHED = { head = 'state branches retention_ms format', parts = { '.state' }, beyond = true }
local WRITTEN = { head = '', parts = { '.state' } }
local GONE = { head = 'held', parts = { '.arguments', '.result' } }
-- How a branch stands that is driven for the first time, by what its drive says it knows, and how it ends.
local HELD = {
  confirming = { succeeded = 'confirming succeeded held result=' },
  cancelling = { succeeded = 'cancelling succeeded held result=', refused = 'cancelling refused held' },
}

-- All branches of the record end with this call, each by the drive that holds it.
local function quick()
  local count = tonumber(ARGV[taken + 1])
  if count == 0 or count > QUICK_MAX then
    return nil
  end
  local found = redis.pcall('HMGET', TX, unpack(fields_of(WATCHED, count)))
  local fields, set, places = fields_of(WRITTEN, count), {}, {}
  if found.err or found[4] ~= FORMAT or not HELD[found[1]] or found[2] ~= fields.count or found[5 + count] then
    return nil
  end
  if not string.find(found[3] or '', '^%d+$') then
    return nil
  end
  local was, direction = found[1], DIRECTION[found[1]]
  local state = was == 'confirming' and 'confirmed' or 'cancelled'
  local one = taken + 1
  for _ = 1, count do
    local place, epoch, toward, how, seen = unpack(ARGV, one + 1, one + 5)
    one = one + 5
    place = tonumber(place)
    local line, held = found[4 + place], HELD[was][seen]
    if places[place] or how ~= 'done' or epoch ~= '1' or toward ~= direction or not line or not held then
      return nil
    end
    if string.sub(line, 1, #held) ~= held then
      return nil
    end
    places[place] = true
    set[2 * place - 1], set[2 * place] = fields[place], state .. ' ' .. seen .. ' once'
  end
  local expires = now + tonumber(found[3])
  local lines = begin_notes()
  if not lines then
    return nil
  end
  if HISTORY_MAX > 0 then
    local since = moment_of('decided', string.sub(redis.call('HGET', TX, 'decided') or '', 1, 24))
    for place = 1, count do
      line(lines, state .. ' ' .. ordinal_text(place) .. ' after ' .. number_text(now - since) .. ' ms')
    end
    line(lines, 'ended ' .. state)
  end
  expires = number_text(expires)
  if not write_lines(lines, expires) then
    return nil
  end
  redis.call('HSET', TX, 'state', state, 'ended_at', moment_text(now), unpack(set))
  redis.call('HDEL', TX, unpack(fields_of(GONE, count)))
  redis.call('PEXPIREAT', TX, expires)
  redis.call('ZREM', DUE, GID)
  return QUICK
end

local function operate()
  local drives = take_list(take_drive)
  if not record then
    refuse('not_found')
  end
  if not record.decision then
    refuse('not_decided')
  end
  local answers = {}
  for place, one in ipairs(drives) do
    answers[place] = close_one(one)
  end
  settle()
  return { 'ok', record.state, answers }
end
