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
