-- Runs the steps of the call one by one. Each writes what it did or nothing, and fails alone.

local function check_types()
  for _, step in ipairs(plan) do
    if not has_type(step[1], step[3]) then
      unreadable(string.sub(step[3], #TAG + 1), 'another type')
    end
  end
end

local function commit()
  local has_notes = #notes > 0
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
  if has_notes and not has_type('list', HISTORY) then
    unreadable(string.sub(HISTORY, #TAG + 1), 'another type')
  end
  write_messages()
  if record then
    write_record()
  end
  for _, step in ipairs(plan) do
    redis.call(unpack(step, 2))
  end
  if has_notes then
    keep_notes(record.ended_at, record.ended_at and expires_at(record))
  end
  return true
end

local function slow(operate)
  write_timers()
  born[TX] = true
  record, stored, payloads, plan, notes, missing = nil, {}, {}, {}, {}, {}
  due, rung, hushed, before = { kind = 'keep' }, {}, {}, {}
  record = load()
  remember()
  local answer = operate()
  if not commit() then
    return { 'need', missing }
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
  local answer = operation.quick()
  if not answer then
    taken = first
    answer = slow(operation.operate)
  end
  return answer
end

local function answer_to(problem, operation)
  -- A command that Redis refused, or a mistake of the script's own.
  local failure = type(problem) == 'string' and problem or problem.err
  if failure then
    return { 'failed', failure }
  end
  if problem.refused then
    return { 'refused', problem.refused }
  end
  if operation.leave then
    operation.leave(problem)
  end
  return { 'unreadable', problem.field, problem.why }
end

-- The step that runs, and what is answered: the time, then a step's answer each.
local place, operation, answers

local function run_from_here(count, histories, transactions)
  while place <= count do
    last = #ARGV
    operation = OPERATIONS[take()]
    local arguments = take_number()
    last = taken + arguments
    TX, HISTORY = KEYS[transactions + place], KEYS[histories + place]
    GID = string.sub(TX, #TAG + 4)
    answers[place + 1] = step(operation)
    taken = last
    place = place + 1
  end
end

local function run(keys, arguments)
  begin_call(keys, arguments)
  read_clock()
  HISTORY_MAX, typed, removed = take_number(), {}, {}
  local histories = 5 + take_number()
  for at = 6, histories do
    declared[KEYS[at]] = true
  end
  ARGV = cmsgpack.unpack(take())
  taken, last = 0, #ARGV
  local count = take_number()
  -- Each step's own keys: its history, if any is kept, and its record.
  local transactions = HISTORY_MAX > 0 and histories + count or histories
  place, answers = 1, { now }
  begin_batch(transactions + 1)
  while place <= count do
    local ok, problem = pcall(run_from_here, count, histories, transactions)
    if not ok then
      answers[place + 1] = answer_to(problem, operation)
      taken = last
      place = place + 1
    end
  end
  write_timers()
  remove_messages()
  keep_time()
  return answers
end
