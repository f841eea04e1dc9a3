#!lua name=tcc_171b6addb79f97ec
local OPERATIONS, FUNCTIONS = {}, {}
-- Names of keys, and the arguments of the call.

local GROUP = 'workers'

local KEYS, ARGV
local CLOCK, DUE, OPEN, PARKED, UNREADABLE, TAG

-- The transaction a step is of, and where its history goes if one is kept.
local TX, GID, HISTORY

-- Keys that depend on what the record holds (a participant's queue, a business key) are declared by the
-- caller as far as it knows them. One that is missing is neither read nor written: the step writes nothing
-- and names it, and is sent again.
local declared, missing

local function key_of(suffix)
  local key = TAG .. suffix
  if declared[key] then
    return key
  end
  missing[#missing + 1] = suffix
end

-- The place of the argument taken last, and of the last one there is to take.
local taken, last

-- What a call left here, even one that was killed, means nothing to the next.
local function begin_call(keys, arguments)
  KEYS, ARGV, taken, last = keys, arguments, 0, #arguments
  CLOCK, DUE, OPEN, PARKED, UNREADABLE = unpack(keys, 1, 5)
  TAG = string.match(CLOCK, '^(.-}:)')
  declared, missing = {}, {}
end

-- No step reads what is another's, and no list is longer than what is sent. A short way looks whether its arguments end
-- where they should.
local function take()
  if taken == last then
    error('too few arguments')
  end
  taken = taken + 1
  return ARGV[taken]
end

local function take_number()
  local number = tonumber(take())
  -- What equals nothing, itself included, would be noticed when a part is written.
  if number ~= number then
    error('no number')
  end
  return number
end

local function take_flag()
  return take() == 1
end

local function take_optional()
  local text = take()
  if text ~= '' then
    return text
  end
end

local function take_list(read)
  local list = {}
  for place = 1, take_number() do
    list[place] = read()
  end
  return list
end

-- Says that a list is what it most often is, so that less is said of it.
local ALL = '*'

-- What cannot be read ends the step before anything is written.
local function unreadable(field, why)
  error({ field = field, why = why })
end

-- Time as the test's call gives it, in milliseconds.

local function clock()
  return take_number()
end

-- Moments: milliseconds in calculations, RFC 3339 in the record. `now` never goes back, whatever the
-- server's clock does (§4 "Time").

local mark, now

-- Numbers as this call wrote them: those of many steps are the same.
local numbers = {}

local function number_text(number)
  local text = numbers[number]
  if not text then
    text = string.format('%d', number)
    numbers[number] = text
  end
  return text
end

local read_clock, moment_text, moment_of
do
local DAY = 86400000

-- Each date is calculated once, and each moment written once a call.
local days, dates, seconds, texts_of, read = {}, {}, {}, {}, {}
local CACHED_MAX = 4096
local cached = 0

function read_clock()
  mark = tonumber(redis.pcall('GET', CLOCK)) or 0
  now = math.max(clock(), mark)
  texts_of, numbers = {}, {}
  if cached > CACHED_MAX then
    days, dates, seconds, read, cached = {}, {}, {}, {}, 0
  end
end

-- Howard Hinnant's civil_from_days and days_from_civil, for days that are not negative.
local function date_of(day)
  if dates[day] then
    return dates[day]
  end
  local shifted = day + 719468
  local era = math.floor(shifted / 146097)
  local of_era = shifted - era * 146097
  local leaps = math.floor(of_era / 1460) - math.floor(of_era / 36524) + math.floor(of_era / 146096)
  local year = math.floor((of_era - leaps) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local from_march = math.floor((5 * of_year + 2) / 153)
  local month = (from_march + 2) % 12 + 1
  if month <= 2 then
    year = year + 1
  end
  local of_month = of_year - math.floor((153 * from_march + 2) / 5) + 1
  dates[day] = string.format('%04d-%02d-%02d', year + era * 400, month, of_month)
  return dates[day]
end

-- Nothing if there is no such date.
local function day_of(date)
  if days[date] then
    return days[date]
  end
  local year = tonumber(string.sub(date, 1, 4))
  local month = tonumber(string.sub(date, 6, 7))
  if month <= 2 then
    year = year - 1
  end
  local era = math.floor(year / 400)
  local of_era = year - era * 400
  local of_year = math.floor((153 * ((month + 9) % 12) + 2) / 5) + string.sub(date, 9, 10) - 1
  local of_eras = era * 146097 + of_era * 365 + math.floor(of_era / 4) - math.floor(of_era / 100)
  local day = of_eras + of_year - 719468
  if date_of(day) == date then
    days[date] = day
    cached = cached + 1
  end
  return days[date]
end

function moment_text(millis)
  if texts_of[millis] then
    return texts_of[millis]
  end
  local second = math.floor(millis / 1000)
  local text = seconds[second]
  if not text then
    local day = math.floor(second / 86400)
    local rest = second - day * 86400
    local hour, minute = math.floor(rest / 3600), math.floor(rest / 60) % 60
    text = string.format('%sT%02d:%02d:%02d.', date_of(day), hour, minute, rest % 60)
    seconds[second] = text
    cached = cached + 1
  end
  text = string.format('%s%03dZ', text, millis - second * 1000)
  texts_of[millis] = text
  return text
end

function moment_of(field, text)
  if read[text] then
    return read[text]
  end
  local date, hour, minute, second, rest =
    string.match(text or '', '^(%d%d%d%d%-%d%d%-%d%d)T(%d%d):(%d%d):(%d%d)%.(%d%d%d)Z$')
  local day = date and day_of(date)
  if not day or hour > '23' or minute > '59' or second > '59' then
    unreadable(field, 'no moment')
  end
  local millis = day * DAY + hour * 3600000 + minute * 60000 + second * 1000 + rest
  texts_of[millis], read[text] = text, millis
  cached = cached + 1
  return millis
end
end

-- A branch: some short fields of text in the record, such as
--   01         inventory.reserve@1 call=1 arguments=24:9ae0daaf
--   01.state   confirming succeeded attempts=2
--   01.result  11:75c5dfeb {"hold":17}
-- The first is written once. The second is missing where it goes without saying (`usual_state`). `held` stands for
-- the first claim, which is the record's own (`held` in the head) where a decider claimed several branches at
-- once; `once` for a first claim that ended the branch. Any other claim has a field of its own. None of the
-- fields is longer than what Redis keeps in its compact form of a hash, unless names are long.

local HISTORY_MAX

local SEEN = { succeeded = true, refused = true }
local CAUSES = {
  attempts_exhausted = true, ongoing_too_long = true, handler = true, undecodable = true,
  unknown_action = true,
}
local CLOSED = { final = true, drive_again = true, parked = true }
local UNDECIDED = { trying = true, tried = true, refused = true }
local DIRECTION = { confirming = 'confirm', confirmed = 'confirm', cancelling = 'cancel', cancelled = 'cancel' }
-- What is known of the try in each state; a branch may be cancelled whatever it was.
local TRY_OF = { trying = '', tried = 'succeeded', refused = 'refused', confirming = 'succeeded', confirmed = 'succeeded' }
local OPENED = { confirming = true, cancelling = true }
local FINAL = { confirmed = true, cancelled = true }
local SEAL = '^%d+:%x%x%x%x%x%x%x%x$'
local SEALED = '^%d+:%x%x%x%x%x%x%x%x '
local NOBODY = '0000000000000000'
local TOKEN = '^%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x$'
local EIGHT = '%x%x%x%x%x%x%x%x'
local TRACE = '^00%-' .. EIGHT .. EIGHT .. EIGHT .. EIGHT .. '%-' .. EIGHT .. EIGHT .. '%-%x%x$'

local ordinals = {}

local function ordinal_text(place)
  local text = ordinals[place]
  if not text then
    text = string.format('%02d', place)
    if place <= 100 then
      ordinals[place] = text
    end
  end
  return text
end

-- The fields of a branch after its ordinal, and the words with values that each may hold, in the order they
-- are written.
local PARTS = { '', '.state', '.drive', '.wait', '.result' }
local WORDS = {
  [''] = { 'call', 'runner', 'trace', 'arguments' },
  ['.state'] = { 'attempts' },
  ['.drive'] = { 'epoch', 'token', 'lease', 'closed' },
  ['.wait'] = { 'next', 'claimed', 'ongoing', 'unhandled', 'parked', 'since' },
}
local TIMES = { next = true, lease = true, claimed = true, ongoing = true, unhandled = true, since = true }
local NUMBERS = { attempts = true, epoch = true }
local SHAPES = {
  call = '^%d[%d.]*$',
  runner = TOKEN,
  trace = TRACE,
  arguments = SEAL,
  attempts = '^%d+$',
  epoch = '^%d+$',
  token = TOKEN,
  closed = '^[%l_]+$',
  parked = '^[%l_]+$',
}

-- Participants by action: to look one up costs less than to find it in the text.
local participants, participants_count = {}, 0
local PARTICIPANTS_MAX = 1000

local function participant_of(action)
  local participant = participants[action]
  if not participant then
    participant = string.match(action, '^([%w._-]+)%.[%w_-]+@%d+$')
    if participant and participants_count < PARTICIPANTS_MAX then
      participants[action], participants_count = participant, participants_count + 1
    end
  end
  return participant
end

-- The participant of the branch whose first field this is.
local function participant_at(line)
  local stop = string.find(line or '', ' ', 1, true)
  return stop and participant_of(string.sub(line, 1, stop - 1))
end

local function allows(part, name)
  for _, word in ipairs(WORDS[part]) do
    if word == name then
      return true
    end
  end
end

local function parse_words(field, part, text, branch)
  for name, value in string.gmatch(text, '([^ =]+)=?(%S*)') do
    if not allows(part, name) then
      unreadable(field, 'no such word')
    elseif TIMES[name] then
      branch[name] = moment_of(field, value)
    elseif name == 'closed' and string.find(value, '^rescheduled@') then
      branch.closed = 'rescheduled'
      branch.again = moment_of(field, string.sub(value, 13))
    elseif not string.find(value, SHAPES[name]) then
      unreadable(field, 'no such word')
    else
      branch[name] = NUMBERS[name] and tonumber(value) or value
    end
  end
end

-- How most branches of the record stand, which goes without saying.
local function usual_state(head)
  if head.state == 'confirming' then
    return head.held and 'confirming succeeded held' or 'confirming succeeded'
  end
  return head.state == 'confirmed' and 'confirmed succeeded once' or nil
end

local parse_branch
do
-- Closed sets, and what must hold between a branch's own words.
local function check_branch(field, branch)
  local state, try = branch.state, branch.try
  if not branch.participant then
    unreadable(field, 'no action')
  end
  if not UNDECIDED[state] and not DIRECTION[state] then
    unreadable(field, 'no such state')
  end
  if not branch.call or not branch.arguments or try and not SEEN[try] then
    unreadable(field, 'call or try')
  end
  if TRY_OF[state] and TRY_OF[state] ~= (try or '') then
    unreadable(field, 'state against try')
  end
  if branch.result and (try ~= 'succeeded' or not string.find(branch.result, SEALED)) then
    unreadable(field .. '.result', 'against try or seal')
  end
  if not branch.result and try == 'succeeded' and not FINAL[state] then
    unreadable(field .. '.result', 'missing')
  end
  local claimed = branch.token ~= nil
  if (branch.epoch > 0) ~= claimed or claimed ~= (branch.lease ~= nil or branch.closed ~= nil) then
    unreadable(field .. '.drive', 'epoch against claim')
  end
  if branch.attempts > branch.epoch then
    unreadable(field .. '.state', 'attempts against epoch')
  end
  if UNDECIDED[state] and branch.token then
    unreadable(field, 'state against claim')
  end
  if branch.closed and (branch.closed ~= 'rescheduled' and not CLOSED[branch.closed] or branch.lease) then
    unreadable(field .. '.drive', 'closed')
  end
  if (branch.parked ~= nil) ~= (branch.since ~= nil) or branch.parked and not CAUSES[branch.parked] then
    unreadable(field .. '.wait', 'parked')
  end
  if branch.parked and not OPENED[state] then
    unreadable(field, 'state against parked')
  end
end

-- What `held` and `once` say.
local function take_first_claim(branch, word, head)
  branch.attempts, branch.epoch = 1, 1
  if word == 'once' then
    branch.token, branch.closed = NOBODY, 'final'
  elseif head.held then
    branch.token, branch.lease, branch.claimed = head.held.token, head.held.lease, head.held.claimed
  else
    unreadable('held', 'missing')
  end
end

local FIRST = { held = true, once = true }

local function parse_state(field, text, branch, head)
  local state, try, words = string.match(text, '^(%l+) (%l+)(.*)$')
  if not state then
    unreadable(field, 'no state')
  end
  branch.state = state
  branch.try = try ~= 'unknown' and try or nil
  local first, rest = string.match(words, '^ (%l+)(.*)$')
  if FIRST[first] and not string.find(rest, '^=') then
    take_first_claim(branch, first, head)
    words = rest
  end
  parse_words(field, '.state', words, branch)
end

-- `texts` are the branch's fields by part.
function parse_branch(place, texts, head)
  local field = ordinal_text(place)
  local action, words = string.match(texts[''] or '', '^(%S+)(.*)$')
  if not action then
    unreadable(field, 'no branch')
  end
  -- When a branch that says nothing of it may be driven next: at once.
  local branch = { attempts = 0, epoch = 0, next = head.decided_at or 0, state = 'trying' }
  parse_words(field, '', words, branch)
  branch.result = texts['.result']
  local state = texts['.state'] or usual_state(head)
  if state then
    parse_state(field .. '.state', state, branch, head)
  end
  if texts['.drive'] and branch.token then
    unreadable(field .. '.drive', 'a second claim')
  end
  parse_words(field .. '.drive', '.drive', texts['.drive'] or '', branch)
  parse_words(field .. '.wait', '.wait', texts['.wait'] or '', branch)
  branch.place = place
  branch.action = action
  branch.participant = participant_of(action)
  check_branch(field, branch)
  return branch
end
end

-- Whether its claim goes without saying: how `held` and `once` say it.
local function first_claim(branch, head)
  if branch.epoch ~= 1 or branch.attempts ~= 1 then
    return nil
  end
  if branch.closed == 'final' and branch.token == NOBODY and not branch.claimed then
    return 'once'
  end
  local held = head.held
  local same = held and branch.token == held.token and branch.lease == held.lease and branch.claimed == held.claimed
  if same and not branch.closed then
    return 'held'
  end
end

-- The record's own claim: that of its first branch whose first claim still stands.
local function held_of(branches)
  for _, branch in ipairs(branches) do
    if branch.epoch == 1 and branch.attempts == 1 and branch.token and not branch.closed then
      return { token = branch.token, lease = branch.lease, claimed = branch.claimed }
    end
  end
end

-- What is not written because it goes without saying.
local function absent(name, head, first)
  if name == 'next' then
    return head.decided_at or 0
  end
  if first and (name == 'attempts' or name == 'epoch') then
    return 1
  end
  return NUMBERS[name] and 0 or nil
end

-- A branch's field of a part; nothing if it would be empty.
local function branch_text(branch, part, head)
  local first = first_claim(branch, head)
  local words = {}
  if part == '.result' then
    return branch.result
  elseif part == '' then
    words = { branch.action }
  elseif part == '.state' then
    if branch.state == 'trying' then
      return nil
    end
    words = { branch.state, branch.try or 'unknown', first }
  elseif part == '.drive' and first then
    return nil
  end
  for _, name in ipairs(WORDS[part]) do
    local value = branch[name]
    if value ~= absent(name, head, first) and not (first and name == 'claimed') then
      if TIMES[name] then
        value = moment_text(value)
      elseif value == 'rescheduled' then
        value = 'rescheduled@' .. moment_text(branch.again)
      end
      words[#words + 1] = name .. '=' .. value
    end
  end
  local text = table.concat(words, ' ')
  if text ~= '' and not (part == '.state' and text == usual_state(head)) then
    return text
  end
end

-- The end of its lease, if it is leased.
local function leased_until(branch)
  if branch.token and not branch.closed and branch.lease > now then
    return branch.lease
  end
end

-- Whether phase two has work with it: open and not parked.
local function is_drivable(branch)
  return OPENED[branch.state] and not branch.parked
end

-- Payloads: JSON in a field of its own, its seal (length and checksum) among the branch's words. Whoever
-- sends a payload seals it; whoever takes it out of the record looks whether it still is what was sealed.
-- The seal of arguments covers what stands before it as well: they must not reach another participant than the
-- one they were made for.

-- What the step writes beside the record's own fields; `false` deletes.
local payloads

local function field_of(place, name)
  return ordinal_text(place) .. '.' .. name
end

local function set_text(place, name, text)
  payloads[field_of(place, name)] = text
end

local function seal_of(payload, head)
  return number_text(#payload) .. ':' .. string.sub(redis.sha1hex(head .. payload), 1, 8)
end

-- What stands before the seal in a branch's first field, and a line's end.
local function head_of(branch)
  local runner = branch.runner and ' runner=' .. branch.runner or ''
  local trace = branch.trace and ' trace=' .. branch.trace or ''
  return branch.action .. ' call=' .. branch.call .. runner .. trace .. '\n'
end

-- A branch's arguments, as they were sealed.
local function arguments_of(branch)
  local field = field_of(branch.place, 'arguments')
  local payload = payloads[field] or redis.call('HGET', TX, field)
  if not payload or seal_of(payload, head_of(branch)) ~= branch.arguments then
    unreadable(field, 'checksum')
  end
  return payload
end

-- A branch's result, as it was sealed; empty if there is none.
local function result_of(branch)
  if not branch.result then
    return ''
  end
  local seal, payload = string.match(branch.result, '^(%S+) (.*)$')
  if not seal or seal_of(payload, '') ~= seal then
    unreadable(field_of(branch.place, 'result'), 'checksum')
  end
  return payload
end

local function sealed_bytes(seal)
  return seal and tonumber(string.match(seal, '^%d+')) or 0
end

-- The record: a hash that a person can read, one field a fact, its branches in fields by ordinal.

local FORMAT = '1'
local HEAD = { 'record', 'name', 'key', 'state', 'begun', 'until', 'decided', 'ended', 'bells', 'held' }
local REASONS = {
  committed = true, aborted = true, panicked = true, dropped = true, deadline_passed = true,
  initiator_lost = true, operator = true, unnamed_branch = true, unknown_outcome = true,
  outcome_conflict = true, lost_branch = true, pending_call = true,
}
local STATES = {
  trying = { decision = nil, final = false },
  confirming = { decision = 'confirm', final = false },
  confirmed = { decision = 'confirm', final = true },
  cancelling = { decision = 'cancel', final = false },
  cancelled = { decision = 'cancel', final = true },
}
local NAME = '^[%w._-]+$'
local PART = 1000
local BELL_BASE, BELL_CAP = 1000, 60000

-- The record as it was read, and what the step does to it.
local record, stored

local function is_final(state)
  return STATES[state].final
end

-- `mail 1795238100000-0`, the message's id, if it was rung for once, by the decision; else
-- `mail rung=2 again=2099-11-21T05:10:02.250Z entry=1795238100000-0`.
local function is_first_bell(bell, head)
  return bell.count == 1 and bell.again == head.decided_at + BELL_BASE
end

local function parse_bells(text, head)
  local bells = {}
  for bell in string.gmatch(text, '[^;]+') do
    local name, count, again, entry = string.match(bell, '^ ?(%S+) rung=(%d+) again=(%S+) entry=(%d+-%d+)$')
    if not name then
      name, entry = string.match(bell, '^ ?(%S+) (%d+-%d+)$')
    end
    if not name or not string.find(name, NAME) then
      unreadable('bells', 'no bell')
    end
    bells[name] = { count = tonumber(count or 1), entry = entry }
    bells[name].again = again and moment_of('bells', again) or head.decided_at + BELL_BASE
  end
  return bells
end

-- `2099-11-21T05:10:00.250Z confirm committed`, and by whom if not by the initiator.
local function parse_decided(head)
  local at, decision, reason, by = string.match(head.decided, '^(%S+) (%l+) ([%l_]+)(.*)$')
  head.decided_by = head.initiator
  if by and by ~= '' then
    head.decided_by = string.match(by, '^ by ([%w._-]+)$')
  end
  if not at or not REASONS[reason] or not head.decided_by then
    unreadable('decided', 'no decision')
  end
  head.decided_at = moment_of('decided', at)
  head.decision = decision
  head.reason = reason
end

local function decided_text(head)
  if head.decision then
    local by = head.decided_by ~= head.initiator and ' by ' .. head.decided_by or ''
    return moment_text(head.decided_at) .. ' ' .. head.decision .. ' ' .. head.reason .. by
  end
end

-- How long the first two words of `held` are.
local HELD_BYTES = 53

-- `token=0000000000000007 lease=2099-11-21T06:10:00.250Z`; then `after=17` where the history shall tell how long
-- drives took, and the claim was made so many milliseconds after the decision.
local function parse_held(text, head)
  local token, lease, after = string.match(text, '^token=(%x+) lease=(%S+)(.*)$')
  local millis = string.match(after or '', '^ after=(%d+)$')
  if not token or not string.find(token, TOKEN) or after ~= '' and not millis then
    unreadable('held', 'no claim')
  end
  local claimed = HISTORY_MAX > 0 and head.decided_at or nil
  if millis then
    claimed = head.decided_at + millis
  end
  return { token = token, lease = moment_of('held', lease), claimed = claimed }
end

local function held_text(held, head)
  if held then
    local after = ''
    if held.claimed and held.claimed ~= head.decided_at then
      after = ' after=' .. number_text(held.claimed - head.decided_at)
    end
    return 'token=' .. held.token .. ' lease=' .. moment_text(held.lease) .. after
  end
end

-- `format=1 branches=2 keep_ms=86400000`; then `looked` once it is in the list of open ones; and `marked` where it has
-- what a short way does not look for, else `apart` where its branches were reported on, or are driven, one by one, and
-- `keyed` where it has a business key.
local MARKS = {
  [''] = {}, [' keyed'] = {}, [' apart'] = {}, [' apart keyed'] = {}, [' marked'] = {},
  [' looked'] = { true }, [' looked keyed'] = { true }, [' looked apart'] = { true }, [' looked apart keyed'] = { true },
  [' looked marked'] = { true },
}
-- The marks beside which the branches of a record stand together, and what they are where these stand apart.
local APART = {
  [''] = ' apart', [' keyed'] = ' apart keyed', [' looked'] = ' looked apart', [' looked keyed'] = ' looked apart keyed',
}
local TOGETHER = {
  [' apart'] = '', [' apart keyed'] = ' keyed', [' looked apart'] = ' looked', [' looked apart keyed'] = ' looked keyed',
}
local PLAIN = 'format=' .. FORMAT .. ' branches='

-- Gives the number of branches.
local function parse_record(head)
  local text = head.record or ''
  if string.sub(text, 1, #PLAIN) ~= PLAIN then
    unreadable('record', 'another version')
  end
  -- Five digits bound every loop over branches.
  local count, retention, marks = string.match(text, '^(%d%d?%d?%d?%d?) keep_ms=(%d+)(.*)$', #PLAIN + 1)
  if not count or not MARKS[marks] then
    unreadable('record', 'no numbers')
  end
  head.retention_ms, head.looked = retention, MARKS[marks][1]
  return tonumber(count)
end

-- How the field begins of a record of so many branches, up to its retention.
local plain_texts = {}

-- A record of more branches takes the long way.
local QUICK_MAX = 100

local function plain_text(count)
  local text = plain_texts[count]
  if not text then
    text = PLAIN .. number_text(count) .. ' keep_ms='
    if count <= 100 then
      plain_texts[count] = text
    end
  end
  return text
end

-- The retention of a record of so many branches, and its marks; if these stand together.
local function plain_retention(text, count)
  local plain = plain_text(count)
  if text and string.sub(text, 1, #plain) == plain then
    local retention = string.match(text, '^%d+$', #plain + 1)
    if retention then
      return retention, ''
    end
    local marks
    retention, marks = string.match(text, '^(%d+)( .+)$', #plain + 1)
    if APART[marks] then
      return retention, marks
    end
  end
end

-- The same of a record whose branches may stand apart: the marks are what they are where these do not. And whether they
-- do.
local function apart_retention(text, count)
  local retention, marks = plain_retention(text, count)
  if retention then
    return retention, marks, false
  end
  local plain = plain_text(count)
  retention, marks = string.match(text or '', '^(%d+)( .+)$', #plain + 1)
  if TOGETHER[marks] and string.sub(text, 1, #plain) == plain then
    return retention, TOGETHER[marks], true
  end
end

-- How many branches a record has that begins so, if a short way may take so many.
local function plain_count(text)
  local count = tonumber(string.match(text or '', '^' .. PLAIN .. '(%d%d?%d?) '))
  return count and count <= QUICK_MAX and count or nil
end

-- `2099-11-21T05:10:00.250Z by shop-1`
local function begun_text(at, initiator)
  return moment_text(at) .. ' by ' .. initiator
end

local function parse_begun(head)
  local at, initiator = string.match(head.begun or '', '^(%S+) by ([%w._-]+)$')
  if not at then
    unreadable('begun', 'no beginning')
  end
  head.begun_at, head.initiator = moment_of('begun', at), initiator
end

-- `lease=2099-11-21T05:10:05.250Z deadline=2099-11-21T05:10:30.250Z`; gone when the transaction has ended.
local function until_text(lease, deadline)
  return 'lease=' .. moment_text(lease) .. ' deadline=' .. moment_text(deadline)
end

-- Both moments, of a field as it is always written.
local function find_limits(text)
  if text and #text == 64 and string.sub(text, 1, 6) == 'lease=' and string.sub(text, 31, 40) == ' deadline=' then
    return string.sub(text, 7, 30), string.sub(text, 41)
  end
end

local function parse_until(head)
  local lease, deadline = find_limits(head['until'])
  if (head['until'] ~= nil) == (head.ended_at ~= nil) then
    unreadable('until', 'against state')
  elseif head.ended_at then
    head.lease_until, head.deadline_at = head.ended_at, head.ended_at
  elseif not lease then
    unreadable('until', 'no limits')
  else
    head.lease_until, head.deadline_at = moment_of('until', lease), moment_of('until', deadline)
  end
end

local record_text
do
-- Whether a short way must not take the record: it has a branch that stands otherwise than registered and,
-- once it is decided, held or ended by its first claim as its siblings, or waiting for it with the message that the
-- decision rang; or it has another message.
local function is_marked(head)
  local marked, waiting = false, {}
  for _, branch in ipairs(head.branches) do
    local plain = branch.state == 'trying'
    if head.decision then
      plain = first_claim(branch, head)
      if OPENED[branch.state] and branch.epoch == 0 and branch.attempts == 0 then
        plain, waiting[branch.participant] = true, true
      end
    end
    if head.decision == 'confirm' then
      plain = plain and not branch_text(branch, '.state', head)
    end
    marked = marked or not plain or branch_text(branch, '.wait', head) ~= nil
  end
  for name in pairs(waiting) do
    marked = marked or not head.bells[name]
  end
  for name, bell in pairs(head.bells) do
    marked = marked or not waiting[name] or not is_first_bell(bell, head)
  end
  return marked
end

-- Whether all that is not plain of an undecided record is that branches were reported to have succeeded.
local function is_apart(head)
  local apart = not head.decision
  for _, branch in ipairs(head.branches) do
    apart = apart and (branch.state == 'trying' or branch.state == 'tried')
  end
  return apart
end

function record_text(head)
  local looked = head.looked and ' looked' or ''
  local marks = looked .. (head.key and ' keyed' or '')
  if is_marked(head) then
    marks = is_apart(head) and APART[marks] or looked .. ' marked'
  end
  return plain_text(#head.branches) .. head.retention_ms .. marks
end
end

local function sorted_names(set)
  local names = {}
  for name in pairs(set) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function bells_text(head)
  local parts = {}
  for place, name in ipairs(sorted_names(head.bells)) do
    local bell = head.bells[name]
    local words = ' ' .. bell.entry
    if not is_first_bell(bell, head) then
      words = ' rung=' .. bell.count .. ' again=' .. moment_text(bell.again) .. ' entry=' .. bell.entry
    end
    parts[place] = name .. words
  end
  if #parts > 0 then
    return table.concat(parts, '; ')
  end
end

local load
do
-- What must hold between the fields of the head.
local function check_head(head)
  if not string.find(head.name or '', NAME) then
    unreadable('name', 'no name')
  end
  local state = STATES[head.state]
  if not state then
    unreadable('state', 'no such state')
  end
  if head.decision ~= state.decision then
    unreadable('decided', 'against state')
  end
  if state.final ~= (head.ended ~= nil) then
    unreadable('ended', 'against state')
  end
  if head.bells and (not head.decision or state.final) then
    unreadable('bells', 'against state')
  end
end

-- What must hold between the head and the branches (invariants I1, I3 and I5).
local function check_branches(head, branches)
  local open = 0
  for place, branch in ipairs(branches) do
    local direction = DIRECTION[branch.state]
    local allowed = direction == head.decision
    if head.decision == 'confirm' and direction == 'cancel' then
      allowed = branch.try == 'refused'
    end
    if not allowed then
      unreadable(ordinal_text(place), 'against decision')
    end
    if not FINAL[branch.state] then
      open = open + 1
    end
  end
  if head.decision and is_final(head.state) ~= (open == 0) then
    unreadable('state', 'against branches')
  end
end

local function read_fields(names)
  local values = {}
  for first = 1, #names, PART do
    local last = math.min(first + PART - 1, #names)
    local part = redis.pcall('HMGET', TX, unpack(names, first, last))
    if part.err then
      unreadable('type', 'no hash')
    end
    for place = first, last do
      local value = part[place - first + 1]
      if value then
        values[names[place]] = value
        stored[names[place]] = value
      end
    end
  end
  return values
end

function load()
  local head = read_fields(HEAD)
  if not head.record and redis.call('EXISTS', TX) == 0 then
    return nil
  end
  local count = parse_record(head)
  parse_begun(head)
  if head.decided then
    parse_decided(head)
  end
  check_head(head)
  head.ended_at = head.ended and moment_of('ended', head.ended)
  parse_until(head)
  if head.held then
    head.held = parse_held(head.held, head)
  end
  local fields = {}
  for place = 1, count do
    for _, part in ipairs(PARTS) do
      fields[#fields + 1] = ordinal_text(place) .. part
    end
  end
  local beyond = ordinal_text(count + 1)
  fields[#fields + 1] = beyond
  local values = read_fields(fields)
  if values[beyond] then
    unreadable('record', 'too few branches')
  end
  local branches = {}
  for place = 1, count do
    local texts = {}
    for _, part in ipairs(PARTS) do
      texts[part] = values[ordinal_text(place) .. part]
    end
    branches[place] = parse_branch(place, texts, head)
  end
  check_branches(head, branches)
  head.branches = branches
  head.bells = parse_bells(head.bells or '', head)
  return head
end
end

-- The fields of the record as they are to be stored.
local function texts(head)
  head.held = held_of(head.branches)
  local fields = {
    record = record_text(head), name = head.name, key = head.key, state = head.state,
    begun = begun_text(head.begun_at, head.initiator), decided = decided_text(head),
    ended = head.ended_at and moment_text(head.ended_at), bells = bells_text(head),
    held = held_text(head.held, head),
  }
  if not head.ended_at then
    fields['until'] = until_text(head.lease_until, head.deadline_at)
  end
  for place, branch in ipairs(head.branches) do
    for _, part in ipairs(PARTS) do
      fields[ordinal_text(place) .. part] = branch_text(branch, part, head)
    end
  end
  return fields
end

-- What a step does beside changing the record, and the one place that writes. Nothing is written before
-- every key is declared and has its type.

local ENTRY_BYTES_MAX, NOTES_MAX = 512, 1000
local AUDIT_ENTRIES_MAX = 10000

local due, rung, hushed
local before = {}

local function due_set(at)
  due = { kind = 'set', at = at }
end

local function due_earlier(at)
  due = { kind = 'earlier', at = at }
end

local function due_remove()
  due = { kind = 'remove' }
end

-- Since when a branch is parked, if one is.
local function parked_since(head)
  local since
  for _, branch in ipairs(head.branches) do
    if branch.parked then
      since = math.min(since or branch.since, branch.since)
    end
  end
  return since
end

local function expires_at(head)
  return head.ended_at + tonumber(head.retention_ms)
end

local function remember()
  before = { ended_at = record and record.ended_at, bells = {} }
  if record then
    before.parked = parked_since(record)
    for name, bell in pairs(record.bells) do
      before.bells[name] = bell.entry
    end
  end
end

local plan

local function write(kind, command, key, ...)
  plan[#plan + 1] = { kind, command, key, ... }
end

-- The command that keeps an operator's change, with what it is about in pairs.
local function audit_entry(key, by, why, ...)
  return 'XADD', key, 'MAXLEN', AUDIT_ENTRIES_MAX, '*', 'at', moment_text(now), 'by', by, 'why', why, ...
end

local function plan_timer()
  if due.kind == 'set' then
    write('zset', 'ZADD', DUE, due.at, GID)
  elseif due.kind == 'earlier' then
    write('zset', 'ZADD', DUE, 'LT', due.at, GID)
  elseif due.kind == 'remove' then
    write('zset', 'ZREM', DUE, GID)
  end
end

-- What outlives its first timer is listed, in the order of ids; what is younger is found by its timer alone.
local function list_as_open()
  if not record.looked then
    write('zset', 'ZADD', OPEN, 0, GID)
    record.looked = true
  end
end

-- Time-to-live only on what is final (rule 13, I10), the business key's equal to its record's (rule 15).
local function plan_lifetime()
  local key = record.key and key_of('key:' .. record.name .. ':' .. record.key)
  local holds = key and redis.pcall('GET', key) == GID
  if record.ended_at then
    local at = expires_at(record)
    write('hash', 'PEXPIREAT', TX, at)
    if holds then
      write('string', 'PEXPIREAT', key, at)
    end
    if record.looked then
      write('zset', 'ZREM', OPEN, GID)
      record.looked = false
    end
  else
    write('hash', 'PERSIST', TX)
    if holds then
      write('string', 'PERSIST', key)
    end
    list_as_open()
  end
end

local function plan_indexes()
  if due.kind == 'remove' and not record.ended_at then
    list_as_open()
  end
  local parked = parked_since(record)
  if parked and parked ~= before.parked then
    write('zset', 'ZADD', PARKED, parked, GID)
  end
  if before.parked and not parked then
    write('zset', 'ZREM', PARKED, GID)
  end
end

-- What the steps of a call that go the short way do together: one command costs much less than one for each.

-- Timers they set, and those they set if that is earlier, each a time and a gid; and gids of those they removed.
local timers_set, timers_earlier, timers_removed

-- Gids of those that are no longer listed as open.
local opens_removed

-- The place of the first transaction among the keys; whether none of them had a record when that was asked first;
-- and those of which a step has made one since, or may have.
local first_transaction, all_new, born

local function begin_batch(first)
  timers_set, timers_earlier, timers_removed, opens_removed = {}, {}, {}, {}
  first_transaction, all_new, born = first, nil, {}
end

local function write_timers()
  if timers_set[1] then
    redis.call('ZADD', DUE, unpack(timers_set))
    timers_set = {}
  end
  if timers_earlier[1] then
    redis.call('ZADD', DUE, 'LT', unpack(timers_earlier))
    timers_earlier = {}
  end
  if timers_removed[1] then
    redis.call('ZREM', DUE, unpack(timers_removed))
    timers_removed = {}
  end
  if opens_removed[1] then
    redis.call('ZREM', OPEN, unpack(opens_removed))
    opens_removed = {}
  end
end

local function is_new()
  if all_new == nil then
    all_new = redis.call('EXISTS', unpack(KEYS, first_transaction)) == 0
  end
  return all_new and not born[TX] or redis.call('EXISTS', TX) == 0
end

-- What a new record says of its limits, and its timer.
local function first_limits(lease_ms, deadline)
  local lease_until = now + lease_ms
  return until_text(lease_until, deadline), number_text(lease_until < deadline and lease_until or deadline)
end

-- Writes a new record, and the fields that follow.
local function write_first(kept, name, initiator, limits, timer, ...)
  redis.call('HSET', TX, 'record', kept, 'name', name, 'state', 'trying', 'begun', begun_text(now, initiator),
    'until', limits, ...)
  born[TX] = true
  timers_set[#timers_set + 1] = timer
  timers_set[#timers_set + 1] = GID
end

-- Keys found to be of a type; nobody else changes one while the call lasts.
local typed

-- The fields of a kind: those of the head, then for each of `count` branches those of its parts, and the one
-- of a branch beyond them if the kind asks for it. Each list is made once.
local function fields_of(kind, count)
  local list = kind[count]
  if not list then
    list = {}
    for name in string.gmatch(kind.head, '%S+') do
      list[#list + 1] = name
    end
    for place = 1, count do
      for _, part in ipairs(kind.parts) do
        list[#list + 1] = ordinal_text(place) .. part
      end
    end
    if kind.beyond then
      list[#list + 1] = ordinal_text(count + 1)
    end
    kind[count] = list
  end
  return list
end

-- How many branches records have of late: most of those that come together have as many.
local usual = 2

-- What a record without marks, or one whose branches stand apart if the kind asks for such, holds in the fields of a
-- kind; and how many branches it has, which may be guessed. The last field is that of a branch beyond them.
local function read_plain(kind, guess)
  local count, is_fit = guess or usual, kind.apart and apart_retention or plain_retention
  for _ = 1, 2 do
    local found = redis.pcall('HMGET', TX, unpack(fields_of(kind, count)))
    if found.err or is_fit(found[1], count) then
      return not found.err and not found[#fields_of(kind, count)] and found, count
    end
    local there = plain_count(found[1])
    if not there or there == count then
      return nil
    end
    count = there
    usual = guess and usual or count
  end
end

local function has_type(kind, key)
  if typed[key] == kind then
    return true
  end
  local found = redis.call('TYPE', key).ok
  if found == kind then
    typed[key] = kind
  end
  return found == kind or found == 'none'
end

local function find_queues()
  for _, names in ipairs({ rung, hushed }) do
    for name in pairs(names) do
      names[name] = key_of('ready:' .. name)
    end
  end
end

-- At most one message stands for a participant: the old one goes before the new one comes (§4
-- "Doorbells"). A queue of another type loses the message, which costs only time (rule 8).
local function write_messages()
  for _, names in ipairs({ rung, hushed }) do
    for name, queue in pairs(names) do
      if not has_type('stream', queue) then
        names[name] = nil
        redis.call('HSET', UNREADABLE, 'ready:' .. name, 'another type')
      elseif before.bells[name] then
        redis.call('XACK', queue, GROUP, before.bells[name])
        redis.call('XDEL', queue, before.bells[name])
      end
    end
  end
  for name, queue in pairs(rung) do
    record.bells[name].entry = redis.call('XADD', queue, '*', 'gid', GID)
  end
end

-- Messages that claims of this call removed, by queue. They go together at its end, which costs less.
local removed

local function remove_message(queue, entry)
  local entries = removed[queue]
  if not entries then
    entries = {}
    removed[queue] = entries
  end
  entries[#entries + 1] = entry
end

local remove_messages
do
-- How the ids of messages begin that are of one millisecond, until the year 2286.
local MILLIS_DIGITS = 13

local function is_before(one, other)
  if #one ~= #other and string.sub(one, 1, MILLIS_DIGITS) == string.sub(other, 1, MILLIS_DIGITS) then
    return #one < #other
  end
  return one < other
end

-- Where what was delivered and has been acknowledged ends, if these entries were.
local function end_of_acknowledged(queue, entries)
  local oldest = redis.call('XPENDING', queue, GROUP, '-', '+', 1)[1]
  if oldest then
    return oldest[1]
  end
  local latest = entries[1]
  for _, entry in ipairs(entries) do
    latest = is_before(latest, entry) and entry or latest
  end
  local millis, number = string.match(latest, '^(%d+)-(%d+)$')
  return millis .. '-' .. number_text(number + 1)
end

-- Messages are delivered in order, and most are removed in order. To trim what came before costs one walk from the
-- stream's beginning, to delete entries as many as they are.
function remove_messages()
  for queue, entries in pairs(removed) do
    local rest = entries
    if redis.call('XACK', queue, GROUP, unpack(entries)) == #entries then
      local stop = end_of_acknowledged(queue, entries)
      rest = {}
      if redis.call('XTRIM', queue, 'MINID', stop) < #entries then
        for _, entry in ipairs(entries) do
          rest[#rest + 1] = not is_before(entry, stop) and entry or nil
        end
      end
    end
    if rest[1] then
      redis.call('XDEL', queue, unpack(rest))
    end
  end
end
end

-- A call takes no more values than Lua's stack holds.
local function call_in_parts(command, list)
  for first = 1, #list, PART do
    redis.call(command, TX, unpack(list, first, math.min(first + PART - 1, #list)))
  end
end

local function write_record()
  local set, deleted = {}, {}
  local fields = texts(record)
  for name in pairs(stored) do
    if fields[name] == nil then
      deleted[#deleted + 1] = name
    end
  end
  for name, text in pairs(payloads) do
    fields[name] = text or nil
    if not text then
      deleted[#deleted + 1] = name
    end
  end
  for name, text in pairs(fields) do
    if stored[name] ~= text then
      set[#set + 1] = name
      set[#set + 1] = text
    end
  end
  call_in_parts('HSET', set)
  call_in_parts('HDEL', deleted)
end

-- What happened, for people; nothing reads it back. An entry of the history is a moment, and what a step did then:
-- notes with `; ` between them, as many as fit. What an operator did stands alone, with a reason in free words.
local notes

local function note(...)
  if HISTORY_MAX > 0 and #notes < NOTES_MAX then
    notes[#notes + 1] = table.concat({ ... }, ' ')
  end
end

local function entries_of()
  local at = moment_text(now) .. ' '
  local entries, alone = {}, true
  for _, text in ipairs(notes) do
    local operators = string.sub(text, 1, 9) == 'operator '
    local entry = entries[#entries]
    if not alone and not operators and #entry + 2 + #text <= ENTRY_BYTES_MAX then
      entries[#entries] = entry .. '; ' .. text
    else
      entries[#entries + 1] = string.sub(at .. text, 1, ENTRY_BYTES_MAX)
    end
    alone = operators
  end
  return entries
end

-- Adds these entries; nothing if that cannot be.
local function push(...)
  local length = redis.pcall('RPUSH', HISTORY, ...)
  if type(length) == 'table' then
    return false
  end
  if length > HISTORY_MAX then
    redis.call('LTRIM', HISTORY, -HISTORY_MAX, -1)
  end
  return true
end

-- What a step that goes the short way begins with, once nothing can fail any more: whether the keys are what they should
-- be. What it did is one entry, which begins with the moment, or the long way is to write it.
local function begin_quick(entry, expires)
  if not has_type('zset', DUE) then
    return false
  end
  if entry then
    if #entry > ENTRY_BYTES_MAX or not push(entry) then
      return false
    end
    if expires then
      redis.call('PEXPIREAT', HISTORY, number_text(expires))
    end
  end
  return true
end

local function keep_notes(ended_at, expires)
  local entries = entries_of()
  push(unpack(entries, math.max(1, #entries - HISTORY_MAX + 1)))
  if ended_at then
    redis.call('PEXPIREAT', HISTORY, expires)
  elseif before.ended_at then
    redis.call('PERSIST', HISTORY)
  end
end

local function keep_time()
  if now > mark then
    redis.call('SET', CLOCK, number_text(now))
  end
end

-- Rules that several operations share; `tcc_core::machine` says the same in Rust, and numbers are the
-- rules' in DESIGN.md §3.

-- What a step answers that went the short way: the caller knows the rest.
local QUICK = 1

local function refuse(...)
  error({ refused = { ... } })
end

-- Rings once a step, however many of the participant's branches are why. What a step hushed it does not ring again.
local function ring(name)
  if rung[name] then
    return
  end
  local bell = record.bells[name] or { count = 0, entry = '0-0' }
  local wait = math.min(BELL_BASE * 2 ^ bell.count, BELL_CAP)
  record.bells[name] = { count = bell.count + 1, again = now + wait, entry = bell.entry }
  rung[name] = true
end

local function hush(name)
  record.bells[name] = nil
  rung[name] = nil
  hushed[name] = true
end

-- When someone must look next (I10).
local function due_at()
  if record.state == 'trying' then
    return math.min(record.lease_until, record.deadline_at)
  end
  local earliest
  for _, branch in ipairs(record.branches) do
    if is_drivable(branch) then
      -- While a message stands, nobody has anything to do.
      local bell = record.bells[branch.participant]
      local at = math.max(leased_until(branch) or branch.next, bell and bell.again or 0)
      earliest = math.min(earliest or at, at)
    end
  end
  return earliest
end

local function due_anew()
  local at = due_at()
  if at then
    due_set(at)
  else
    due_remove()
  end
  return at
end

-- Whether a transaction is final is derived from its branches (rule 11); payloads go then, arguments of
-- an unknown try excepted, which a late outcome would need (rule 6c).
local function settle()
  local drivable, open = false, false
  for _, branch in ipairs(record.branches) do
    open = open or not FINAL[branch.state]
    drivable = drivable or is_drivable(branch)
  end
  if not open and record.ended_at then
    return
  end
  if not open then
    record.state = record.decision == 'confirm' and 'confirmed' or 'cancelled'
    record.ended_at = now
    -- Nothing of it is waited for any more.
    record.deadline_at, record.lease_until = now, now
    note('ended', record.state)
    for place, branch in ipairs(record.branches) do
      branch.result = nil
      if branch.try then
        set_text(place, 'arguments', false)
      end
    end
    for _, name in ipairs(sorted_names(record.bells)) do
      hush(name)
    end
  end
  if not drivable then
    due_remove()
  end
end

-- Epoch and attempt are counted when the claim is made (rules 10 and 11).
local function open_claim(branch, token, lease_ms)
  branch.epoch = branch.epoch + 1
  branch.attempts = branch.attempts + 1
  branch.token = token
  branch.lease = now + lease_ms
  branch.closed = nil
  branch.claimed = HISTORY_MAX > 0 and now or nil
  note('claimed', ordinal_text(branch.place), DIRECTION[branch.state], 'attempt', branch.attempts)
end

local function due_afresh(branch)
  branch.attempts = 0
  branch.next = now
  branch.ongoing = nil
  branch.unhandled = nil
  branch.parked = nil
  branch.since = nil
end

-- Sets parked branches going again: those of these places, or all. Gives their places.
local function set_going(asked)
  local wanted = {}
  for _, place in ipairs(asked) do
    if not record.branches[place] then
      refuse('no_such_branch', place)
    end
    wanted[place] = true
  end
  local names, going = {}, {}
  for place, branch in ipairs(record.branches) do
    if branch.parked and (#asked == 0 or wanted[place]) then
      due_afresh(branch)
      note('redriven', ordinal_text(place))
      names[branch.participant] = true
      going[#going + 1] = place
    end
  end
  if #going == 0 then
    refuse('not_parked')
  end
  for _, name in ipairs(sorted_names(names)) do
    ring(name)
  end
  due_earlier(now)
  return going
end

-- Makes a branch final in its direction; its claim is left to its holder.
local function finish(branch)
  branch.state = branch.state == 'confirming' and 'confirmed' or 'cancelled'
  branch.parked = nil
  branch.since = nil
  branch.ongoing = nil
  branch.unhandled = nil
end

-- `bare` leaves out what the caller has: the arguments, the name, the trace.
local function drive(branch, bare)
  local arguments = not bare and branch.arguments and arguments_of(branch)
  return {
    branch.place, branch.action, DIRECTION[branch.state], number_text(branch.epoch), branch.attempts,
    arguments and 1 or 0, arguments or '', branch.try or 'unknown', result_of(branch),
    branch.ongoing and now - branch.ongoing or -1, branch.unhandled and now - branch.unhandled or -1,
    branch.lease - now, bare and '' or record.name, not bare and branch.trace or '',
  }
end

local function take_create()
  if not take_flag() then
    return nil
  end
  return {
    name = take(), key = take_optional(), initiator = take(), deadline_at = take_number(),
    lease_ms = take_number(), retention_ms = take(),
  }
end

-- Nothing is created at or after the deadline the caller carries (rule 3).
local function create(new)
  if now >= new.deadline_at then
    refuse('too_late_to_create')
  end
  record = {
    name = new.name, key = new.key, initiator = new.initiator, state = 'trying',
    begun_at = now, deadline_at = new.deadline_at, lease_until = now + new.lease_ms,
    retention_ms = new.retention_ms, branches = {}, bells = {},
  }
  due_set(due_at())
  note('begun by', new.initiator)
end

local function take_report()
  return { place = take_number(), try = take(), result = take() }
end

-- The first word of a try stands; a late one reopens its branch once (rule 6c).
local function learn(report)
  local branch = record.branches[report.place]
  if not branch then
    return 'lost'
  end
  if branch.try then
    return branch.try == report.try and 'again' or 'conflict'
  end
  branch.try = report.try
  if report.try == 'succeeded' then
    branch.result = report.result
  end
  note('try of', ordinal_text(report.place), report.try)
  if branch.state == 'trying' then
    branch.state = report.try == 'succeeded' and 'tried' or 'refused'
    return 'recorded'
  end
  if branch.state == 'cancelled' then
    branch.state = 'cancelling'
    due_afresh(branch)
    if record.ended_at then
      record.state = 'cancelling'
      record.ended_at = nil
    end
    due_earlier(now)
    ring(branch.participant)
    note('reopened', ordinal_text(report.place))
  end
  return 'late'
end

-- The decision and what leads a worker to the work are one write (rules 1, 4 and 7).
local function make_decision(direction, reason, by, inline)
  record.decision = direction
  record.reason = reason
  record.decided_by = by
  record.decided_at = now
  record.state = direction == 'confirm' and 'confirming' or 'cancelling'
  note('decided', direction, 'because', reason, 'by', by)
  local others = {}
  for place, branch in ipairs(record.branches) do
    if direction == 'confirm' and branch.state == 'tried' then
      branch.state = 'confirming'
    else
      branch.state = 'cancelling'
    end
    branch.next = now
    if inline and inline.branches[place] then
      open_claim(branch, inline.token, inline.lease_ms)
    else
      others[branch.participant] = true
    end
  end
  for _, name in ipairs(sorted_names(others)) do
    ring(name)
  end
  local at = due_at()
  if at then
    due_earlier(at)
  end
  settle()
end

OPERATIONS.begin = (function()
local quick, leave
-- Begins a transaction in a call of its own. Same key, same answer (rule 15).

local GID_SHAPE = '^%w+%-%d%d$'

-- The state of the transaction that holds the business key, if that is another one that is kept.
local function find_rival(key)
  local holder = redis.pcall('GET', key)
  if not holder then
    return nil
  end
  if type(holder) ~= 'string' or not string.find(holder, GID_SHAPE) then
    unreadable('key', 'no gid')
  end
  local rival = key_of('tx:' .. holder)
  local state = rival and redis.pcall('HGET', rival, 'state')
  if not state then
    return nil
  end
  if not STATES[state] then
    unreadable('key', 'its transaction cannot be read')
  end
  return holder, state
end

-- No record is there, and nobody has the key.
local function quick()
  local creates, name, key, initiator, deadline, lease_ms, retention_ms = unpack(ARGV, taken + 1, taken + 7)
  if creates ~= 1 or taken + 8 ~= last or now >= deadline or not is_new() then
    return nil
  end
  local business = key ~= '' and TAG .. 'key:' .. name .. ':' .. key
  if business and (not declared[business] or redis.pcall('GET', business)) then
    return nil
  end
  local limits, timer = first_limits(lease_ms, deadline)
  local kept = plain_text(0) .. number_text(retention_ms)
  if not begin_quick(HISTORY_MAX > 0 and moment_text(now) .. ' begun by ' .. initiator) then
    return nil
  end
  if business then
    redis.call('SET', business, GID)
    write_first(kept .. ' keyed', name, initiator, limits, timer, 'key', key)
  else
    write_first(kept, name, initiator, limits, timer)
  end
  return QUICK
end

local function operate()
  local new = take_create()
  local again_after_cancel = take_flag()
  if record then
    if record.initiator ~= new.initiator or record.name ~= new.name then
      refuse('gid_taken')
    end
    return { 'ok', 'new' }
  end
  local key = new.key and key_of('key:' .. new.name .. ':' .. new.key)
  if key then
    local holder, state = find_rival(key)
    if #missing > 0 then
      return
    end
    if holder and not (again_after_cancel and state == 'cancelled') then
      return { 'ok', 'taken', holder }
    end
  end
  create(new)
  if key then
    write('string', 'SET', key, GID)
  end
  return { 'ok', 'new' }
end

return { quick = quick, operate = operate, leave = leave }
end)()
OPERATIONS.register = (function()
local quick, leave
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

return { quick = quick, operate = operate, leave = leave }
end)()
OPERATIONS.report = (function()
local quick, leave
-- Records what tries came to, whenever it becomes known (rule 6c).

local WATCHED = { head = 'record state', parts = { '.state' }, beyond = true, apart = true }
-- How a branch stands that was reported on, and how one that was not.
local TRIED, TRYING = 'tried succeeded', false

-- Branches of an undecided record that succeeded, and were not heard of before.
local function quick()
  local count, set, said = ARGV[taken + 1], {}, {}
  if taken + 1 + 3 * count ~= last then
    return nil
  end
  local found, there = read_plain(WATCHED)
  if not found or found[2] ~= 'trying' then
    return nil
  end
  local retention, marks = apart_retention(found[1], there)
  for number = 1, count do
    local place, try, result = unpack(ARGV, taken + 3 * number - 1, taken + 3 * number + 1)
    if try ~= 'succeeded' or place > there or found[2 + place] ~= TRYING then
      return nil
    end
    -- Said twice, the second is a repetition.
    found[2 + place] = TRIED
    set[4 * number - 3], set[4 * number - 2] = field_of(place, 'state'), TRIED
    set[4 * number - 1], set[4 * number] = field_of(place, 'result'), result
    said[number] = 'try of ' .. ordinal_text(place) .. ' succeeded'
  end
  if count == 0 or count > QUICK_MAX
    or not begin_quick(HISTORY_MAX > 0 and moment_text(now) .. ' ' .. table.concat(said, '; ')) then
    return nil
  end
  redis.call('HSET', TX, 'record', plain_text(there) .. retention .. APART[marks], unpack(set))
  return QUICK
end

local function operate()
  local reports = take_list(take_report)
  if not record then
    refuse('not_found')
  end
  local answers = {}
  for place, report in ipairs(reports) do
    answers[place] = learn(report)
  end
  return { 'ok', answers }
end

return { quick = quick, operate = operate, leave = leave }
end)()
OPERATIONS.decide = (function()
local quick, leave
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

return { quick = quick, operate = operate, leave = leave }
end)()
OPERATIONS.claim = (function()
local quick, leave
-- Takes the open, due and unleased branches of participants, and their messages (rules 10 and 11).

local WATCHED = { head = 'record state name decided held bells', parts = { '', '.state' }, beyond = true, apart = true }
local PAYLOADS = { head = '', parts = { '.arguments', '.result' } }
local WATCHED_OWN = { head = 'record state decided held bells', parts = {}, beyond = true }
-- How branches stand that wait for their first claim. In a confirming record without marks it goes without saying.
local WAITING = {
  confirming = { [false] = 'confirming succeeded' },
  cancelling = {
    ['cancelling succeeded'] = 'cancelling succeeded', ['cancelling refused'] = 'cancelling refused',
    ['cancelling unknown'] = 'cancelling unknown',
  },
}

-- The queues of the participants that the step names from this place on.
local function find_queues_from(at)
  local queues = {}
  for place = at + 1, math.min(at + ARGV[at], last) do
    local queue = TAG .. 'ready:' .. ARGV[place]
    if not declared[queue] or not has_type('stream', queue) then
      return nil
    end
    queues[ARGV[place]] = queue
  end
  return queues
end

-- The messages by participant, of those that the step names, if all were rung for once; and the texts of the others.
local function find_bells(text, queues)
  local entries, others, length = {}, {}, -2
  for name, entry in string.gmatch(text, '(%S+) (%d+%-%d+)') do
    length = length + #name + #entry + 3
    if queues[name] then
      entries[name] = entry
    else
      others[#others + 1] = name .. ' ' .. entry
    end
  end
  return length == #text and entries, others
end

-- A payload that stands after its seal, if it is what was sealed.
local function sealed_result(text)
  local stop = string.find(text or '', ' ', 1, true)
  local payload = stop and string.sub(text, stop + 1)
  return payload and seal_of(payload, '') == string.sub(text, 1, stop - 1) and payload
end

-- Whether a branch's line ends with the seal of these arguments.
local function seals_arguments(head, arguments)
  local tail = ' arguments=' .. number_text(#arguments) .. ':'
  local stop = #head - 8 - #tail
  local sum = redis.sha1hex(string.sub(head, 1, stop) .. '\n' .. arguments)
  return string.sub(head, stop + 1) == tail .. string.sub(sum, 1, 8)
end

-- Directions and reasons of what initiators decided, by the text that follows the moment.
local decisions = {}

-- When, which way and why it was decided; nothing if it is not written so.
local function find_decided(text)
  local at, words = string.sub(text or '', 1, 24), string.sub(text or '', 25)
  local known = decisions[words]
  if not known then
    local direction, reason, by = string.match(words, '^ (%l+) ([%l_]+)(.*)$')
    if not REASONS[reason] or by ~= '' and not string.find(by, '^ by [%w._-]+$') then
      return nil
    end
    known = { direction, reason }
    if by == '' and (direction == 'confirm' or direction == 'cancel') then
      decisions[words] = known
    end
  end
  return at, known[1], known[2]
end

-- What is written of the record's claim, made now.
local function held_by(token, lease_ms, at, at_text)
  local held = 'token=' .. token .. ' lease=' .. moment_text(now + lease_ms)
  if HISTORY_MAX > 0 and at ~= at_text then
    held = held .. ' after=' .. number_text(now - moment_of('decided', at))
  end
  return held
end

local function said_claimed(places, direction)
  local said = {}
  for number, place in ipairs(places) do
    said[number] = 'claimed ' .. ordinal_text(place) .. ' ' .. direction .. ' attempt 1'
  end
  return moment_text(now) .. ' ' .. table.concat(said, '; ')
end

local function places_to(count)
  local places = {}
  for place = 1, count do
    places[place] = place
  end
  return places
end

-- When, which way and why a record that waits was decided.
local function find_waiting(state, decided)
  local at, direction, reason = find_decided(decided)
  -- Moments of one length sort as they follow each other.
  if direction == DIRECTION[state] and at <= moment_text(now) then
    return at, direction, reason
  end
end

local function take_messages(entries, queues)
  for participant, entry in pairs(entries) do
    remove_message(queues[participant], entry)
  end
end

-- All branches of a commit of the caller's own, which are the participants'. In a confirming record without marks and
-- without a claim, all branches wait; what they are the caller knows.
local function claim_own(queues, token, lease_ms, count, why)
  if count > QUICK_MAX then
    return nil
  end
  local found = redis.pcall('HMGET', TX, unpack(fields_of(WATCHED_OWN, count)))
  if found.err or not plain_retention(found[1], count) or found[2] ~= 'confirming' or found[4] or found[#found] then
    return nil
  end
  local at, _, reason = find_waiting(found[2], found[3])
  local entries, others = find_bells(found[5] or '', queues)
  if not entries or others[1] or reason ~= why then
    return nil
  end
  for participant in pairs(queues) do
    if not entries[participant] then
      return nil
    end
  end
  if not begin_quick(HISTORY_MAX > 0 and said_claimed(places_to(count), 'confirm')) then
    return nil
  end
  redis.call('HSET', TX, 'held', held_by(token, lease_ms, at, moment_text(now)))
  redis.call('HDEL', TX, 'bells')
  take_messages(entries, queues)
  return QUICK
end

-- The branches of participants that the step names, which all wait as the decision left them; by their places, and how
-- they stand. And the places of the others.
local function find_theirs(found, count, queues, entries)
  local waiting, places, stands, left = WAITING[found[2]], {}, {}, {}
  for place = 1, count do
    local participant = participant_at(found[5 + 2 * place])
    if not participant then
      return nil
    end
    if queues[participant] then
      local stood = waiting[found[6 + 2 * place]]
      if not stood or not entries[participant] then
        return nil
      end
      places[#places + 1], stands[#stands + 1] = place, stood
    else
      left[#left + 1] = place
    end
  end
  return places, stands, left
end

-- Payloads of these branches, and the claims of those that are left.
local function fields_to_drive(places, left)
  if #left == 0 then
    return fields_of(PAYLOADS, #places)
  end
  local fields = {}
  for number, place in ipairs(places) do
    fields[2 * number - 1], fields[2 * number] = field_of(place, 'arguments'), field_of(place, 'result')
  end
  for number, place in ipairs(left) do
    fields[2 * #places + number] = field_of(place, 'drive')
  end
  return fields
end

-- Adds these branches to the answer, which is read by the caller, one after the other: place, line, how it stood, and
-- its payloads. Nothing if one is not what was sealed, or the claim of one that is left has run out: it is due.
local function answer_drives(answer, found, places, stands, left)
  local more = redis.call('HMGET', TX, unpack(fields_to_drive(places, left)))
  for number = 1, #left do
    local lease = string.match(more[2 * #places + number] or '', ' lease=(%S+)$')
    if lease and lease <= moment_text(now) then
      return nil
    end
  end
  for number, place in ipairs(places) do
    local head, arguments, result = found[5 + 2 * place], more[2 * number - 1], more[2 * number]
    if not arguments or not seals_arguments(head, arguments) then
      return nil
    end
    local payload = ''
    if stands[number] == 'confirming succeeded' or stands[number] == 'cancelling succeeded' then
      payload = sealed_result(result)
    end
    if not payload or payload == '' and result then
      return nil
    end
    local drive = 5 * number
    answer[drive], answer[drive + 1], answer[drive + 2] = place, head, stands[number]
    answer[drive + 3], answer[drive + 4] = arguments, payload
  end
  return answer
end

-- What is written of a claim of all branches: it is the record's.
local function set_together(found, count, token, lease_ms, at)
  local set = { 'held', held_by(token, lease_ms, at, moment_text(now)) }
  for place = 1, count do
    local text = found[6 + 2 * place]
    if text then
      set[#set + 1], set[#set + 2] = field_of(place, 'state'), text .. ' held'
    end
  end
  return set
end

-- What is written of a claim of some branches of a commit: each has its own.
local function set_apart(found, count, places, token, lease_ms)
  local retention, marks = apart_retention(found[1], count)
  local set = { 'record', plain_text(count) .. retention .. APART[marks] }
  local held = 'epoch=1 token=' .. token .. ' lease=' .. moment_text(now + lease_ms)
  for _, place in ipairs(places) do
    local at = #set
    set[at + 1], set[at + 2] = field_of(place, 'state'), 'confirming succeeded attempts=1'
    set[at + 3], set[at + 4] = field_of(place, 'drive'), held
    if HISTORY_MAX > 0 then
      set[at + 5], set[at + 6] = field_of(place, 'wait'), 'claimed=' .. moment_text(now)
    end
  end
  return set
end

-- All branches of these participants wait as the decision left them, and their messages stand.
local function claim_found(queues, token, lease_ms)
  local found, count = read_plain(WATCHED)
  if not found or found[5] or not WAITING[found[2]] then
    return nil
  end
  local at, direction, reason = find_waiting(found[2], found[4])
  local entries, others = find_bells(found[6] or '', queues)
  if not at or not entries or not string.find(found[3] or '', NAME) then
    return nil
  end
  local places, stands, left = find_theirs(found, count, queues, entries)
  if not places or not places[1] then
    return nil
  end
  local answer = answer_drives({ 'quick', direction, reason, found[3] }, found, places, stands, left)
  local set
  if #places == count and not others[1] then
    set = set_together(found, count, token, lease_ms, at)
  elseif direction == 'confirm' then
    set = set_apart(found, count, places, token, lease_ms)
  end
  if not answer or not set or not begin_quick(HISTORY_MAX > 0 and said_claimed(places, direction)) then
    return nil
  end
  if others[1] then
    set[#set + 1], set[#set + 2] = 'bells', table.concat(others, '; ')
  end
  redis.call('HSET', TX, unpack(set))
  if not others[1] then
    redis.call('HDEL', TX, 'bells')
  end
  take_messages(entries, queues)
  return answer
end

local function quick()
  local token, lease_ms, except, participants = unpack(ARGV, taken + 1, taken + 4)
  local queues = except == 0 and lease_ms >= BELL_BASE and find_queues_from(taken + 4)
  if not queues then
    return nil
  end
  local is_own, count, why = unpack(ARGV, taken + 5 + participants, taken + 7 + participants)
  if taken + 5 + participants + 2 * is_own ~= last then
    return nil
  end
  if is_own == 1 then
    return count > 0 and claim_own(queues, token, lease_ms, count, why)
  end
  return claim_found(queues, token, lease_ms)
end

local function operate()
  local token, lease_ms = take(), take_number()
  local except = {}
  for _, action in ipairs(take_list(take)) do
    except[action] = true
  end
  local participants, theirs = take_list(take), {}
  for _, participant in ipairs(participants) do
    theirs[participant] = true
  end
  -- Who committed it has the arguments. How many branches that were, and why, matters only to the short way.
  local bare = take_flag()
  if bare then
    take()
    take()
  end
  if not record then
    refuse('not_found')
  end
  if not record.decision then
    refuse('not_decided')
  end
  -- A repetition takes no more than the first sending did, and leaves what was rung since (rule 14).
  local repeated = false
  for _, branch in ipairs(record.branches) do
    repeated = repeated or theirs[branch.participant] and branch.token == token
  end
  local drives, left = {}, {}
  for _, branch in ipairs(record.branches) do
    local takes = theirs[branch.participant] and is_drivable(branch)
    if takes and except[branch.action] then
      takes, left[branch.participant] = false, true
    elseif repeated then
      takes = takes and branch.token == token and leased_until(branch)
    else
      takes = takes and not leased_until(branch) and branch.next <= now
      if takes then
        open_claim(branch, token, lease_ms)
      end
    end
    if takes then
      drives[#drives + 1] = drive(branch, bare)
    end
  end
  if not repeated then
    -- The message goes on standing for what is paused, so that it is rung in growing intervals.
    for _, participant in ipairs(participants) do
      if not left[participant] then
        hush(participant)
      end
    end
    -- Without its message, a branch that was not taken may be due before the timer says so.
    local at = due_at()
    if at then
      due_earlier(at)
    end
  end
  return { 'ok', drives, record.decision, record.reason }
end

return { quick = quick, operate = operate, leave = leave }
end)()
OPERATIONS.renew = (function()
local quick, leave
-- Prolongs claims that still stand (rule 11).

local function take_claim()
  return { place = take_number(), epoch = take_number() }
end

local function operate()
  local token, lease_ms = take(), take_number()
  local claims = take_list(take_claim)
  if not record then
    refuse('not_found')
  end
  local answers = {}
  for place, claim in ipairs(claims) do
    local branch = record.branches[claim.place]
    local stands = branch and branch.epoch == claim.epoch
    if stands and branch.token == token and not branch.closed then
      branch.lease = math.max(branch.lease, now + lease_ms)
      answers[place] = 1
    else
      answers[place] = 0
    end
  end
  return { 'ok', answers }
end

return { quick = quick, operate = operate, leave = leave }
end)()
OPERATIONS.keep_alive = (function()
local quick, leave
-- Prolongs the initiator's lease while nothing is decided (rule 12).

local function operate()
  local lease_ms = take_number()
  if not record then
    refuse('not_found')
  end
  if record.decision then
    return { 'ok', record.decision }
  end
  record.lease_until = math.max(record.lease_until, now + lease_ms)
  return { 'ok', '' }
end

return { quick = quick, operate = operate, leave = leave }
end)()
OPERATIONS.close = (function()
local quick, leave
-- Closes epochs, each once (rule 11), every branch on its own (rule 9).

local function take_drive()
  local drive = { place = take_number(), epoch = take_number(), direction = take(), how = take(), seen = take() }
  if drive.how ~= 'done' then
    drive.after_ms, drive.error = take_number(), take()
  end
  return drive
end

-- How the epoch was closed, as it is answered.
local function answer_of(closed, again)
  return { 'closed', closed, again or 0 }
end

-- How long the drive took, where its own claim says.
local function duration(branch, current)
  return current and branch.claimed and now - branch.claimed .. ' ms' or 'unknown time'
end

local function close_claim(branch, closed, again)
  branch.closed = closed
  branch.lease = nil
  if closed == 'final' then
    branch.token = NOBODY
    branch.claimed = nil
  end
  branch.again = again
  return answer_of(closed, again)
end

-- The effect did happen, whoever holds the claim by now; but a drive that knew less than the record must
-- run again (rule 11).
local function complete(branch, drive, current)
  if drive.seen ~= (branch.try or 'unknown') then
    if current then
      due_afresh(branch)
      close_claim(branch, 'drive_again')
      due_earlier(now)
      ring(branch.participant)
    end
    return answer_of('drive_again')
  end
  finish(branch)
  note(branch.state, ordinal_text(drive.place), 'after', duration(branch, current))
  -- A newer claim is its holder's to close: its handler may still run (I4).
  if current then
    close_claim(branch, 'final')
  end
  return answer_of('final')
end

local function park(branch, drive)
  branch.parked = drive.seen
  branch.since = now
  set_text(branch.place, 'error', drive.error)
  note('parked', ordinal_text(drive.place), drive.seen, 'after', duration(branch, true))
  return close_claim(branch, 'parked')
end

local function reschedule(branch, drive)
  if drive.how == 'failed' then
    set_text(branch.place, 'error', drive.error)
    branch.ongoing = nil
    branch.unhandled = nil
  else
    -- The attempt is given back (rule 10).
    branch.attempts = math.max(branch.attempts - 1, 0)
  end
  if drive.how == 'ongoing' then
    branch.ongoing = branch.ongoing or now
    branch.unhandled = nil
  elseif drive.how == 'unhandled' then
    branch.unhandled = branch.unhandled or now
  end
  branch.next = now + drive.after_ms
  note(drive.how, ordinal_text(drive.place), 'after', duration(branch, true), 'again at', moment_text(branch.next))
  due_earlier(due.kind == 'earlier' and math.min(due.at, branch.next) or branch.next)
  return close_claim(branch, 'rescheduled', branch.next)
end

local function close_one(drive)
  local branch = record.branches[drive.place]
  if not branch then
    return { 'refused', 'no_such_branch', drive.place }
  end
  local current = branch.token and branch.epoch == drive.epoch
  if current and branch.closed then
    return answer_of(branch.closed, branch.again)
  end
  if DIRECTION[branch.state] ~= drive.direction then
    return { 'refused', 'wrong_direction', drive.place }
  end
  if FINAL[branch.state] and (current or drive.how == 'done') then
    if current then
      close_claim(branch, 'final')
    end
    return answer_of('final')
  end
  if drive.how == 'done' then
    return complete(branch, drive, current)
  end
  if not current then
    return { 'refused', 'stale_epoch', drive.place }
  end
  if drive.how == 'park' then
    return park(branch, drive)
  end
  return reschedule(branch, drive)
end

-- In a confirming record without marks it goes without saying how its branches stand.
local WATCHED = {
  confirm = { head = 'record state decided held', parts = {}, beyond = true },
  cancel = { head = 'record state decided held', parts = { '.state' }, beyond = true },
}
local WRITTEN = { head = '', parts = { '.state' } }
local GONE = { head = 'until held', parts = { '.arguments', '.result' } }
-- How a branch stands that is driven for the first time, by what its drive says it knows.
local HELD = {
  confirming = { succeeded = true },
  cancelling = { succeeded = 'cancelling succeeded held', refused = 'cancelling refused held' },
}

-- Marks that say that there is a business key, and that the record is listed as open; and what they are of an ended one.
local KEYED = { [' keyed'] = true, [' looked keyed'] = true }
local LISTED = { [' looked'] = true, [' looked keyed'] = true }
local LEFT = { [''] = '', [' keyed'] = ' keyed', [' looked'] = '', [' looked keyed'] = ' keyed' }

-- What is written, filled anew by each step, and the step that named a place last.
local set, stamps, stamp = {}, {}, 0

-- What is said of the end, in pieces: how long it took goes between them.
local ended_texts = { confirmed = {}, cancelled = {} }

local function said_ended(state, count)
  local pieces = ended_texts[state][count]
  if not pieces then
    pieces = {}
    for place = 1, count do
      pieces[place] = (place > 1 and '; ' or ' ') .. state .. ' ' .. ordinal_text(place)
    end
    pieces[count + 1] = '; ended ' .. state
    ended_texts[state][count] = pieces
  end
  return pieces
end

-- What the end of a record with these marks must look after: the business key that holds it, if there is one that still
-- does; else an empty text. Nothing if it cannot be looked after.
local function find_business(marks)
  if LISTED[marks] and not has_type('zset', OPEN) then
    return nil
  end
  if not KEYED[marks] then
    return ''
  end
  local name, key = unpack(redis.call('HMGET', TX, 'name', 'key'))
  local business = name and key and TAG .. 'key:' .. name .. ':' .. key
  if not business or not declared[business] then
    return nil
  end
  return redis.pcall('GET', business) == GID and business or ''
end

-- A record is kept as long as this, and its business key with it, and is looked after no more.
local function leave_ended(marks, business, expires)
  redis.call('PEXPIREAT', TX, number_text(expires))
  if business ~= '' then
    redis.call('PEXPIREAT', business, number_text(expires))
  end
  timers_removed[#timers_removed + 1] = GID
  if LISTED[marks] then
    opens_removed[#opens_removed + 1] = GID
  end
end

-- What is looked at where branches stand apart, without and with what a history tells of them.
local WATCHED_APART = {
  [false] = { head = 'record state held bells', parts = { '.state', '.drive' }, beyond = true, apart = true },
  [true] = { head = 'record state held bells', parts = { '.state', '.drive', '.wait' }, beyond = true, apart = true },
}
local GONE_APART = { head = 'until', parts = { '.state', '.drive', '.wait', '.arguments', '.result' } }
local HELD_APART, CLAIM_APART = 'confirming succeeded attempts=1', '^epoch=1 token=%x+ lease=%d%S+Z$'
local ENDED = 'confirmed succeeded once'

-- Some branches of a commit end with this call, each by the drive that holds it. Gives how many fields are known of
-- each, and whether others are open.
local function find_drives(found, there, count)
  local width, is_open = HISTORY_MAX > 0 and 3 or 2, false
  stamp = stamp + 1
  for number = 1, count do
    local place, seen = ARGV[taken + 2 + 2 * number], ARGV[taken + 3 + 2 * number]
    if place > there or stamps[place] == stamp or seen ~= 'succeeded' then
      return nil
    end
    stamps[place] = stamp
    local at = 5 + width * (place - 1)
    if found[at] ~= HELD_APART or not string.find(found[at + 1] or '', CLAIM_APART) then
      return nil
    end
  end
  for place = 1, there do
    local stands = found[5 + width * (place - 1)]
    if stamps[place] ~= stamp and stands ~= ENDED then
      -- One that waits has a message.
      if not stands and not found[4] then
        return nil
      end
      is_open = true
    end
  end
  return width, is_open
end

local function said_apart(found, width, count, is_open)
  local said = {}
  for number = 1, count do
    local place = ARGV[taken + 2 + 2 * number]
    local claimed = string.match(found[5 + width * (place - 1) + 2] or '', '^claimed=(%S+)$')
    local took = claimed and now - moment_of('claimed', claimed) .. ' ms' or 'unknown time'
    said[number] = 'confirmed ' .. ordinal_text(place) .. ' after ' .. took
  end
  return moment_text(now) .. ' ' .. table.concat(said, '; ') .. (is_open and '' or '; ended confirmed')
end

local function write_closed(count)
  local closed, gone = {}, {}
  for number = 1, count do
    local place = ARGV[taken + 2 + 2 * number]
    closed[2 * number - 1], closed[2 * number] = field_of(place, 'state'), ENDED
    gone[2 * number - 1], gone[2 * number] = field_of(place, 'drive'), field_of(place, 'wait')
  end
  redis.call('HSET', TX, unpack(closed))
  redis.call('HDEL', TX, unpack(gone))
end

local function close_apart(count, direction)
  local found, there = read_plain(WATCHED_APART[HISTORY_MAX > 0])
  if direction ~= 'confirm' or not found or found[2] ~= 'confirming' or found[3] then
    return nil
  end
  local retention, marks, apart = apart_retention(found[1], there)
  local width, is_open = find_drives(found, there, count)
  if not apart or not width or not is_open and found[4] then
    return nil
  end
  local said = HISTORY_MAX > 0 and said_apart(found, width, count, is_open)
  if is_open then
    if not begin_quick(said) then
      return nil
    end
    write_closed(count)
    return { 'quick' }
  end
  local business, expires = find_business(marks), now + retention
  if not business or not begin_quick(said, expires) then
    return nil
  end
  redis.call('HSET', TX, 'record', plain_text(there) .. retention .. LEFT[marks], 'state', 'confirmed',
    'ended', moment_text(now))
  redis.call('HDEL', TX, unpack(fields_of(GONE_APART, there)))
  leave_ended(marks, business, expires)
  return QUICK
end

-- All branches of the record end with this call, each by the drive that holds it.
local function close_together(count, direction)
  local found = redis.pcall('HMGET', TX, unpack(fields_of(WATCHED[direction], count)))
  local was, decided, held = found[2], found[3], found[4]
  local retention, marks
  if not found.err then
    retention, marks = plain_retention(found[1], count)
  end
  local held_by_seen = HELD[was]
  if not retention or not held_by_seen or DIRECTION[was] ~= direction or not held or found[#found] then
    return nil
  end
  stamp = stamp + 1
  for at = taken + 4, taken + 2 + 2 * count, 2 do
    local place, stood = ARGV[at], held_by_seen[ARGV[at + 1]]
    if not stood or place > count or stamps[place] == stamp or stood ~= true and found[4 + place] ~= stood then
      return nil
    end
    stamps[place] = stamp
  end
  local state, ended = 'confirmed', 0
  -- In a confirmed transaction it goes without saying how its branches ended.
  if was == 'cancelling' then
    state, ended = 'cancelled', 2 * count
    local fields = fields_of(WRITTEN, count)
    for at = 1, 2 * count, 2 do
      set[at], set[at + 1] = fields[ARGV[taken + 3 + at]], 'cancelled ' .. ARGV[taken + 4 + at] .. ' once'
    end
  end
  local business, expires = find_business(marks), now + retention
  if not business then
    return nil
  end
  local said
  if HISTORY_MAX > 0 then
    local since = moment_of('decided', string.sub(decided or '', 1, 24))
    local after = #held > HELD_BYTES and string.match(held, ' after=(%d+)$', HELD_BYTES + 1) or 0
    local took = ' after ' .. number_text(now - since - after) .. ' ms'
    said = moment_text(now) .. table.concat(said_ended(state, count), took)
  end
  if not begin_quick(said, expires) then
    return nil
  end
  redis.call('HSET', TX, 'state', state, 'ended', moment_text(now), unpack(set, 1, ended))
  redis.call('HDEL', TX, unpack(fields_of(GONE, count)))
  if LISTED[marks] then
    redis.call('HSET', TX, 'record', plain_text(count) .. retention .. LEFT[marks])
  end
  leave_ended(marks, business, expires)
  return QUICK
end

local function quick()
  local count, all, direction = unpack(ARGV, taken + 1, taken + 3)
  if all ~= ALL or count == 0 or count > QUICK_MAX or taken + 3 + 2 * count ~= last or not WATCHED[direction] then
    return nil
  end
  return close_together(count, direction) or close_apart(count, direction)
end

local function take_drives()
  local count, all, drives = take_number(), take() == ALL, {}
  local direction = all and take()
  for place = 1, count do
    drives[place] = all and { place = take_number(), epoch = 1, direction = direction, how = 'done', seen = take() }
      or take_drive()
  end
  return drives
end

local function operate()
  local drives = take_drives()
  if not record then
    refuse('not_found')
  end
  if not record.decision then
    refuse('not_decided')
  end
  local answers = {}
  for place, one in ipairs(drives) do
    answers[place] = close_one(one)
  end
  settle()
  return { 'ok', record.state, answers }
end

return { quick = quick, operate = operate, leave = leave }
end)()
OPERATIONS.sweep = (function()
local quick, leave
-- Does what a transaction's timer stands for, and sets the timer anew (rules 7, 8, 10 and 12).

local LOOK_AGAIN = 60000

-- What cannot be read is moved on and listed with its cause, so that it holds up nothing else (§4).
local function leave(cause)
  redis.pcall('ZADD', DUE, now + LOOK_AGAIN, GID)
  redis.pcall('ZADD', PARKED, 'NX', now, GID)
  redis.pcall('HSET', UNREADABLE, GID, cause.field .. ': ' .. cause.why)
end

local function check_payloads()
  for _, branch in ipairs(record.branches) do
    if is_drivable(branch) then
      arguments_of(branch)
      result_of(branch)
    end
  end
end

-- What was unreadable and is not any more is no longer listed.
local function forget_trouble()
  if redis.call('HEXISTS', UNREADABLE, GID) == 0 then
    return
  end
  write('hash', 'HDEL', UNREADABLE, GID)
  local parked = record and parked_since(record)
  if parked then
    write('zset', 'ZADD', PARKED, parked, GID)
  else
    write('zset', 'ZREM', PARKED, GID)
  end
end

local function overdue()
  if now >= record.deadline_at then
    return 'deadline_passed'
  end
  if now >= record.lease_until then
    return 'initiator_lost'
  end
end

local function ring_due()
  local waiting = {}
  for _, branch in ipairs(record.branches) do
    local bell = record.bells[branch.participant]
    local due_now = is_drivable(branch) and not leased_until(branch) and branch.next <= now
    if due_now and (not bell or bell.again <= now) then
      waiting[branch.participant] = true
    end
  end
  local names = sorted_names(waiting)
  for _, name in ipairs(names) do
    ring(name)
  end
  return #names
end

local function operate()
  local by = take()
  if not record then
    due_remove()
    write('zset', 'ZREM', OPEN, GID)
    write('zset', 'ZREM', PARKED, GID)
    write('hash', 'HDEL', UNREADABLE, GID)
    return { 'refused', { 'not_found' } }
  end
  check_payloads()
  forget_trouble()
  if not record.ended_at then
    list_as_open()
  end
  local reason, count = '', 0
  if record.state == 'trying' then
    reason = overdue() or ''
    if reason ~= '' then
      make_decision('cancel', reason, by)
      count = #sorted_names(rung)
    end
  else
    count = ring_due()
  end
  return { 'ok', reason, count, due_anew() or -1 }
end

return { quick = quick, operate = operate, leave = leave }
end)()
OPERATIONS.redrive = (function()
local quick, leave
-- Sets parked branches going again, in the decision's direction.

local function operate()
  local asked = take_list(take_number)
  if not record then
    refuse('not_found')
  end
  return { 'ok', #set_going(asked) }
end

return { quick = quick, operate = operate, leave = leave }
end)()
OPERATIONS.operate = (function()
local quick, leave
-- Makes an operator's change, and keeps who made it and why.

local AUDIT_BRANCHES_MAX = 100

-- What changed, for the transaction's history and for the audit of its shard.
local function keep(by, why, what, ...)
  note('operator', by, what .. ':', why)
  local key = key_of('audit')
  if key then
    write('stream', audit_entry(key, by, why, 'gid', GID, ...))
  end
end

local CHANGES = {}

function CHANGES.cancel(by, why)
  if record.decision == 'confirm' then
    refuse('would_flip', 'confirm')
  end
  local changed = 0
  if not record.decision then
    keep(by, why, 'cancelled', 'changed', 'cancelled')
    make_decision('cancel', 'operator', by)
    changed = 1
  end
  return { 'ok', changed, record.decision, record.reason, record.decided_by, record.decided_at }
end

function CHANGES.redrive(by, why)
  local asked = take_list(take_number)
  if not record.decision then
    refuse('not_decided')
  end
  local going = set_going(asked)
  local places = {}
  for place = 1, math.min(#going, AUDIT_BRANCHES_MAX) do
    places[place] = ordinal_text(going[place])
  end
  keep(by, why, 'retried', 'changed', 'retried', 'branches', table.concat(places, ' '), 'count', #going)
  return { 'ok', #going }
end

-- A claim the branch may have had stays as it is: whoever holds it finds the branch final when it reports.
function CHANGES.resolve(by, why)
  local place, direction = take_number(), take()
  if not record.decision then
    refuse('not_decided')
  end
  local branch = record.branches[place]
  if not branch then
    refuse('no_such_branch', place)
  end
  if DIRECTION[branch.state] ~= direction then
    refuse('wrong_direction', place)
  end
  if FINAL[branch.state] then
    return { 'ok', 0, record.state }
  end
  if leased_until(branch) then
    refuse('branch_leased', place)
  end
  finish(branch)
  local ordinal = ordinal_text(place)
  keep(by, why, 'resolved ' .. ordinal .. ' as ' .. branch.state, 'changed', 'resolved', 'branch', ordinal, 'direction', direction)
  settle()
  return { 'ok', 1, record.state }
end

local function operate()
  local by, why, change = take(), take(), take()
  if not record then
    refuse('not_found')
  end
  return CHANGES[change](by, why)
end

return { quick = quick, operate = operate, leave = leave }
end)()
FUNCTIONS.run = (function()
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

return run
end)()
FUNCTIONS.look = (function()
-- What time it is, and which timers have run out, and when.

local function look(keys, arguments)
  begin_call(keys, arguments)
  read_clock()
  return { now, redis.call('ZRANGE', DUE, '-inf', now, 'BYSCORE', 'LIMIT', 0, take(), 'WITHSCORES') }
end

return look
end)()
FUNCTIONS.groups = (function()
-- Creates the consumer group of each queue, from the first message on, where it is missing. Answers with
-- the places of queues that are no streams.

local function groups(keys)
  local strange = {}
  for place, queue in ipairs(keys) do
    local found = redis.call('TYPE', queue).ok
    if found ~= 'stream' and found ~= 'none' then
      strange[#strange + 1] = place
    else
      local made = redis.pcall('XGROUP', 'CREATE', queue, GROUP, '0', 'MKSTREAM')
      if made.err and not string.find(made.err, 'BUSYGROUP') then
        return made
      end
    end
  end
  return strange
end

return groups
end)()
FUNCTIONS.pause = (function()
-- Pauses phase two of a participant or an action, or resumes it, and keeps who did and why. Answers with how many
-- pauses it changed; nothing if there are as many as there may be.

local PAUSES_MAX = 256

local function pause(keys, arguments)
  begin_call(keys, arguments)
  read_clock()
  local paused, audit = keys[6], keys[7]
  local what, scope, by, why = take(), take(), take(), take()
  local stands = redis.call('HEXISTS', paused, scope) == 1
  if stands == (what == 'paused') then
    return 0
  end
  if not stands and redis.call('HLEN', paused) >= PAUSES_MAX then
    return false
  end
  -- Before anything else, because it fails where the audit is none.
  redis.call(audit_entry(audit, by, why, 'changed', what, 'scope', scope))
  if stands then
    redis.call('HDEL', paused, scope)
  else
    redis.call('HSET', paused, scope, moment_text(now) .. ' by ' .. by .. ': ' .. why)
  end
  keep_time()
  return 1
end

return pause
end)()
FUNCTIONS.namespace = (function()
-- Writes what the namespace is on its first start, and answers with what it is (rule 17).

local function namespace(keys, arguments)
  local meta = keys[1]
  if redis.call('EXISTS', meta) == 0 then
    redis.call('HSET', meta, 'schema', arguments[1], 'shards', arguments[2], 'created_at', arguments[3])
  end
  return redis.call('HMGET', meta, 'schema', 'shards')
end

return namespace
end)()
FUNCTIONS.rehearse = (function()
-- Tries every command the library uses, on a key of its own that is gone afterwards. Permissions are tried,
-- not guessed (§5 "Preflight").

local function try(command, ...)
  local answer = redis.pcall(command, ...)
  if type(answer) == 'table' and answer.err then
    error({ command = command, cause = answer.err })
  end
  return answer
end

local function clear(key)
  try('DEL', key)
end

local function try_all(key)
  try('TIME')
  try('SET', key, '1')
  try('GET', key)
  clear(key)
  try('HSET', key, 'field', '1')
  try('HMGET', key, 'field')
  try('HGET', key, 'field')
  try('HGETALL', key)
  try('HEXISTS', key, 'field')
  try('HDEL', key, 'other')
  try('HLEN', key)
  try('TYPE', key)
  try('EXISTS', key)
  try('PEXPIREAT', key, '99999999999999')
  try('PERSIST', key)
  clear(key)
  try('ZADD', key, 'LT', 1, 'member')
  try('ZRANGE', key, '-inf', '+inf', 'BYSCORE', 'LIMIT', 0, 1)
  try('ZREM', key, 'member')
  try('ZREMRANGEBYSCORE', key, '-inf', 0)
  try('RPUSH', key, '1')
  try('LTRIM', key, 0, 1)
  clear(key)
  try('XGROUP', 'CREATE', key, GROUP, '0', 'MKSTREAM')
  local entry = try('XADD', key, '*', 'gid', '-')
  try('XREADGROUP', 'GROUP', GROUP, 'rehearsal', 'COUNT', 1, 'STREAMS', key, '>')
  try('XPENDING', key, GROUP, 'IDLE', 60000, '-', '+', 1)
  try('XINFO', 'CONSUMERS', key, GROUP)
  try('XGROUP', 'DELCONSUMER', key, GROUP, 'rehearsal')
  try('XACK', key, GROUP, entry)
  try('XTRIM', key, 'MINID', entry)
  try('XDEL', key, entry)
end

local function rehearse(keys)
  local key = keys[1]
  local ok, failed = pcall(try_all, key)
  redis.pcall('DEL', key)
  if ok then
    return { 'ok' }
  end
  return { failed.command, failed.cause }
end

return rehearse
end)()
redis.register_function{ function_name = 'tcc_171b6addb79f97ec_begin', callback = FUNCTIONS.run, flags = {  } }
redis.register_function{ function_name = 'tcc_171b6addb79f97ec_finish', callback = FUNCTIONS.run, flags = { 'allow-oom' } }
redis.register_function{ function_name = 'tcc_171b6addb79f97ec_look', callback = FUNCTIONS.look, flags = { 'no-writes', 'allow-oom' } }
redis.register_function{ function_name = 'tcc_171b6addb79f97ec_groups', callback = FUNCTIONS.groups, flags = { 'allow-oom' } }
redis.register_function{ function_name = 'tcc_171b6addb79f97ec_pause', callback = FUNCTIONS.pause, flags = { 'allow-oom' } }
redis.register_function{ function_name = 'tcc_171b6addb79f97ec_namespace', callback = FUNCTIONS.namespace, flags = { 'allow-oom' } }
redis.register_function{ function_name = 'tcc_171b6addb79f97ec_rehearse', callback = FUNCTIONS.rehearse, flags = { 'allow-oom' } }
