-- Runs the steps of the call one by one. Each writes what it did or nothing, and fails alone.

local function check_types()
  for _, step in ipairs(plan) do
    if not has_type(step[1], step[3]) then
      unreadable(string.sub(step[3], #TAG + 1), 'another type')
    end
  end
end

local function commit()
  local history = find_history()
  if record then
    if before.ended_at ~= record.ended_at then
      plan_lifetime()
    end
    plan_indexes()
  end
  plan_timer()
  find_queues()
  if #missing > 0 then
    return false
  end
  check_types()
  if history and not has_type('list', history) then
    unreadable(string.sub(history, #TAG + 1), 'another type')
  end
  write_messages()
  if record then
    write_record()
  end
  for _, step in ipairs(plan) do
    redis.call(unpack(step, 2))
  end
  if history then
    keep_notes(history, record.ended_at, record.ended_at and expires_at(record))
  end
  return true
end

local function slow(operate)
  record, stored, payloads, plan, notes, missing = nil, {}, {}, {}, {}, {}
  due, rung, hushed, before = { kind = 'keep' }, {}, {}, {}
  record = load()
  remember()
  local answer = operate()
  if not commit() then
    return { 'need', now, missing }
  end
  return answer
end

-- Most steps find what they expect, and take the short way. One that does not has written nothing, and
-- takes the long way, which knows every rule.
local function step(operation)
  if not operation.quick then
    return slow(operation.operate)
  end
  local first = taken
  notes, missing, before = {}, {}, {}
  local answer = operation.quick()
  if not answer then
    taken = first
    answer = slow(operation.operate)
  end
  return answer
end

local function answer_of_step(operation)
  local ok, answer = pcall(step, operation)
  if ok then
    return answer
  end
  -- A command that Redis refused, or a mistake of the script's own.
  local failure = type(answer) == 'string' and answer or answer.err
  if failure then
    return { 'failed', now, failure }
  end
  if answer.refused then
    return { 'refused', now, answer.refused }
  end
  if operation.leave then
    operation.leave(answer)
  end
  return { 'unreadable', now, answer.field, answer.why }
end

local function run(keys, arguments)
  begin_call(keys, arguments)
  read_clock()
  HISTORY_MAX, typed, QUICK = take_number(), {}, { 'quick', now }
  for place = 6, 5 + take_number() do
    declared[KEYS[place]] = true
  end
  local answers = {}
  for place = 1, take_number() do
    local operation, gid = OPERATIONS[take()], take()
    local last = taken + 1 + take_number()
    GID, TX = gid, TAG .. 'tx:' .. gid
    answers[place] = answer_of_step(operation)
    taken = last
  end
  keep_time()
  return answers
end
