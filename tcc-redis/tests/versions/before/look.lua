-- What time it is, and which timers have run out.

return { now, redis.call('ZRANGE', DUE, '-inf', now, 'BYSCORE', 'LIMIT', 0, take()) }
