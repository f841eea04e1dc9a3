-- The record: a hash that a person can read, one field a fact, its branches in fields by ordinal.

local FORMAT = '1'
local HEAD = { 'record', 'name', 'key', 'state', 'begun', 'until', 'decided', 'ended', 'bells', 'held' }
local REASONS = {
  committed = true, aborted = true, panicked = true, dropped = true, deadline_passed = true,
  initiator_lost = true, operator = true, unnamed_branch = true, unknown_outcome = true,
  outcome_conflict = true, lost_branch = true, pending_call = true,
}
local STATES = {
  trying = { decision = nil, final = false },
  confirming = { decision = 'confirm', final = false },
  confirmed = { decision = 'confirm', final = true },
  cancelling = { decision = 'cancel', final = false },
  cancelled = { decision = 'cancel', final = true },
}
local NAME = '^[%w._-]+$'
local PART = 1000
local BELL_BASE, BELL_CAP = 1000, 60000

-- The record as it was read, and what the step does to it.
local record, stored

local function is_final(state)
  return STATES[state].final
end

-- `mail 1795238100000-0`, the message's id, if it was rung for once, by the decision; else
-- `mail rung=2 again=2099-11-21T05:10:02.250Z entry=1795238100000-0`.
local function is_first_bell(bell, head)
  return bell.count == 1 and bell.again == head.decided_at + BELL_BASE
end

local function parse_bells(text, head)
  local bells = {}
  for bell in string.gmatch(text, '[^;]+') do
    local name, count, again, entry = string.match(bell, '^ ?(%S+) rung=(%d+) again=(%S+) entry=(%d+-%d+)$')
    if not name then
      name, entry = string.match(bell, '^ ?(%S+) (%d+-%d+)$')
    end
    if not name or not string.find(name, NAME) then
      unreadable('bells', 'no bell')
    end
    bells[name] = { count = tonumber(count or 1), entry = entry }
    bells[name].again = again and moment_of('bells', again) or head.decided_at + BELL_BASE
  end
  return bells
end

-- `2099-11-21T05:10:00.250Z confirm committed`, and by whom if not by the initiator.
local function parse_decided(head)
  local at, decision, reason, by = string.match(head.decided, '^(%S+) (%l+) ([%l_]+)(.*)$')
  head.decided_by = head.initiator
  if by and by ~= '' then
    head.decided_by = string.match(by, '^ by ([%w._-]+)$')
  end
  if not at or not REASONS[reason] or not head.decided_by then
    unreadable('decided', 'no decision')
  end
  head.decided_at = moment_of('decided', at)
  head.decision = decision
  head.reason = reason
end

local function decided_text(head)
  if head.decision then
    local by = head.decided_by ~= head.initiator and ' by ' .. head.decided_by or ''
    return moment_text(head.decided_at) .. ' ' .. head.decision .. ' ' .. head.reason .. by
  end
end

-- How long the first two words of `held` are.
local HELD_BYTES = 53

-- `token=0000000000000007 lease=2099-11-21T06:10:00.250Z`; then `after=17` where the history shall tell how long
-- drives took, and the claim was made so many milliseconds after the decision.
local function parse_held(text, head)
  local token, lease, after = string.match(text, '^token=(%x+) lease=(%S+)(.*)$')
  local millis = string.match(after or '', '^ after=(%d+)$')
  if not token or not string.find(token, TOKEN) or after ~= '' and not millis then
    unreadable('held', 'no claim')
  end
  local claimed = HISTORY_MAX > 0 and head.decided_at or nil
  if millis then
    claimed = head.decided_at + millis
  end
  return { token = token, lease = moment_of('held', lease), claimed = claimed }
end

local function held_text(held, head)
  if held then
    local after = ''
    if held.claimed and held.claimed ~= head.decided_at then
      after = ' after=' .. number_text(held.claimed - head.decided_at)
    end
    return 'token=' .. held.token .. ' lease=' .. moment_text(held.lease) .. after
  end
end

-- `format=1 branches=2 keep_ms=86400000`; then `looked` once it is in the list of open ones; and `marked` where it has
-- what a short way does not look for, else `apart` where its branches were reported on, or are driven, one by one, and
-- `keyed` where it has a business key.
local MARKS = {
  [''] = {}, [' keyed'] = {}, [' apart'] = {}, [' apart keyed'] = {}, [' marked'] = {},
  [' looked'] = { true }, [' looked keyed'] = { true }, [' looked apart'] = { true }, [' looked apart keyed'] = { true },
  [' looked marked'] = { true },
}
-- The marks beside which the branches of a record stand together, and what they are where these stand apart.
local APART = {
  [''] = ' apart', [' keyed'] = ' apart keyed', [' looked'] = ' looked apart', [' looked keyed'] = ' looked apart keyed',
}
local TOGETHER = {
  [' apart'] = '', [' apart keyed'] = ' keyed', [' looked apart'] = ' looked', [' looked apart keyed'] = ' looked keyed',
}
local PLAIN = 'format=' .. FORMAT .. ' branches='

