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
