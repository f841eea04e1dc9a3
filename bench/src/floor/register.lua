-- Both branches with their arguments, once, and when someone must look.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
redis.call('HSET', KEYS[1], 'name', ARGV[2], 'initiator', ARGV[3], 'state', 'trying', 'begun_at', now,
  'deadline_at', now + 30000, '01', ARGV[4], '01.arguments', ARGV[5], '02', ARGV[6], '02.arguments', ARGV[7])
redis.call('ZADD', KEYS[2], now + 5000, ARGV[1])
return now
