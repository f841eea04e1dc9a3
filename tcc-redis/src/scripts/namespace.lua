-- Writes what the namespace is on its first start, and answers with what it is (rule 17).

local function namespace(keys, arguments)
  local meta = keys[1]
  if redis.call('EXISTS', meta) == 0 then
    redis.call('HSET', meta, 'schema', arguments[1], 'shards', arguments[2], 'created_at', arguments[3])
  end
  return redis.call('HMGET', meta, 'schema', 'shards')
end
