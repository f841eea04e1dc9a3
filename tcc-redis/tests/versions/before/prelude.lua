-- Names of keys, and the arguments of the call.

local TX, CLOCK, DUE, OPEN, PARKED, DONE, UNREADABLE = unpack(KEYS)
local TAG, GID = string.match(TX, '^(.-}:)tx:(.+)$')
local GROUP = 'workers'

-- Keys that depend on what the record holds (a participant's queue, a business key) are declared by the
-- caller as far as it knows them. One that is missing is neither read nor written: the call writes nothing
-- and names it, and is sent again.
local declared = {}
for place = 8, #KEYS do
  declared[KEYS[place]] = true
end
local missing = {}

local function key_of(suffix)
  local key = TAG .. suffix
  if declared[key] then
    return key
  end
  missing[#missing + 1] = suffix
end

local taken = 0

local function take()
  taken = taken + 1
  return ARGV[taken]
end

local function take_number()
  return tonumber(take())
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

-- What cannot be read ends the call before anything is written.
local function unreadable(field, why)
  error({ field = field, why = why })
end
