-- What time it is, and which timers have run out, and when.

local function look(keys, arguments)
  begin_call(keys, arguments)
  read_clock()
  return { now, redis.call('ZRANGE', DUE, '-inf', now, 'BYSCORE', 'LIMIT', 0, take(), 'WITHSCORES') }
end
