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

local WATCHED = { head = 'record state until begun', parts = {} }
local WATCHED_TO_RING = { head = 'record state until begun', parts = { '' } }
local WRITTEN = { head = '', parts = { '.result' } }
local STANDING = { head = '', parts = { '.state' } }
-- What is written, filled anew by each step.
local set = {}

-- Before and after why it was decided, and by whom.
local tried_texts, claimed_texts = {}, {}

local function said_tried(count)
  if not tried_texts[count] then
    local text = ' '
    for place = 1, count do
      text = text .. 'try of ' .. ordinal_text(place) .. ' succeeded; '
    end
    tried_texts[count] = text .. 'decided confirm because '
  end
  return tried_texts[count]
end

-- The same of those that nobody reported on.
local function said_heard(places)
  local said = {}
  for number, place in ipairs(places) do
    said[number] = 'try of ' .. ordinal_text(place) .. ' succeeded; '
  end
  return ' ' .. table.concat(said) .. 'decided confirm because '
end

local function said_claimed(count)
  if not claimed_texts[count] then
    local text = ''
    for place = 1, count do
      text = text .. '; claimed ' .. ordinal_text(place) .. ' confirm attempt 1'
    end
    claimed_texts[count] = text
  end
  return claimed_texts[count]
end

-- How the branches stand of a record where they stand apart, and what it says once they do not.
local function read_apart(text, count)
  local retention, marks, apart = apart_retention(text, count)
  if apart then
    local stands = redis.call('HMGET', TX, unpack(fields_of(STANDING, count)))
    stands.record = plain_text(count) .. retention .. marks
    return stands
  end
end

-- What an undecided record holds in the fields of this kind, the decision as it is to be stored, its timer, and how its
-- branches stand if they stand apart; if it may be confirmed now.
local function read_undecided(kind, count, reason, by)
  if count == 0 or count > QUICK_MAX then
    return nil
  end
  local found = redis.pcall('HMGET', TX, unpack(fields_of(kind, count)))
  if found.err or found[2] ~= 'trying' then
    return nil
  end
  local apart
  if not plain_retention(found[1], count) then
    apart = read_apart(found[1], count)
    if not apart then
      return nil
    end
  end
  local lease, deadline = find_limits(found[3])
  local at = moment_text(now)
  -- Moments of one length sort as they follow each other.
  if not lease or deadline <= at then
    return nil
  end
  local decided = at .. ' confirm ' .. reason
  local begun_by, decided_by = string.sub(found[4] or '', 25), ' by ' .. by
  if begun_by ~= decided_by then
    if not string.find(begun_by, '^ by [%w._-]+$') then
      return nil
    end
    decided = decided .. decided_by
  end
  -- Before both of these, no timer stands.
  return found, decided, lease < deadline and lease or deadline, apart
end

-- Fills in the results, which begin after this argument; where branches stand apart, those of branches that nobody
-- reported on. Gives how many values that are, and what is said of it.
local function take_heard_results(at, count, apart)
  local fields = fields_of(WRITTEN, count)
  if not apart then
    for place = 1, count do
      set[2 * place - 1], set[2 * place] = fields[place], ARGV[at + place]
    end
    return 2 * count, HISTORY_MAX > 0 and said_tried(count)
  end
  local heard = {}
  for place = 1, count do
    if not apart[place] then
      heard[#heard + 1] = place
      set[2 * #heard - 1], set[2 * #heard] = fields[place], ARGV[at + place]
    elseif apart[place] ~= 'tried succeeded' then
      return nil
    end
  end
  local size = 2 * #heard + 2
  set[size - 1], set[size] = 'record', apart.record
  return size, HISTORY_MAX > 0 and said_heard(heard)
end

-- In a confirming record it goes without saying how they stand.
local function stand_together(count, apart)
  if apart then
    redis.call('HDEL', TX, unpack(fields_of(STANDING, count)))
  end
end

-- Someone must look at it then, unless its timer stands there or before.
local function look_at(millis, timer)
  if timer > moment_text(millis) then
    timers_earlier[#timers_earlier + 1] = number_text(millis)
    timers_earlier[#timers_earlier + 1] = GID
  end
end

-- A commit before the deadline whose branches all succeeded, and are driven by the caller.
local function drive_all()
  local direction, reason, by, create, token, lease_ms, bare, claimed, count, all = unpack(ARGV, taken + 1, taken + 10)
  if direction ~= 'confirm' or create ~= 0 or token == '' or bare ~= 1 or claimed ~= ALL or all ~= ALL
    or taken + 10 + count ~= last then
    return nil
  end
  local found, decided, timer, apart = read_undecided(WATCHED, count, reason, by)
  -- What was reported is the record's to tell.
  if not found or apart then
    return nil
  end
  local size, tried = take_heard_results(taken + 10, count)
  local held = 'token=' .. token .. ' lease=' .. moment_text(now + lease_ms)
  if not begin_quick(tried and moment_text(now) .. tried .. reason .. ' by ' .. by .. said_claimed(count)) then
    return nil
  end
  redis.call('HSET', TX, 'state', 'confirming', 'decided', decided, 'held', held, unpack(set, 1, size))
  look_at(now + lease_ms, timer)
  return QUICK
end

-- The participants of all branches, in order, and their queues.
local function find_rung(found, count)
  local names, queues = {}, {}
  for place = 1, count do
    local name = participant_at(found[4 + place])
    local queue = name and TAG .. 'ready:' .. name
    if not queue or not declared[queue] or not has_type('stream', queue) then
      return nil
    end
    if not queues[name] then
      names[#names + 1], queues[name] = name, queue
    end
  end
  table.sort(names)
  return names, queues
end

-- The same of branches that the caller does not drive: their participants are rung for.
local function drive_none()
  local direction, reason, by, create, token, count, all = unpack(ARGV, taken + 1, taken + 7)
  if direction ~= 'confirm' or create ~= 0 or token ~= '' or all ~= ALL or taken + 7 + count ~= last then
    return nil
  end
  local found, decided, timer, apart = read_undecided(WATCHED_TO_RING, count, reason, by)
  if not found then
    return nil
  end
  local names, queues = find_rung(found, count)
  local size, tried = take_heard_results(taken + 7, count, apart)
  if not names or not size or not begin_quick(tried and moment_text(now) .. tried .. reason .. ' by ' .. by) then
    return nil
  end
  for place, name in ipairs(names) do
    names[place] = name .. ' ' .. redis.call('XADD', queues[name], '*', 'gid', GID)
  end
  redis.call('HSET', TX, 'state', 'confirming', 'decided', decided, 'bells', table.concat(names, '; '),
    unpack(set, 1, size))
  stand_together(count, apart)
  -- When they are rung for again.
  look_at(now + BELL_BASE, timer)
  return QUICK
end

function quick()
  return drive_all() or drive_none()
end

local function take_inline()
  local token = take()
  if token == '' then
    return nil
  end
  local inline = { token = token, lease_ms = take_number(), bare = take_flag(), branches = {} }
  local count = take()
  -- Every branch that was heard of.
  inline.all = count == ALL
  for _ = 1, inline.all and 0 or count do
    inline.branches[take_number()] = true
  end
  return inline
end

local function take_heard(inline)
  local count, all, heard = take_number(), take() == ALL, {}
  for place = 1, count do
    heard[place] = all and { place = place, try = 'succeeded', result = take() } or take_report()
    if inline and inline.all then
      inline.branches[heard[place].place] = true
    end
  end
  return heard
end

local function operate()
  local direction, reason, by = take(), take(), take()
  local new = take_create()
  local inline = take_inline()
  local heard = take_heard(inline)
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
