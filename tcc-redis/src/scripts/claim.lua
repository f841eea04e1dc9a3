-- Takes the open, due and unleased branches of participants, and their messages (rules 10 and 11).

local WATCHED = {
  head = 'record state name decided held bells', parts = { '', '.state', '.arguments', '.result' }, beyond = true,
}
local WATCHED_OWN = { head = 'record state decided held bells', parts = {}, beyond = true }
-- How branches stand that wait for their first claim. In a confirming record without marks it goes without saying.
local WAITING = {
  confirming = { [false] = 'confirming succeeded' },
  cancelling = {
    ['cancelling succeeded'] = 'cancelling succeeded', ['cancelling refused'] = 'cancelling refused',
    ['cancelling unknown'] = 'cancelling unknown',
  },
}

-- The queues of the participants that the step names from this place on.
local function find_queues_from(at)
  local queues = {}
  for place = at + 1, at + ARGV[at] do
    local queue = TAG .. 'ready:' .. ARGV[place]
    if not declared[queue] or not has_type('stream', queue) then
      return nil
    end
    queues[ARGV[place]] = queue
  end
  return queues
end

-- The messages by participant, if they are of participants that the step names and were rung for once.
local function find_bells(text, queues)
  local entries, length = {}, -2
  for name, entry in string.gmatch(text, '([%w._-]+) (%d+-%d+)') do
    length = length + #name + #entry + 3
    if not queues[name] then
      return nil
    end
    entries[name] = entry
  end
  return length == #text and entries
end

-- A payload that stands after its seal, if it is what was sealed.
local function sealed_result(text)
  local stop = string.find(text or '', ' ', 1, true)
  local payload = stop and string.sub(text, stop + 1)
  return payload and seal_of(payload, '') == string.sub(text, 1, stop - 1) and payload
end

