-- Registers branches before their tries run, all or none (rules 3 and 6a).

local function take_branch()
  return { call = take(), runner = take_optional(), action = take(), arguments = take() }
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
  return branch.action == new.action and payload_of(branch, 'arguments') == new.arguments
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
    participant = participant_of(new.action), arguments = seal_of(new.arguments), attempts = 0, epoch = 0,
    next = 0,
  }
  record.branches[place] = branch
  set_text(place, 'arguments', new.arguments)
  note('registered', ordinal_text(place), new.action)
  return branch
end

-- A call made twice is one branch (rule 16).
local function operate()
  local new = take_create()
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
  return { 'ok', now, answers }
end
