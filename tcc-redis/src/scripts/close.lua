-- Closes epochs, each once (rule 11), every branch on its own (rule 9).

local function take_drive()
  local drive = { place = take_number(), epoch = take_number(), direction = take(), how = take(), seen = take() }
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
  local current = branch.token and branch.epoch == drive.epoch
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

-- In a confirming record without marks it goes without saying how its branches stand.
local WATCHED = {
  confirm = { head = 'record state decided held', parts = {}, beyond = true },
  cancel = { head = 'record state decided held', parts = { '.state' }, beyond = true },
}
local WRITTEN = { head = '', parts = { '.state' } }
local GONE = { head = 'until held', parts = { '.arguments', '.result' } }
-- How a branch stands that is driven for the first time, by what its drive says it knows.
local HELD = {
  confirming = { succeeded = true },
  cancelling = { succeeded = 'cancelling succeeded held', refused = 'cancelling refused held' },
}

-- What is written, filled anew by each step, and the step that named a place last.
local set, stamps, stamp = {}, {}, 0

-- What is said of the end, in pieces: how long it took goes between them.
local ended_texts = { confirmed = {}, cancelled = {} }

local function said_ended(state, count)
  local pieces = ended_texts[state][count]
  if not pieces then
    pieces = {}
    for place = 1, count do
      pieces[place] = (place > 1 and '; ' or ' ') .. state .. ' ' .. ordinal_text(place)
    end
    pieces[count + 1] = '; ended ' .. state
    ended_texts[state][count] = pieces
  end
  return pieces
end

-- All branches of the record end with this call, each by the drive that holds it.
local function quick()
  local count, all, direction = unpack(ARGV, taken + 1, taken + 3)
  if all ~= ALL or count > QUICK_MAX or not WATCHED[direction] then
    return nil
  end
  local found = redis.pcall('HMGET', TX, unpack(fields_of(WATCHED[direction], count)))
  local was, decided, held = found[2], found[3], found[4]
  local retention = not found.err and plain_retention(found[1], count)
  local held_by_seen = HELD[was]
  if not retention or not held_by_seen or DIRECTION[was] ~= direction or not held or found[#found] then
    return nil
  end
  stamp = stamp + 1
  for at = taken + 4, taken + 2 + 2 * count, 2 do
    local place, stood = ARGV[at], held_by_seen[ARGV[at + 1]]
    if not stood or place > count or stamps[place] == stamp or stood ~= true and found[4 + place] ~= stood then
      return nil
    end
    stamps[place] = stamp
  end
  local state, ended = 'confirmed', 0
  -- In a confirmed transaction it goes without saying how its branches ended.
  if was == 'cancelling' then
    state, ended = 'cancelled', 2 * count
    local fields = fields_of(WRITTEN, count)
    for at = 1, 2 * count, 2 do
      set[at], set[at + 1] = fields[ARGV[taken + 3 + at]], 'cancelled ' .. ARGV[taken + 4 + at] .. ' once'
    end
  end
  local expires = now + retention
  local said
  if HISTORY_MAX > 0 then
    local since = moment_of('decided', string.sub(decided or '', 1, 24))
    local after = #held > HELD_BYTES and string.match(held, ' after=(%d+)$', HELD_BYTES + 1) or 0
    local took = ' after ' .. number_text(now - since - after) .. ' ms'
    said = moment_text(now) .. table.concat(said_ended(state, count), took)
  end
  if not begin_quick(said, expires) then
    return nil
  end
  redis.call('HSET', TX, 'state', state, 'ended', moment_text(now), unpack(set, 1, ended))
  redis.call('HDEL', TX, unpack(fields_of(GONE, count)))
  redis.call('PEXPIREAT', TX, number_text(expires))
  timers_removed[#timers_removed + 1] = GID
  return QUICK
end

local function take_drives()
  local count, all, drives = take_number(), take() == ALL, {}
  local direction = all and take()
  for place = 1, count do
    drives[place] = all and { place = take_number(), epoch = 1, direction = direction, how = 'done', seen = take() }
      or take_drive()
  end
  return drives
end

local function operate()
  local drives = take_drives()
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
