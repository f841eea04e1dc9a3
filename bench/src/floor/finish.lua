-- The end: payloads go, the rest expires.
if redis.call('HGET', KEYS[1], 'state') ~= 'confirming' then
  return 0
end
redis.call('HSET', KEYS[1], 'state', 'confirmed')
redis.call('HDEL', KEYS[1], '01.arguments', '01.result', '02.arguments', '02.result')
redis.call('PEXPIRE', KEYS[1], 86400000)
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