-- Gives the number of branches.
local function parse_record(head)
  local text = head.record or ''
  if string.sub(text, 1, #PLAIN) ~= PLAIN then
    unreadable('record', 'another version')
  end
  -- Five digits bound every loop over branches.
  local count, retention, marks = string.match(text, '^(%d%d?%d?%d?%d?) keep_ms=(%d+)(.*)$', #PLAIN + 1)
  if not count or not MARKS[marks] then
    unreadable('record', 'no numbers')
  end
  head.retention_ms, head.looked = retention, MARKS[marks][1]
  return tonumber(count)
end

-- How the field begins of a record of so many branches, up to its retention.
local plain_texts = {}

-- A record of more branches takes the long way.
local QUICK_MAX = 100

local function plain_text(count)
  local text = plain_texts[count]
  if not text then
    text = PLAIN .. number_text(count) .. ' keep_ms='
    if count <= 100 then
      plain_texts[count] = text
    end
  end
  return text
end

-- The retention of a record of so many branches, and its marks; if these stand together.
local function plain_retention(text, count)
  local plain = plain_text(count)
  if text and string.sub(text, 1, #plain) == plain then
    local retention = string.match(text, '^%d+$', #plain + 1)
    if retention then
      return retention, ''
    end
    local marks
    retention, marks = string.match(text, '^(%d+)( .+)$', #plain + 1)
    if APART[marks] then
      return retention, marks
    end
  end
end

-- The same of a record whose branches may stand apart: the marks are what they are where these do not. And whether they
-- do.
local function apart_retention(text, count)
  local retention, marks = plain_retention(text, count)
  if retention then
    return retention, marks, false
  end
  local plain = plain_text(count)
  retention, marks = string.match(text or '', '^(%d+)( .+)$', #plain + 1)
  if TOGETHER[marks] and string.sub(text, 1, #plain) == plain then
    return retention, TOGETHER[marks], true
  end
end

-- How many branches a record has that begins so, if a short way may take so many.
local function plain_count(text)
  local count = tonumber(string.match(text or '', '^' .. PLAIN .. '(%d%d?%d?) '))
  return count and count <= QUICK_MAX and count or nil
end

-- `2099-11-21T05:10:00.250Z by shop-1`
local function begun_text(at, initiator)
  return moment_text(at) .. ' by ' .. initiator
end

local function parse_begun(head)
  local at, initiator = string.match(head.begun or '', '^(%S+) by ([%w._-]+)$')
  if not at then
    unreadable('begun', 'no beginning')
  end
  head.begun_at, head.initiator = moment_of('begun', at), initiator
end

-- `lease=2099-11-21T05:10:05.250Z deadline=2099-11-21T05:10:30.250Z`; gone when the transaction has ended.
local function until_text(lease, deadline)
  return 'lease=' .. moment_text(lease) .. ' deadline=' .. moment_text(deadline)
end

-- Both moments, of a field as it is always written.
local function find_limits(text)
  if text and #text == 64 and string.sub(text, 1, 6) == 'lease=' and string.sub(text, 31, 40) == ' deadline=' then
    return string.sub(text, 7, 30), string.sub(text, 41)
  end
end

local function parse_until(head)
  local lease, deadline = find_limits(head['until'])
  if (head['until'] ~= nil) == (head.ended_at ~= nil) then
    unreadable('until', 'against state')
  elseif head.ended_at then
    head.lease_until, head.deadline_at = head.ended_at, head.ended_at
  elseif not lease then
    unreadable('until', 'no limits')
  else
    head.lease_until, head.deadline_at = moment_of('until', lease), moment_of('until', deadline)
  end
end

local record_text
do
-- Whether a short way must not take the record: it has a branch that stands otherwise than registered and,
-- once it is decided, held or ended by its first claim as its siblings, or waiting for it with the message that the
-- decision rang; or it has another message.
local function is_marked(head)
  local marked, waiting = false, {}
  for _, branch in ipairs(head.branches) do
    local plain = branch.state == 'trying'
    if head.decision then
      plain = first_claim(branch, head)
      if OPENED[branch.state] and branch.epoch == 0 and branch.attempts == 0 then
        plain, waiting[branch.participant] = true, true
      end
    end
    if head.decision == 'confirm' then
      plain = plain and not branch_text(branch, '.state', head)
    end
    marked = marked or not plain or branch_text(branch, '.wait', head) ~= nil
  end
  for name in pairs(waiting) do
    marked = marked or not head.bells[name]
  end
  for name, bell in pairs(head.bells) do
    marked = marked or not waiting[name] or not is_first_bell(bell, head)
  end
  return marked
end

-- Whether all that is not plain of an undecided record is that branches were reported to have succeeded.
local function is_apart(head)
  local apart = not head.decision
  for _, branch in ipairs(head.branches) do
    apart = apart and (branch.state == 'trying' or branch.state == 'tried')
  end
  return apart
end

function record_text(head)
  local looked = head.looked and ' looked' or ''
  local marks = looked .. (head.key and ' keyed' or '')
  if is_marked(head) then
    marks = is_apart(head) and APART[marks] or looked .. ' marked'
  end
  return plain_text(#head.branches) .. head.retention_ms .. marks
end
end

local function sorted_names(set)
  local names = {}
  for name in pairs(set) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function bells_text(head)
  local parts = {}
  for place, name in ipairs(sorted_names(head.bells)) do
    local bell = head.bells[name]
    local words = ' ' .. bell.entry
    if not is_first_bell(bell, head) then
      words = ' rung=' .. bell.count .. ' again=' .. moment_text(bell.again) .. ' entry=' .. bell.entry
    end
    parts[place] = name .. words
  end
  if #parts > 0 then
    return table.concat(parts, '; ')
  end
end

local load
do
-- What must hold between the fields of the head.
local function check_head(head)
  if not string.find(head.name or '', NAME) then
    unreadable('name', 'no name')
  end
  local state = STATES[head.state]
  if not state then
    unreadable('state', 'no such state')
  end
  if head.decision ~= state.decision then
    unreadable('decided', 'against state')
  end
  if state.final ~= (head.ended ~= nil) then
    unreadable('ended', 'against state')
  end
  if head.bells and (not head.decision or state.final) then
    unreadable('bells', 'against state')
  end
end

-- What must hold between the head and the branches (invariants I1, I3 and I5).
local function check_branches(head, branches)
  local open = 0
  for place, branch in ipairs(branches) do
    local direction = DIRECTION[branch.state]
    local allowed = direction == head.decision
    if head.decision == 'confirm' and direction == 'cancel' then
      allowed = branch.try == 'refused'
    end
    if not allowed then
      unreadable(ordinal_text(place), 'against decision')
    end
    if not FINAL[branch.state] then
      open = open + 1
    end
  end
  if head.decision and is_final(head.state) ~= (open == 0) then
    unreadable('state', 'against branches')
  end
end

local function read_fields(names)
  local values = {}
  for first = 1, #names, PART do
    local last = math.min(first + PART - 1, #names)
    local part = redis.pcall('HMGET', TX, unpack(names, first, last))
    if part.err then
      unreadable('type', 'no hash')
    end
    for place = first, last do
      local value = part[place - first + 1]
      if value then
        values[names[place]] = value
        stored[names[place]] = value
      end
    end
  end
  return values
end

function load()
  local head = read_fields(HEAD)
  if not head.record and redis.call('EXISTS', TX) == 0 then
    return nil
  end
  local count = parse_record(head)
  parse_begun(head)
  if head.decided then
    parse_decided(head)
  end
  check_head(head)
  head.ended_at = head.ended and moment_of('ended', head.ended)
  parse_until(head)
  if head.held then
    head.held = parse_held(head.held, head)
  end
  local fields = {}
  for place = 1, count do
    for _, part in ipairs(PARTS) do
      fields[#fields + 1] = ordinal_text(place) .. part
    end
  end
  local beyond = ordinal_text(count + 1)
  fields[#fields + 1] = beyond
  local values = read_fields(fields)
  if values[beyond] then
    unreadable('record', 'too few branches')
  end
  local branches = {}
  for place = 1, count do
    local texts = {}
    for _, part in ipairs(PARTS) do
      texts[part] = values[ordinal_text(place) .. part]
    end
    branches[place] = parse_branch(place, texts, head)
  end
  check_branches(head, branches)
  head.branches = branches
  head.bells = parse_bells(head.bells or '', head)
  return head
end
end

-- The fields of the record as they are to be stored.
local function texts(head)
  head.held = held_of(head.branches)
  local fields = {
    record = record_text(head), name = head.name, key = head.key, state = head.state,
    begun = begun_text(head.begun_at, head.initiator), decided = decided_text(head),
    ended = head.ended_at and moment_text(head.ended_at), bells = bells_text(head),
    held = held_text(head.held, head),
  }
  if not head.ended_at then
    fields['until'] = until_text(head.lease_until, head.deadline_at)
  end
  for place, branch in ipairs(head.branches) do
    for _, part in ipairs(PARTS) do
      fields[ordinal_text(place) .. part] = branch_text(branch, part, head)
    end
  end
  return fields
end
