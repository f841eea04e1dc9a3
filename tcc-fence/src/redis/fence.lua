-- The fence around an effect: the rules of rules.rs, and the row's fields. The effect stands before this text, as
-- `effect(KEYS, ARGV)`, and sees neither the fence's key nor its arguments.

local FENCE = KEYS[1]
local PHASE, ACTION, EPOCH = ARGV[1], ARGV[2], ARGV[3]
local RETENTION_MS, ANSWER_BYTES_MAX = tonumber(ARGV[4]), tonumber(ARGV[5])

local row = redis.call('HMGET', FENCE, 'action', 'phase', 'try_answer', 'answer')
local action, phase = row[1], row[2]
-- The answer of a try, and of the phase that came after it.
local try_answer, answer = row[3] or 'null', row[4] or 'null'

local function contradiction(what)
  return { 'contradiction', what }
end

local function again(verdict, text)
  redis.call('HINCRBY', FENCE, 'asked', 1)
  return { verdict, text }
end

if phase then
  if action ~= ACTION then
    return contradiction('its row is one of action ' .. tostring(action) .. ', and ' .. ACTION .. ' asks')
  end
  if phase ~= 'try' and phase ~= 'confirm' and phase ~= 'cancel' and phase ~= 'empty' then
    return contradiction('its row is in a phase that does not exist')
  end
  if PHASE == 'try' then
    if phase == 'empty' then
      return { 'too late', '' }
    end
    return again('already done', try_answer)
  end
  if PHASE == phase then
    return again('already done', answer)
  end
  if PHASE == 'cancel' and phase == 'empty' then
    return again('empty cancel', '')
  end
  if phase == 'confirm' then
    return contradiction('it was confirmed')
  elseif phase == 'cancel' then
    return contradiction('it was cancelled')
  elseif phase == 'empty' then
    return contradiction('it was cancelled before any try')
  end
elseif PHASE == 'confirm' then
  return contradiction('no try of it took effect here, or its row was deleted too early')
elseif PHASE == 'cancel' then
  redis.call('HSET', FENCE, 'action', ACTION, 'phase', 'empty', 'epoch', EPOCH)
  redis.call('PEXPIRE', FENCE, RETENTION_MS)
  return { 'empty cancel', '' }
end

local keys, arguments = {}, {}
for place = 2, #KEYS do
  keys[place - 1] = KEYS[place]
end
for place = 6, #ARGV do
  arguments[place - 5] = ARGV[place]
end
local answered, refused = effect(keys, arguments)
if type(answered) == 'table' and answered.err then
  refused = answered.err
end
if refused then
  return { 'refused', tostring(refused) }
end

-- The effect is written, so that from here on nothing may fail.
local encoded, json = pcall(cjson.encode, answered)
local kept = encoded and #json <= ANSWER_BYTES_MAX
local field = PHASE == 'try' and 'try_answer' or 'answer'
redis.call('HSET', FENCE, 'action', ACTION, 'phase', PHASE, 'epoch', EPOCH, field, kept and json or 'null')
if PHASE ~= 'try' then
  redis.call('PEXPIRE', FENCE, RETENTION_MS)
end
if not encoded then
  return { 'unkept', 'it is nothing that JSON can hold' }
elseif not kept then
  return { 'unkept', 'it takes ' .. #json .. ' bytes; the limit `ANSWER_BYTES_MAX` is ' .. ANSWER_BYTES_MAX }
end
return { 'first', json }
