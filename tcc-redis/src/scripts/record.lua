-- The record: a hash that a person can read, one field a fact, its branches in fields by ordinal.

local FORMAT = '1'
local HEAD = {
  'format', 'name', 'key', 'initiator', 'state', 'decided', 'begun_at', 'deadline_at', 'lease_until',
  'retention_ms', 'ended_at', 'branches', 'bells', 'held',
}
local MOMENTS = { begun_at = true, deadline_at = true, lease_until = true, ended_at = true }
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

-- The record as it was read, and what the step does to it.
local record, stored

local function is_final(state)
  return STATES[state].final
end

local function parse_bells(text)
  local bells = {}
  for bell in string.gmatch(text, '[^;]+') do
    local name, count, again, entry = string.match(bell, '^ ?(%S+) rung=(%d+) again=(%S+) entry=(%d+-%d+)$')
    if not name or not string.find(name, NAME) then
      unreadable('bells', 'no bell')
    end
    bells[name] = { count = tonumber(count), again = moment_of('bells', again), entry = entry }
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

local function parse_held(text)
  local token, lease = string.match(text, '^token=(%x+) lease=(%S+)$')
  if not token or not string.find(token, TOKEN) then
    unreadable('held', 'no claim')
  end
  return { token = token, lease = moment_of('held', lease) }
end

local function held_text(held)
  return held and 'token=' .. held.token .. ' lease=' .. moment_text(held.lease)
end

-- `2`; `2 looked` once it is in the list of open ones; `2 marked`, or both, where it has what a short way does
-- not look for.
local MARKS = { [''] = {}, [' looked'] = { true }, [' marked'] = {}, [' looked marked'] = { true } }

local function parse_branches(head)
  -- Five digits bound every loop over branches.
  local count, marks = string.match(head.branches or '', '^(%d%d?%d?%d?%d?)(.*)$')
  if not count or not MARKS[marks] then
    unreadable('branches', 'no number')
  end
  head.looked = MARKS[marks][1]
  return tonumber(count)
end

-- Whether a short way must not take the record: it has a key, a message, or a branch that stands otherwise
-- than registered and, once it is decided, held or ended by its first claim.
local function is_marked(head)
  local marked = head.key ~= nil or next(head.bells) ~= nil
  for _, branch in ipairs(head.branches) do
    local plain = branch.state == 'trying' or head.decision and first_claim(branch, head)
    marked = marked or not plain or branch_text(branch, '.wait', head) ~= nil
  end
  return marked
end

local function branches_text(head)
  return #head.branches .. (head.looked and ' looked' or '') .. (is_marked(head) and ' marked' or '')
end

local function sorted_names(set)
  local names = {}
  for name in pairs(set) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function bells_text(bells)
  local parts = {}
  for place, name in ipairs(sorted_names(bells)) do
    local bell = bells[name]
    local words = ' rung=' .. bell.count .. ' again=' .. moment_text(bell.again) .. ' entry=' .. bell.entry
    parts[place] = name .. words
  end
  if #parts > 0 then
    return table.concat(parts, '; ')
  end
end

-- What must hold between the fields of the head.
local function check_head(head)
  if not string.find(head.name or '', NAME) then
    unreadable('name', 'no name')
  end
  if not string.find(head.initiator or '', NAME) then
    unreadable('initiator', 'no name')
  end
  if not string.find(head.retention_ms or '', '^%d+$') then
    unreadable('retention_ms', 'no number')
  end
  local state = STATES[head.state]
  if not state then
    unreadable('state', 'no such state')
  end
  if head.decision ~= state.decision then
    unreadable('decided', 'against state')
  end
  if state.final ~= (head.ended_at ~= nil) then
    unreadable('ended_at', 'against state')
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

local function load()
  local head = read_fields(HEAD)
  if not head.format and redis.call('EXISTS', TX) == 0 then
    return nil
  end
  if head.format ~= FORMAT then
    unreadable('format', 'another version')
  end
  if head.decided then
    parse_decided(head)
  end
  check_head(head)
  for name in pairs(MOMENTS) do
    if head[name] or name ~= 'ended_at' then
      head[name] = moment_of(name, head[name])
    end
  end
  if head.held then
    head.held = parse_held(head.held)
  end
  local count = parse_branches(head)
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
    unreadable('branches', 'too few')
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
  head.bells = parse_bells(head.bells or '')
  return head
end

-- The fields of the record as they are to be stored.
local function texts(head)
  head.held = held_of(head.branches)
  local fields = {}
  for _, name in ipairs(HEAD) do
    local value = head[name]
    if MOMENTS[name] and value then
      value = moment_text(value)
    end
    fields[name] = value
  end
  fields.decided = decided_text(head)
  fields.held = held_text(head.held)
  fields.branches = branches_text(head)
  fields.bells = bells_text(head.bells)
  for place, branch in ipairs(head.branches) do
    for _, part in ipairs(PARTS) do
      fields[ordinal_text(place) .. part] = branch_text(branch, part, head)
    end
  end
  return fields
end
