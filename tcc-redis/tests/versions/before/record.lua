-- The record: a hash that a person can read, one field a fact and one line a branch.

local FORMAT = '1'
local HEAD = {
  'format', 'gid', 'name', 'key', 'initiator', 'state', 'decision', 'reason', 'decided_by', 'decided_at',
  'begun_at', 'deadline_at', 'lease_until', 'retention_ms', 'ended_at', 'branches', 'bells',
}
local MOMENTS = { decided_at = true, begun_at = true, deadline_at = true, lease_until = true, ended_at = true }
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
local record
local stored = {}

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
  if head.gid ~= GID then
    unreadable('gid', 'another')
  end
  if not string.find(head.name or '', NAME) then
    unreadable('name', 'no name')
  end
  if not string.find(head.initiator or '', NAME) then
    unreadable('initiator', 'no name')
  end
  if not string.find(head.retention_ms or '', '^%d+$') then
    unreadable('retention_ms', 'no number')
  end
  -- Five digits bound every loop over branches.
  if not string.find(head.branches or '', '^%d%d?%d?%d?%d?$') then
    unreadable('branches', 'no number')
  end
  local state = STATES[head.state]
  if not state then
    unreadable('state', 'no such state')
  end
  if head.decision ~= state.decision then
    unreadable('decision', 'against state')
  end
  if head.decision and not REASONS[head.reason] or not head.decision and head.reason then
    unreadable('reason', 'no such reason')
  end
  if head.decision and not string.find(head.decided_by or '', NAME) or not head.decision and head.decided_by then
    unreadable('decided_by', 'no name')
  end
  if (head.decision ~= nil) ~= (head.decided_at ~= nil) then
    unreadable('decided_at', 'against decision')
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
  if not head.format then
    if redis.call('EXISTS', TX) == 0 then
      return nil
    end
    unreadable('format', 'no format')
  end
  if head.format ~= FORMAT then
    unreadable('format', 'another version')
  end
  check_head(head)
  for name in pairs(MOMENTS) do
    if head[name] or name == 'begun_at' or name == 'deadline_at' or name == 'lease_until' then
      head[name] = moment_of(name, head[name])
    end
  end
  local fields = {}
  for place = 1, tonumber(head.branches) do
    fields[place] = ordinal_text(place)
  end
  local lines = read_fields(fields)
  local branches = {}
  for place, field in ipairs(fields) do
    branches[place] = parse_branch(place, lines[field])
  end
  check_branches(head, branches)
  head.branches = branches
  head.bells = parse_bells(head.bells or '')
  return head
end

-- The fields of the record as they are to be stored.
local function texts(head)
  local fields = {}
  for _, name in ipairs(HEAD) do
    local value = head[name]
    if MOMENTS[name] and value then
      value = moment_text(value)
    end
    fields[name] = value
  end
  fields.branches = #head.branches .. ''
  fields.bells = bells_text(head.bells)
  for place, branch in ipairs(head.branches) do
    fields[ordinal_text(place)] = branch_text(branch)
  end
  return fields
end
