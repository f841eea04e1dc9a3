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

-- Fills in branches that follow so many, which begin after this argument. Gives how long their arguments are.
local function take_added(at, there, count)
  local fields, bytes = fields_of(ADDED, there + count), 0
  for place = 1, count do
    local line, arguments = ARGV[at + 2 * place - 1], ARGV[at + 2 * place]
    local field = 2 * (there + place)
    set[4 * place - 3], set[4 * place - 2] = fields[field - 1], line
    set[4 * place - 1], set[4 * place] = fields[field], arguments
    bytes = bytes + #arguments
  end
  return bytes
end

-- What is said of branches that follow so many.
local function said_registered(there, count)
  local said = {}
  for place = 1, count do
    local line = set[4 * place - 2]
    local action = string.sub(line, 1, string.find(line, ' ', 1, true) - 1)
    said[place] = 'registered ' .. ordinal_text(there + place) .. ' ' .. action
  end
  return table.concat(said, '; ')
end

-- The record's first branches, where there is no record yet.
local function register_first(at, count, bytes_max)
  local name, initiator, deadline, lease_ms, retention_ms = ARGV[taken + 2], unpack(ARGV, taken + 4, taken + 7)
  if now >= deadline or take_added(at, 0, count) > bytes_max then
    return nil
  end
  local limits, timer = first_limits(lease_ms, deadline)
  local kept = plain_text(count) .. number_text(retention_ms)
  local said = HISTORY_MAX > 0
    and moment_text(now) .. ' begun by ' .. initiator .. '; ' .. said_registered(0, count)
  if not begin_quick(said) then
    return nil
  end
  write_first(kept, name, initiator, limits, timer, unpack(set, 1, 4 * count))
  return QUICK
end

-- What an undecided record holds of the branches that are there.
local THERE = { head = 'record state until', parts = { '', '.result' }, beyond = true, apart = true }
local NONE_ADDED = { head = 'record state until', parts = {}, beyond = true, apart = true }
local CALL, BYTES = ' call=(%d[%d.]*) ', ' arguments=(%d+):%x+$'

-- Whether none of these calls, which begin after this argument, was made before; and how long the payloads are of
-- those that were.
local function find_calls(found, there, at, count)
  local calls, sum = {}, 0
  for place = 1, there do
    local line, result = found[2 + 2 * place] or '', found[3 + 2 * place]
    local call, bytes = string.match(line, CALL), string.match(line, BYTES)
    local result_bytes = result and string.match(result, '^(%d+):%x+ ') or 0
    if not call or not bytes or not result_bytes then
      return nil
    end
    calls[call], sum = true, sum + bytes + result_bytes
  end
  for place = 1, count do
    local call = string.match(ARGV[at + 2 * place - 1], CALL)
    if not call or calls[call] then
      return nil
    end
  end
  return sum
end

-- Branches that follow others. Whoever makes the calls counts them, so that the first tells how many those are.
local function register_next(at, count, branches_max, bytes_max)
  local first = count > 0 and tonumber(string.match(ARGV[at + 1], ' call=(%d+) '))
  local guess = first and first > 0 and first <= QUICK_MAX and first - 1 or nil
  local found, there = read_plain(count > 0 and THERE or NONE_ADDED, guess)
  if not found or found[2] ~= 'trying' or there + count > QUICK_MAX or there + count > branches_max then
    return nil
  end
  local _, deadline = find_limits(found[3])
  -- Moments of one length sort as they follow each other.
  if not deadline or deadline <= moment_text(now) then
    return nil
  end
  -- Whoever adds nothing asks whether it may be joined.
  if count == 0 then
    return { 'quick', there }
  end
  local sum = find_calls(found, there, at, count)
  if not sum or sum + take_added(at, there, count) > bytes_max then
    return nil
  end
  if not begin_quick(HISTORY_MAX > 0 and moment_text(now) .. ' ' .. said_registered(there, count)) then
    return nil
  end
  local rest = string.sub(found[1], #plain_text(there) + 1)
  redis.call('HSET', TX, 'record', plain_text(there + count) .. rest, unpack(set, 1, 4 * count))
  return { 'quick', there }
end

local function quick()
  local creates, key = ARGV[taken + 1], ARGV[taken + 3]
  -- Where what follows the one who creates it begins.
  local at = taken + (creates == 1 and 7 or 1)
  local distinct, branches_max, bytes_max, count = unpack(ARGV, at + 1, at + 4)
  if distinct ~= 1 or count > QUICK_MAX or count > branches_max or at + 4 + 2 * count ~= last then
    return nil
  end
  if creates == 1 and key == '' and count > 0 and is_new() then
    return register_first(at + 4, count, bytes_max)
  end
  return register_next(at + 4, count, branches_max, bytes_max)
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
