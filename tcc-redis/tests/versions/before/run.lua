-- Runs the operation, and writes what it did or nothing.

local function check_types()
  for _, step in ipairs(plan) do
    if not has_type(step[1], step[3]) then
      unreadable(string.sub(step[3], #TAG + 1), 'another type')
    end
  end
end

local function commit()
  if record then
    if before.ended_at ~= record.ended_at then
      plan_lifetime()
    end
    plan_indexes()
    plan_history()
  end
  plan_timer()
  find_queues()
  if #missing > 0 then
    return false
  end
  check_types()
  write_messages()
  if record then
    write_record()
  end
  for _, step in ipairs(plan) do
    redis.call(unpack(step, 2))
  end
  return true
end

local function step()
  record = load()
  remember()
  local answer = operate()
  if not commit() then
    return { 'need', now, missing }
  end
  return answer
end

local ok, answer = pcall(step)
if not ok then
  -- A command that Redis refused, or a mistake of the script's own.
  if type(answer) == 'string' then
    return redis.error_reply(answer)
  end
  if answer.refused then
    answer = { 'refused', now, answer.refused }
  else
    if leave then
      leave(answer)
    end
    answer = { 'unreadable', now, answer.field, answer.why }
  end
end
if answer[1] ~= 'need' then
  keep_time()
end
return answer
