-- Closes epochs, each once (rule 11), every branch on its own (rule 9).

local function take_drive()
  return {
    place = take_number(), epoch = take(), direction = take(), how = take(), seen = take(),
    after_ms = take_number(), error = take(),
  }
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
  branch.state = branch.state == 'confirming' and 'confirmed' or 'cancelled'
  branch.parked = nil
  branch.since = nil
  branch.ongoing = nil
  branch.unhandled = nil
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
  return { 'ok', now, record.state, answers }
end
