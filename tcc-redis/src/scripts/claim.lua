-- Takes the open, due and unleased branches of participants, and their messages (rules 10 and 11).

local WATCHED = { head = 'record state name decided held bells', parts = { '', '.state' }, beyond = true, apart = true }
local PAYLOADS = { head = '', parts = { '.arguments', '.result' } }
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
  for place = at + 1, math.min(at + ARGV[at], last) do
    local queue = TAG .. 'ready:' .. ARGV[place]
    if not declared[queue] or not has_type('stream', queue) then
      return nil
    end
    queues[ARGV[place]] = queue
  end
  return queues
end

-- The messages by participant, of those that the step names, if all were rung for once; and the texts of the others.
local function find_bells(text, queues)
  local entries, others, length = {}, {}, -2
  for name, entry in string.gmatch(text, '(%S+) (%d+%-%d+)') do
    length = length + #name + #entry + 3
    if queues[name] then
      entries[name] = entry
    else
      others[#others + 1] = name .. ' ' .. entry
    end
  end
  return length == #text and entries, others
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

local function said_claimed(places, direction)
  local said = {}
  for number, place in ipairs(places) do
    said[number] = 'claimed ' .. ordinal_text(place) .. ' ' .. direction .. ' attempt 1'
  end
  return moment_text(now) .. ' ' .. table.concat(said, '; ')
end

local function places_to(count)
  local places = {}
  for place = 1, count do
    places[place] = place
  end
  return places
end

-- When, which way and why a record that waits was decided.
local function find_waiting(state, decided)
  local at, direction, reason = find_decided(decided)
  -- Moments of one length sort as they follow each other.
  if direction == DIRECTION[state] and at <= moment_text(now) then
    return at, direction, reason
  end
end

local function take_messages(entries, queues)
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
  local at, _, reason = find_waiting(found[2], found[3])
  local entries, others = find_bells(found[5] or '', queues)
  if not entries or others[1] or reason ~= why then
    return nil
  end
  for participant in pairs(queues) do
    if not entries[participant] then
      return nil
    end
  end
  if not begin_quick(HISTORY_MAX > 0 and said_claimed(places_to(count), 'confirm')) then
    return nil
  end
  redis.call('HSET', TX, 'held', held_by(token, lease_ms, at, moment_text(now)))
  redis.call('HDEL', TX, 'bells')
  take_messages(entries, queues)
  return QUICK
end

-- The branches of participants that the step names, which all wait as the decision left them; by their places, and how
-- they stand. And the places of the others.
local function find_theirs(found, count, queues, entries)
  local waiting, places, stands, left = WAITING[found[2]], {}, {}, {}
  for place = 1, count do
    local participant = participant_at(found[5 + 2 * place])
    if not participant then
      return nil
    end
    if queues[participant] then
      local stood = waiting[found[6 + 2 * place]]
      if not stood or not entries[participant] then
        return nil
      end
      places[#places + 1], stands[#stands + 1] = place, stood
    else
      left[#left + 1] = place
    end
  end
  return places, stands, left
end

-- Payloads of these branches, and the claims of those that are left.
local function fields_to_drive(places, left)
  if #left == 0 then
    return fields_of(PAYLOADS, #places)
  end
  local fields = {}
  for number, place in ipairs(places) do
    fields[2 * number - 1], fields[2 * number] = field_of(place, 'arguments'), field_of(place, 'result')
  end
  for number, place in ipairs(left) do
    fields[2 * #places + number] = field_of(place, 'drive')
  end
  return fields
end

-- Adds these branches to the answer, which is read by the caller, one after the other: place, line, how it stood, and
-- its payloads. Nothing if one is not what was sealed, or the claim of one that is left has run out: it is due.
local function answer_drives(answer, found, places, stands, left)
  local more = redis.call('HMGET', TX, unpack(fields_to_drive(places, left)))
  for number = 1, #left do
    local lease = string.match(more[2 * #places + number] or '', ' lease=(%S+)$')
    if lease and lease <= moment_text(now) then
      return nil
    end
  end
  for number, place in ipairs(places) do
    local head, arguments, result = found[5 + 2 * place], more[2 * number - 1], more[2 * number]
    if not arguments or not seals_arguments(head, arguments) then
      return nil
    end
    local payload = ''
    if stands[number] == 'confirming succeeded' or stands[number] == 'cancelling succeeded' then
      payload = sealed_result(result)
    end
    if not payload or payload == '' and result then
      return nil
    end
    local drive = 5 * number
    answer[drive], answer[drive + 1], answer[drive + 2] = place, head, stands[number]
    answer[drive + 3], answer[drive + 4] = arguments, payload
  end
  return answer
end

-- What is written of a claim of all branches: it is the record's.
local function set_together(found, count, token, lease_ms, at)
  local set = { 'held', held_by(token, lease_ms, at, moment_text(now)) }
  for place = 1, count do
    local text = found[6 + 2 * place]
    if text then
      set[#set + 1], set[#set + 2] = field_of(place, 'state'), text .. ' held'
    end
  end
  return set
end

-- What is written of a claim of some branches of a commit: each has its own.
local function set_apart(found, count, places, token, lease_ms)
  local retention, marks = apart_retention(found[1], count)
  local set = { 'record', plain_text(count) .. retention .. APART[marks] }
  local held = 'epoch=1 token=' .. token .. ' lease=' .. moment_text(now + lease_ms)
  for _, place in ipairs(places) do
    local at = #set
    set[at + 1], set[at + 2] = field_of(place, 'state'), 'confirming succeeded attempts=1'
    set[at + 3], set[at + 4] = field_of(place, 'drive'), held
    if HISTORY_MAX > 0 then
      set[at + 5], set[at + 6] = field_of(place, 'wait'), 'claimed=' .. moment_text(now)
    end
  end
  return set
end

-- All branches of these participants wait as the decision left them, and their messages stand.
local function claim_found(queues, token, lease_ms)
  local found, count = read_plain(WATCHED)
  if not found or found[5] or not WAITING[found[2]] then
    return nil
  end
  local at, direction, reason = find_waiting(found[2], found[4])
  local entries, others = find_bells(found[6] or '', queues)
  if not at or not entries or not string.find(found[3] or '', NAME) then
    return nil
  end
  local places, stands, left = find_theirs(found, count, queues, entries)
  if not places or not places[1] then
    return nil
  end
  local answer = answer_drives({ 'quick', direction, reason, found[3] }, found, places, stands, left)
  local set
  if #places == count and not others[1] then
    set = set_together(found, count, token, lease_ms, at)
  elseif direction == 'confirm' then
    set = set_apart(found, count, places, token, lease_ms)
  end
  if not answer or not set or not begin_quick(HISTORY_MAX > 0 and said_claimed(places, direction)) then
    return nil
  end
  if others[1] then
    set[#set + 1], set[#set + 2] = 'bells', table.concat(others, '; ')
  end
  redis.call('HSET', TX, unpack(set))
  if not others[1] then
    redis.call('HDEL', TX, 'bells')
  end
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
  if taken + 5 + participants + 2 * is_own ~= last then
    return nil
  end
  if is_own == 1 then
    return count > 0 and claim_own(queues, token, lease_ms, count, why)
  end
  return claim_found(queues, token, lease_ms)
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
