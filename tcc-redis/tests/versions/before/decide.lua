-- Decides, once (rules 1, 4, 6c and 7).

-- Why a commit must cancel instead.
local function objection(heard, conflict, lost)
  if now >= record.deadline_at then
    return 'deadline_passed'
  end
  if conflict then
    return 'outcome_conflict'
  end
  if #lost > 0 then
    return 'lost_branch'
  end
  local named, unknown = {}, false
  for _, report in ipairs(heard) do
    named[report.place] = true
    unknown = unknown or report.try == ''
  end
  for place in ipairs(record.branches) do
    if not named[place] then
      return 'unnamed_branch'
    end
  end
  if unknown then
    return 'unknown_outcome'
  end
end

local function take_inline()
  local token = take()
  if token == '' then
    return nil
  end
  local inline = { token = token, lease_ms = take_number(), branches = {} }
  for _, place in ipairs(take_list(take_number)) do
    inline.branches[place] = true
  end
  return inline
end

local function operate()
  local direction, reason, by = take(), take(), take()
  local new = take_create()
  local heard = take_list(take_report)
  local inline = take_inline()
  if not record then
    if not new or direction ~= 'cancel' then
      refuse('not_found')
    end
    create(new)
  end
  local lost, conflict = {}, false
  for _, report in ipairs(heard) do
    local learned
    if report.try ~= '' then
      learned = learn(report)
    elseif not record.branches[report.place] then
      learned = 'lost'
    end
    if learned == 'lost' then
      lost[#lost + 1] = report.place
    end
    conflict = conflict or learned == 'conflict'
  end
  if not record.decision then
    local against = direction == 'confirm' and objection(heard, conflict, lost)
    make_decision(against and 'cancel' or direction, against or reason, by, inline)
  end
  local drives = {}
  for _, branch in ipairs(record.branches) do
    if inline and branch.token == inline.token and leased_until(branch) and OPENED[branch.state] then
      drives[#drives + 1] = drive(branch)
    end
  end
  return {
    'ok', now, record.decision, record.reason, record.decided_by, record.decided_at, record.state, drives, lost,
  }
end
