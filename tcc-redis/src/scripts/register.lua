-- Registers branches before their tries run, all or none (rules 3 and 6a).

-- A branch's first field as it is to be stored, and its arguments.
local function take_branch()
  local line, arguments = take(), take()
  local action, words = string.match(line, '^(%S+)(.*)$')
  local said = {}
  parse_words('', '', words, said)
  return {
    call = said.call, runner = said.runner, action = action, trace = said.trace, arguments = arguments,
    seal = said.arguments,
  }
end

local function find(call)
  for _, branch in ipairs(record.branches) do
    if branch.call == call then
      return branch
    end
  end
end

local function payload_bytes()
  local bytes = 0
  for _, branch in ipairs(record.branches) do
    bytes = bytes + sealed_bytes(branch.arguments) + sealed_bytes(branch.result)
  end
  return bytes
end

local function is_same(branch, new)
  return branch.action == new.action and arguments_of(branch) == new.arguments
end

local function check(branches, branches_max, bytes_max)
  if record.decision then
    refuse('already_decided', record.decision)
  end
  if now >= record.deadline_at then
    refuse('deadline_passed')
  end
  local added, count, bytes = {}, 0, payload_bytes()
  for _, new in ipairs(branches) do
    local branch, twin = find(new.call), added[new.call]
    local same = branch and is_same(branch, new)
    if twin then
      same = twin.action == new.action and twin.arguments == new.arguments
    end
    if not branch and not twin then
      added[new.call] = new
      count = count + 1
      bytes = bytes + #new.arguments
    elseif not same then
      refuse('call_mismatch', new.call)
    end
  end
  -- A repetition adds nothing, so that limits lowered since do not refuse it.
  if count > 0 and #record.branches + count > branches_max then
    refuse('too_many_branches', branches_max)
  end
  if count > 0 and bytes > bytes_max then
    refuse('too_many_payload_bytes', bytes_max)
  end
end

local function add(new)
  local place = #record.branches + 1
  local branch = {
    place = place, call = new.call, runner = new.runner, action = new.action, state = 'trying',
    trace = new.trace, arguments = new.seal, attempts = 0, epoch = 0, next = 0,
  }
  record.branches[place] = branch
  set_text(place, 'arguments', new.arguments)
  note('registered', ordinal_text(place), new.action)
  return branch
end

local ADDED = { head = '', parts = { '', '.arguments' } }
-- What is written, filled anew by each step.
local set = {}

-- The record's first branches, where there is no record yet.
local function quick()
  local creates, name, key, initiator, deadline, lease_ms, retention_ms, distinct, branches_max, bytes_max, count =
    unpack(ARGV, taken + 1, taken + 11)
  if creates ~= 1 or key ~= '' or distinct ~= 1 then
    return nil
  end
  if count > QUICK_MAX or count > branches_max or now >= deadline or not is_new() then
    return nil
  end
  local lease_until = now + lease_ms
  local fields, branches, bytes = fields_of(ADDED, count), taken + 11, 0
  for at = 1, 2 * count, 2 do
    local line, arguments = ARGV[branches + at], ARGV[branches + at + 1]
    set[2 * at - 1], set[2 * at], set[2 * at + 1], set[2 * at + 2] = fields[at], line, fields[at + 1], arguments
    bytes = bytes + #arguments
  end
  local said = HISTORY_MAX > 0 and moment_text(now) .. ' begun by ' .. initiator
  for place = 1, said and count or 0 do
    local line = set[4 * place - 2]
    local action = string.sub(line, 1, string.find(line, ' ', 1, true) - 1)
    said = said .. '; registered ' .. ordinal_text(place) .. ' ' .. action
  end
  if bytes > bytes_max or not begin_quick(said) then
    return nil
  end
  redis.call('HSET', TX, 'record', plain_text(count) .. number_text(retention_ms), 'name', name, 'state', 'trying',
    'begun', begun_text(now, initiator), 'until', until_text(lease_until, deadline), unpack(set, 1, 4 * count))
  born[TX] = true
  timers_set[#timers_set + 1] = number_text(lease_until < deadline and lease_until or deadline)
  timers_set[#timers_set + 1] = GID
  return QUICK
end

-- A call made twice is one branch (rule 16).
local function operate()
  local new = take_create()
  -- Whether no call comes twice matters only to the short way.
  take()
  local branches_max, bytes_max = take_number(), take_number()
  local branches = take_list(take_branch)
  if not record then
    if not new then
      refuse('not_found')
    end
    create(new)
  end
  check(branches, branches_max, bytes_max)
  local answers = {}
  for place, asked in ipairs(branches) do
    local branch = find(asked.call)
    local yours = not branch or branch.runner == asked.runner
    branch = branch or add(asked)
    answers[place] = { branch.place, yours and 1 or 0, branch.try or 'unknown', result_of(branch) }
  end
  return { 'ok', answers }
end
