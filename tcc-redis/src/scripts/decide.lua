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

-- The record's fields that the short way looks at, before those of its branches.
local WATCHED = { 'state', 'branches', 'deadline_at' }

local function watched(count)
  local names = { unpack(WATCHED) }
  for place = 1, count do
    names[#names + 1] = ordinal_text(place)
    names[#names + 1] = ordinal_text(place) .. '.try'
  end
  return names
end

-- A commit before the deadline whose branches all succeeded, and are driven by the caller.
local function quick()
  local direction, reason, by, create = take(), take(), take(), take()
  if direction ~= 'confirm' or create ~= '' then
    return nil
  end
  local count = take_number()
  if count == 0 or count > QUICK_MAX then
    return nil
  end
  local first = taken
  taken = taken + 4 * count
  local token = take()
  if token == '' then
    return nil
  end
  local lease_ms, bare, inline = take_number(), take(), take_number()
  if bare ~= '1' or inline ~= count then
    return nil
  end
  local found = redis.pcall('HMGET', TX, unpack(watched(count)))
  if found.err or found[1] ~= 'trying' or found[2] ~= count .. '' or moment_of('deadline_at', found[3]) <= now then
    return nil
  end
  note('decided confirm because', reason, 'by', by)
  local drive = 'epoch=1 token=' .. token .. ' lease=' .. moment_text(now + lease_ms)
  local set = {
    'state', 'confirming', 'decision', 'confirm', 'reason', reason, 'decided_by', by,
    'decided_at', moment_text(now),
  }
  local at, actions = #set, {}
  for place = 1, count do
    local heard = first + 4 * (place - 1)
    local action = string.match(found[2 * place + 2] or '', '^(%S+) trying$')
    local words = string.match(found[2 * place + 3] or '', WORDS_OF_TRYING)
    local named = ARGV[heard + 1] == place .. '' and ARGV[heard + 2] == 'succeeded'
    if not action or not words or not named or ARGV[taken + place] ~= place .. '' then
      return nil
    end
    local ordinal = ordinal_text(place)
    set[at + 1], set[at + 2] = ordinal, action .. ' confirming attempts=1'
    set[at + 3], set[at + 4] = ordinal .. '.try', 'succeeded ' .. words .. ' result=' .. ARGV[heard + 4]
    set[at + 5], set[at + 6] = ordinal .. '.result', ARGV[heard + 3]
    set[at + 7], set[at + 8] = ordinal .. '.drive', drive
    at = at + 8
    if HISTORY_MAX > 0 then
      set[at + 1], set[at + 2] = ordinal .. '.wait', 'claimed=' .. moment_text(now)
      at = at + 2
    end
    note('try of', ordinal, 'succeeded')
    note('claimed', ordinal, 'confirm attempt 1')
    actions[place] = action
  end
  local history = find_history()
  if #missing > 0 or not are_typed(history) then
    return nil
  end
  redis.call('HSET', TX, unpack(set))
  redis.call('ZADD', DUE, now + lease_ms, GID)
  if history then
    keep_notes(history)
  end
  return { 'quick', now, lease_ms, actions }
end

local function take_inline()
  local token = take()
  if token == '' then
    return nil
  end
  local inline = { token = token, lease_ms = take_number(), bare = take() == '1', branches = {} }
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
      drives[#drives + 1] = drive(branch, inline.bare)
    end
  end
  return {
    'ok', now, record.decision, record.reason, record.decided_by, record.decided_at, record.state, drives, lost,
  }
end