-- Whether a branch's line ends with the seal of these arguments.
local function seals_arguments(head, arguments)
  local tail = ' arguments=' .. number_text(#arguments) .. ':'
  local stop = #head - 8 - #tail
  local sum = redis.sha1hex(string.sub(head, 1, stop) .. '\n' .. arguments)
  return string.sub(head, stop + 1) == tail .. string.sub(sum, 1, 8)
end

-- Directions and reasons of what initiators decided, by the text that follows the moment.
local decisions = {}

-- When, which way and why it was decided; nothing if it is not written so.
local function find_decided(text)
  local at, words = string.sub(text or '', 1, 24), string.sub(text or '', 25)
  local known = decisions[words]
  if not known then
    local direction, reason, by = string.match(words, '^ (%l+) ([%l_]+)(.*)$')
    if not REASONS[reason] or by ~= '' and not string.find(by, '^ by [%w._-]+$') then
      return nil
    end
    known = { direction, reason }
    if by == '' and (direction == 'confirm' or direction == 'cancel') then
      decisions[words] = known
    end
  end
  return at, known[1], known[2]
end

-- What is written of the record's claim, made now.
local function held_by(token, lease_ms, at, at_text)
  local held = 'token=' .. token .. ' lease=' .. moment_text(now + lease_ms)
  if HISTORY_MAX > 0 and at ~= at_text then
    held = held .. ' after=' .. number_text(now - moment_of('decided', at))
  end
  return held
end

local function said_claimed(count, direction)
  local said = { moment_text(now) }
  for place = 1, count do
    said[place + 1] = (place > 1 and '; claimed ' or ' claimed ') .. ordinal_text(place) .. ' ' .. direction .. ' attempt 1'
  end
  return table.concat(said)
end

-- The messages of a record that waits, and when, which way and why it was decided.
local function find_rung(state, decided, bells, queues)
  local at, direction, reason = find_decided(decided)
  -- Moments of one length sort as they follow each other.
  if direction ~= DIRECTION[state] or at > moment_text(now) then
    return nil
  end
  return find_bells(bells or '', queues), at, direction, reason
end

local function take_messages(entries, queues)
  redis.call('HDEL', TX, 'bells')
  for participant, entry in pairs(entries) do
    remove_message(queues[participant], entry)
  end
end

-- All branches of a commit of the caller's own, which are the participants'. In a confirming record without marks and
-- without a claim, all branches wait; what they are the caller knows.
local function claim_own(queues, token, lease_ms, count, why)
  if count > QUICK_MAX then
    return nil
  end
  local found = redis.pcall('HMGET', TX, unpack(fields_of(WATCHED_OWN, count)))
  if found.err or not plain_retention(found[1], count) or found[2] ~= 'confirming' or found[4] or found[#found] then
    return nil
  end
  local entries, at, _, reason = find_rung(found[2], found[3], found[5], queues)
  if not entries or reason ~= why then
    return nil
  end
  for participant in pairs(queues) do
    if not entries[participant] then
      return nil
    end
  end
  if not begin_quick(HISTORY_MAX > 0 and said_claimed(count, 'confirm')) then
    return nil
  end
  redis.call('HSET', TX, 'held', held_by(token, lease_ms, at, moment_text(now)))
  take_messages(entries, queues)
  return QUICK
end

-- All branches of the record wait as the decision left them, and are the participants', whose messages stand. What is
-- answered is read by the caller, a branch after the other: its line, how it stood, and its payloads.
local function claim_all(queues, token, lease_ms)
  local found, count = read_plain(WATCHED)
  local waiting = found and not found[5] and WAITING[found[2]]
  if not waiting then
    return nil
  end
  local _, state, name, decided, _, bells = unpack(found, 1, 6)
  local entries, at, direction, reason = find_rung(state, decided, bells, queues)
  if not entries or not string.find(name or '', NAME) then
    return nil
  end
  local set = { 'held', held_by(token, lease_ms, at, moment_text(now)) }
  local answer, fields = { 'quick', direction, reason, name }, fields_of(WATCHED, count)
  for place = 1, count do
    local part = 4 * place + 2
    local head, text, arguments, result = unpack(found, part + 1, part + 4)
    local participant = participant_at(head)
    local stands = waiting[text]
    if not stands or not entries[participant] or not arguments or not seals_arguments(head, arguments) then
      return nil
    end
    local payload = ''
    if stands == 'confirming succeeded' or stands == 'cancelling succeeded' then
      payload = sealed_result(result)
    end
    if not payload or payload == '' and result then
      return nil
    end
    if text then
      set[#set + 1], set[#set + 2] = fields[part + 2], text .. ' held'
    end
    local drive = 4 * place + 1
    answer[drive], answer[drive + 1], answer[drive + 2], answer[drive + 3] = head, stands, arguments, payload
  end
  if not begin_quick(HISTORY_MAX > 0 and said_claimed(count, direction)) then
    return nil
  end
  redis.call('HSET', TX, unpack(set))
  take_messages(entries, queues)
  return answer
end

local function quick()
  local token, lease_ms, except, participants = unpack(ARGV, taken + 1, taken + 4)
  local queues = except == 0 and lease_ms >= BELL_BASE and find_queues_from(taken + 4)
  if not queues then
    return nil
  end
  local is_own, count, why = unpack(ARGV, taken + 5 + participants, taken + 7 + participants)
  if is_own == 1 then
    return count > 0 and claim_own(queues, token, lease_ms, count, why)
  end
  return claim_all(queues, token, lease_ms)
end

local function operate()
  local token, lease_ms = take(), take_number()
  local except = {}
  for _, action in ipairs(take_list(take)) do
    except[action] = true
  end
  local participants, theirs = take_list(take), {}
  for _, participant in ipairs(participants) do
    theirs[participant] = true
  end
  -- Who committed it has the arguments. How many branches that were, and why, matters only to the short way.
  local bare = take_flag()
  if bare then
    take()
    take()
  end
  if not record then
    refuse('not_found')
  end
  if not record.decision then
    refuse('not_decided')
  end
  -- A repetition takes no more than the first sending did, and leaves what was rung since (rule 14).
  local repeated = false
  for _, branch in ipairs(record.branches) do
    repeated = repeated or theirs[branch.participant] and branch.token == token
  end
  local drives, left = {}, {}
  for _, branch in ipairs(record.branches) do
    local takes = theirs[branch.participant] and is_drivable(branch)
    if takes and except[branch.action] then
      takes, left[branch.participant] = false, true
    elseif repeated then
      takes = takes and branch.token == token and leased_until(branch)
    else
      takes = takes and not leased_until(branch) and branch.next <= now
      if takes then
        open_claim(branch, token, lease_ms)
      end
    end
    if takes then
      drives[#drives + 1] = drive(branch, bare)
    end
  end
  if not repeated then
    -- The message goes on standing for what is paused, so that it is rung in growing intervals.
    for _, participant in ipairs(participants) do
      if not left[participant] then
        hush(participant)
      end
    end
    -- Without its message, a branch that was not taken may be due before the timer says so.
    local at = due_at()
    if at then
      due_earlier(at)
    end
  end
  return { 'ok', drives, record.decision, record.reason }
end
