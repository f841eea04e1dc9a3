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

-- Claims every branch that was heard of.
local ALL = '*'

local WATCHED = { head = 'state branches deadline_at lease_until initiator format', parts = {} }
local WRITTEN = { head = '', parts = { '.state', '.result' } }

-- A commit before the deadline whose branches all succeeded, and are driven by the caller.
local function quick()
  local direction, reason, by, create, count = unpack(ARGV, taken + 1, taken + 4)
  count = tonumber(ARGV[taken + 5])
  if direction ~= 'confirm' or create ~= '' or count == 0 or count > QUICK_MAX then
    return nil
  end
  local heard = taken + 5
  local claim = heard + 4 * count
  local token = ARGV[claim + 1]
  if token == '' or ARGV[claim + 3] ~= '1' or ARGV[claim + 4] ~= ALL then
    return nil
  end
  local found = redis.pcall('HMGET', TX, unpack(fields_of(WATCHED, count)))
  local fields, set = fields_of(WRITTEN, count), {}
  if found.err or found[6] ~= FORMAT or found[1] ~= 'trying' or found[2] ~= fields.count or not found[4] or not found[5] then
    return nil
  end
  local lease_ms, at_text = tonumber(ARGV[claim + 2]), moment_text(now)
  -- Moments of one length sort as they follow each other.
  if #(found[3] or '') ~= #at_text or found[3] <= at_text then
    return nil
  end
  local lease = moment_text(now + lease_ms)
  for place = 1, count do
    local one = heard + 4 * (place - 1)
    if tonumber(ARGV[one + 1]) ~= place or ARGV[one + 2] ~= 'succeeded' then
      return nil
    end
    local at = 4 * (place - 1)
    set[at + 1], set[at + 2] = fields[2 * place - 1], 'confirming succeeded held result=' .. ARGV[one + 4]
    set[at + 3], set[at + 4] = fields[2 * place], ARGV[one + 3]
  end
  local lines = begin_notes()
  if not lines then
    return nil
  end
  for place = 1, HISTORY_MAX > 0 and count or 0 do
    line(lines, 'try of ' .. ordinal_text(place) .. ' succeeded')
  end
  line(lines, 'decided confirm because ' .. reason .. ' by ' .. by)
  for place = 1, HISTORY_MAX > 0 and count or 0 do
    line(lines, 'claimed ' .. ordinal_text(place) .. ' confirm attempt 1')
  end
  if not write_lines(lines) then
    return nil
  end
  local decided = at_text .. ' confirm ' .. reason
  if by ~= found[5] then
    decided = decided .. ' by ' .. by
  end
  redis.call('HSET', TX, 'state', 'confirming', 'decided', decided, 'held', 'token=' .. token .. ' lease=' .. lease, unpack(set))
  -- The timer stands at one of these already, or before.
  if found[4] > lease and found[3] > lease then
    redis.call('ZADD', DUE, 'LT', number_text(now + lease_ms), GID)
  end
  return QUICK
end

local function take_inline(heard)
  local token = take()
  if token == '' then
    return nil
  end
  local inline = { token = token, lease_ms = take_number(), bare = take() == '1', branches = {} }
  local count = take()
  if count == ALL then
    for _, report in ipairs(heard) do
      inline.branches[report.place] = true
    end
  else
    for _ = 1, tonumber(count) do
      inline.branches[take_number()] = true
    end
  end
  return inline
end

local function operate()
  local direction, reason, by = take(), take(), take()
  local new = take_create()
  local heard = take_list(take_report)
  local inline = take_inline(heard)
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
      drives[#drives + 1] = drive(branch, inline.bare)
    end
  end
  return { 'ok', record.decision, record.reason, record.decided_by, record.decided_at, record.state, drives, lost,
  }
end
