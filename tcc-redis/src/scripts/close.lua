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

-- Marks that say that there is a business key, and that the record is listed as open; and what they are of an ended one.
local KEYED = { [' keyed'] = true, [' looked keyed'] = true }
local LISTED = { [' looked'] = true, [' looked keyed'] = true }
local LEFT = { [''] = '', [' keyed'] = ' keyed', [' looked'] = '', [' looked keyed'] = ' keyed' }

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

-- What the end of a record with these marks must look after: the business key that holds it, if there is one that still
-- does; else an empty text. Nothing if it cannot be looked after.
local function find_business(marks)
  if LISTED[marks] and not has_type('zset', OPEN) then
    return nil
  end
  if not KEYED[marks] then
    return ''
  end
  local name, key = unpack(redis.call('HMGET', TX, 'name', 'key'))
  local business = name and key and TAG .. 'key:' .. name .. ':' .. key
  if not business or not declared[business] then
    return nil
  end
  return redis.pcall('GET', business) == GID and business or ''
end

-- A record is kept as long as this, and its business key with it, and is looked after no more.
local function leave_ended(marks, business, expires)
  redis.call('PEXPIREAT', TX, number_text(expires))
  if business ~= '' then
    redis.call('PEXPIREAT', business, number_text(expires))
  end
  timers_removed[#timers_removed + 1] = GID
  if LISTED[marks] then
    opens_removed[#opens_removed + 1] = GID
  end
end

-- What is looked at where branches stand apart, without and with what a history tells of them.
local WATCHED_APART = {
  [false] = { head = 'record state held bells', parts = { '.state', '.drive' }, beyond = true, apart = true },
  [true] = { head = 'record state held bells', parts = { '.state', '.drive', '.wait' }, beyond = true, apart = true },
}
local GONE_APART = { head = 'until', parts = { '.state', '.drive', '.wait', '.arguments', '.result' } }
local HELD_APART, CLAIM_APART = 'confirming succeeded attempts=1', '^epoch=1 token=%x+ lease=%d%S+Z$'
local ENDED = 'confirmed succeeded once'

-- Some branches of a commit end with this call, each by the drive that holds it. Gives how many fields are known of
-- each, and whether others are open.
local function find_drives(found, there, count)
  local width, is_open = HISTORY_MAX > 0 and 3 or 2, false
  stamp = stamp + 1
  for number = 1, count do
    local place, seen = ARGV[taken + 2 + 2 * number], ARGV[taken + 3 + 2 * number]
    if place > there or stamps[place] == stamp or seen ~= 'succeeded' then
      return nil
    end
    stamps[place] = stamp
    local at = 5 + width * (place - 1)
    if found[at] ~= HELD_APART or not string.find(found[at + 1] or '', CLAIM_APART) then
      return nil
    end
  end
  for place = 1, there do
    local stands = found[5 + width * (place - 1)]
    if stamps[place] ~= stamp and stands ~= ENDED then
      -- One that waits has a message.
      if not stands and not found[4] then
        return nil
      end
      is_open = true
    end
  end
  return width, is_open
end

local function said_apart(found, width, count, is_open)
  local said = {}
  for number = 1, count do
    local place = ARGV[taken + 2 + 2 * number]
    local claimed = string.match(found[5 + width * (place - 1) + 2] or '', '^claimed=(%S+)$')
    local took = claimed and now - moment_of('claimed', claimed) .. ' ms' or 'unknown time'
    said[number] = 'confirmed ' .. ordinal_text(place) .. ' after ' .. took
  end
  return moment_text(now) .. ' ' .. table.concat(said, '; ') .. (is_open and '' or '; ended confirmed')
end

local function write_closed(count)
  local closed, gone = {}, {}
  for number = 1, count do
    local place = ARGV[taken + 2 + 2 * number]
    closed[2 * number - 1], closed[2 * number] = field_of(place, 'state'), ENDED
    gone[2 * number - 1], gone[2 * number] = field_of(place, 'drive'), field_of(place, 'wait')
  end
  redis.call('HSET', TX, unpack(closed))
  redis.call('HDEL', TX, unpack(gone))
end

local function close_apart(count, direction)
  local found, there = read_plain(WATCHED_APART[HISTORY_MAX > 0])
  if direction ~= 'confirm' or not found or found[2] ~= 'confirming' or found[3] then
    return nil
  end
  local retention, marks, apart = apart_retention(found[1], there)
  local width, is_open = find_drives(found, there, count)
  if not apart or not width or not is_open and found[4] then
    return nil
  end
  local said = HISTORY_MAX > 0 and said_apart(found, width, count, is_open)
  if is_open then
    if not begin_quick(said) then
      return nil
    end
    write_closed(count)
    return { 'quick' }
  end
  local business, expires = find_business(marks), now + retention
  if not business or not begin_quick(said, expires) then
    return nil
  end
  redis.call('HSET', TX, 'record', plain_text(there) .. retention .. LEFT[marks], 'state', 'confirmed',
    'ended', moment_text(now))
  redis.call('HDEL', TX, unpack(fields_of(GONE_APART, there)))
  leave_ended(marks, business, expires)
  return QUICK
end

-- All branches of the record end with this call, each by the drive that holds it.
local function close_together(count, direction)
  local found = redis.pcall('HMGET', TX, unpack(fields_of(WATCHED[direction], count)))
  local was, decided, held = found[2], found[3], found[4]
  local retention, marks
  if not found.err then
    retention, marks = plain_retention(found[1], count)
  end
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
  local business, expires = find_business(marks), now + retention
  if not business then
    return nil
  end
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
  if LISTED[marks] then
    redis.call('HSET', TX, 'record', plain_text(count) .. retention .. LEFT[marks])
  end
  leave_ended(marks, business, expires)
  return QUICK
end

local function quick()
  local count, all, direction = unpack(ARGV, taken + 1, taken + 3)
  if all ~= ALL or count == 0 or count > QUICK_MAX or taken + 3 + 2 * count ~= last or not WATCHED[direction] then
    return nil
  end
  return close_together(count, direction) or close_apart(count, direction)
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
