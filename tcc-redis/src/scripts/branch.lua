-- A branch: some short fields of text in the record, such as
--   01        inventory.reserve@1 confirming attempts=1
--   01.try    succeeded call=1 arguments=24:9ae0daaf result=11:75c5dfeb
--   01.drive  epoch=1 token=0000000000000007 lease=2099-11-21T06:10:00.250Z
-- None of them is longer than what Redis keeps in its compact form of a hash, unless names are long.

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
-- Words of a branch whose outcome is not known, and of one that is driven for the first time.
local WORDS_OF_TRYING = '^(call=%d[%d.]* arguments=%d+:%x%x%x%x%x%x%x%x)$'
local TOKEN = '^%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x$'

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

-- The fields of a branch after its ordinal, and the words each may hold, in the order they are written.
-- What stands alone in `01` is action and state, in `01.try` what is known of the try.
local PARTS = { '', '.try', '.drive', '.wait' }
local WORDS = {
  [''] = { 'attempts' },
  ['.try'] = { 'call', 'runner', 'arguments', 'result' },
  ['.drive'] = { 'epoch', 'token', 'lease', 'closed' },
  ['.wait'] = { 'next', 'claimed', 'ongoing', 'unhandled', 'parked', 'since' },
}
local TIMES = { next = true, lease = true, claimed = true, ongoing = true, unhandled = true, since = true }
local NUMBERS = { attempts = true, epoch = true }
local SHAPES = {
  call = '^%d[%d.]*$',
  runner = TOKEN,
  arguments = SEAL,
  result = SEAL,
  attempts = '^%d+$',
  epoch = '^%d+$',
  token = TOKEN,
  closed = '^[%l_]+$',
  parked = '^[%l_]+$',
}

local function participant_of(action)
  return (string.match(action, '^([%w._-]+)%.[%w_-]+@%d+$'))
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

-- Closed sets, and what must hold between a branch's own words.
local function check_branch(field, branch)
  local state, try = branch.state, branch.try
  if not branch.participant then
    unreadable(field, 'no action')
  end
  if not UNDECIDED[state] and not DIRECTION[state] then
    unreadable(field, 'no such state')
  end
  if not branch.call or try and not SEEN[try] then
    unreadable(field .. '.try', 'call or try')
  end
  if TRY_OF[state] and TRY_OF[state] ~= (try or '') then
    unreadable(field, 'state against try')
  end
  if branch.result and try ~= 'succeeded' then
    unreadable(field .. '.try', 'result against try')
  end
  if (branch.epoch > 0) ~= (branch.token ~= nil) or (branch.token ~= nil) ~= (branch.lease ~= nil or branch.closed ~= nil) then
    unreadable(field .. '.drive', 'epoch against claim')
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

-- `texts` are the branch's fields by part; `start` is the next attempt of a branch that says nothing of it.
local function parse_branch(place, texts, start)
  local field = ordinal_text(place)
  local action, state, words = string.match(texts[''] or '', '^(%S+) (%l+)(.*)$')
  if not action then
    unreadable(field, 'no branch')
  end
  local branch = { attempts = 0, epoch = 0, next = start }
  parse_words(field, '', words, branch)
  local try, rest = string.match(texts['.try'] or '', '^(%l*) ?(call=.*)$')
  if not try then
    unreadable(field .. '.try', 'no call')
  end
  if try ~= '' then
    branch.try = try
  end
  parse_words(field .. '.try', '.try', rest, branch)
  parse_words(field .. '.drive', '.drive', texts['.drive'] or '', branch)
  parse_words(field .. '.wait', '.wait', texts['.wait'] or '', branch)
  branch.place = place
  branch.action = action
  branch.state = state
  branch.participant = participant_of(action)
  check_branch(field, branch)
  return branch
end

-- What is not written because it goes without saying.
local function absent(name, start)
  if name == 'next' then
    return start
  end
  return NUMBERS[name] and 0 or nil
end

-- A branch's field of a part; nothing if it would be empty.
local function branch_text(branch, part, start)
  local words = {}
  if part == '' then
    words = { branch.action, branch.state }
  elseif part == '.try' then
    words = { branch.try }
  end
  for _, name in ipairs(WORDS[part]) do
    local value = branch[name]
    if value ~= absent(name, start) then
      if TIMES[name] then
        value = moment_text(value)
      elseif value == 'rescheduled' then
        value = 'rescheduled@' .. moment_text(branch.again)
      end
      words[#words + 1] = name .. '=' .. value
    end
  end
  if #words > 0 then
    return table.concat(words, ' ')
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
