-- Writes what the namespace is on its first start, and answers with what it is (rule 17).

local meta = KEYS[1]
if redis.call('EXISTS', meta) == 0 then
  redis.call('HSET', meta, 'schema', ARGV[1], 'shards', ARGV[2], 'created_at', ARGV[3])
end
return redis.call('HMGET', meta, 'schema', 'shards')
