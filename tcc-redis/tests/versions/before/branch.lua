-- A branch: one line of text in the record, such as
-- `inventory.reserve@1 confirming call=1 try=succeeded arguments=24:9ae0daaf attempts=1 epoch=1 …`.

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
local TOKEN = '^' .. string.rep('%x', 16) .. '$'

local function ordinal_text(place)
  return string.format('%02d', place)
end

-- Words of a line, in the order they are written; each with how it is read.
local WORDS = {
  'call', 'runner', 'try', 'arguments', 'result', 'attempts', 'epoch', 'next', 'token', 'lease', 'closed',
  'claimed', 'ongoing', 'unhandled', 'parked', 'since',
}
local TIMES = { next = true, lease = true, claimed = true, ongoing = true, unhandled = true, since = true }
local NUMBERS = { attempts = true, epoch = true }
local SHAPES = {
  call = '^%d[%d.]*$',
  runner = TOKEN,
  try = '^%l+$',
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

local ABSENT = { attempts = 0, epoch = 0, next = 0 }

local function parse_words(field, text)
  local branch = { attempts = 0, epoch = 0, next = 0 }
  for name, value in string.gmatch(text, '([^ =]+)=?(%S*)') do
    if TIMES[name] then
      branch[name] = moment_of(field, value)
    elseif name == 'closed' and string.find(value, '^rescheduled@') then
      branch.closed = 'rescheduled'
      branch.again = moment_of(field, string.sub(value, 13))
    elseif not SHAPES[name] or not string.find(value, SHAPES[name]) then
      unreadable(field, 'no such word')
    else
      branch[name] = NUMBERS[name] and tonumber(value) or value
    end
  end
  return branch
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
    unreadable(field, 'call or try')
  end
  if TRY_OF[state] and TRY_OF[state] ~= (try or '') then
    unreadable(field, 'state against try')
  end
  if branch.result and try ~= 'succeeded' then
    unreadable(field, 'result against try')
  end
  if (branch.epoch > 0) ~= (branch.token ~= nil) or (branch.token ~= nil) ~= (branch.lease ~= nil) then
    unreadable(field, 'epoch against claim')
  end
  if UNDECIDED[state] and branch.token then
    unreadable(field, 'state against claim')
  end
  if branch.closed and (branch.closed ~= 'rescheduled' and not CLOSED[branch.closed] or not branch.token) then
    unreadable(field, 'closed')
  end
  if (branch.parked ~= nil) ~= (branch.since ~= nil) or branch.parked and not CAUSES[branch.parked] then
    unreadable(field, 'parked')
  end
  if branch.parked and not OPENED[state] then
    unreadable(field, 'state against parked')
  end
end

local function parse_branch(place, text)
  local field = ordinal_text(place)
  local action, state, words = string.match(text or '', '^(%S+) (%l+)(.*)$')
  if not action then
    unreadable(field, 'no branch')
  end
  local branch = parse_words(field, words)
  branch.place = place
  branch.action = action
  branch.state = state
  branch.participant = participant_of(action)
  check_branch(field, branch)
  return branch
end

local function branch_text(branch)
  local words = { branch.action, branch.state }
  for _, name in ipairs(WORDS) do
    local value = branch[name]
    if value ~= ABSENT[name] then
      if TIMES[name] then
        value = moment_text(value)
      elseif value == 'rescheduled' then
        value = 'rescheduled@' .. moment_text(branch.again)
      end
      words[#words + 1] = name .. '=' .. value
    end
  end
  return table.concat(words, ' ')
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
