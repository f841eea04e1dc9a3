-- One decision, with what the tries returned and the lease of phase two.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('HGET', KEYS[1], 'state') ~= 'trying' then
  return 0
end
redis.call('HSET', KEYS[1], 'state', 'confirming', 'decided_at', now, 'lease', now + 10000,
  '01.result', ARGV[2], '02.result', ARGV[3])
redis.call('ZADD', KEYS[2], now + 10000, ARGV[1])
return now
