-- What a step does beside changing the record, and the one place that writes. Nothing is written before
-- every key is declared and has its type.

local HISTORY_MAX = take_number()
local LINE_BYTES_MAX = 256

local due = { kind = 'keep' }
local rung, hushed = {}, {}
local before = {}
local TRIM = 16

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
  before = { exists = record ~= nil, ended_at = record and record.ended_at, bells = {} }
  if record then
    before.parked = parked_since(record)
    for name, bell in pairs(record.bells) do
      before.bells[name] = bell.entry
    end
  end
end

local plan = {}

local function write(kind, command, key, ...)
  plan[#plan + 1] = { kind, command, key, ... }
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
    write('zset', 'ZREM', OPEN, GID)
    write('zset', 'ZADD', DONE, at, GID)
    local past = redis.call('ZRANGE', DONE, '-inf', now, 'BYSCORE', 'LIMIT', 0, TRIM)
    if #past > 0 then
      write('zset', 'ZREM', DONE, unpack(past))
    end
  else
    write('hash', 'PERSIST', TX)
    if holds then
      write('string', 'PERSIST', key)
    end
    write('zset', 'ZADD', OPEN, 0, GID)
    write('zset', 'ZREM', DONE, GID)
  end
end

local function plan_indexes()
  if not before.exists and not record.ended_at then
    write('zset', 'ZADD', OPEN, 0, GID)
  end
  local parked = parked_since(record)
  if parked and parked ~= before.parked then
    write('zset', 'ZADD', PARKED, parked, GID)
  end
  if before.parked and not parked then
    write('zset', 'ZREM', PARKED, GID)
  end
end

local function has_type(kind, key)
  local found = redis.call('TYPE', key).ok
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

-- What happened, for people; nothing reads it back.
local notes = {}

local function note(...)
  if #notes < HISTORY_MAX then
    notes[#notes + 1] = string.sub(moment_text(now) .. ' ' .. table.concat({ ... }, ' '), 1, LINE_BYTES_MAX)
  end
end

local function plan_history()
  if #notes > 0 then
    local history = key_of('history:' .. GID)
    for _, line in ipairs(notes) do
      write('list', 'RPUSH', history, line)
    end
    write('list', 'LTRIM', history, -HISTORY_MAX, -1)
    if record.ended_at then
      write('list', 'PEXPIREAT', history, expires_at(record))
    elseif before.ended_at then
      write('list', 'PERSIST', history)
    end
  end
end

local function keep_time()
  if now > mark then
    redis.call('SET', CLOCK, number_text(now))
  end
end
