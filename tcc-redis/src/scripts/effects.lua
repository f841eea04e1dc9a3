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
