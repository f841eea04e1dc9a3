-- Tries every command the library uses, on a key of its own that is gone afterwards. Permissions are tried,
-- not guessed (§5 "Preflight").

local function try(command, ...)
  local answer = redis.pcall(command, ...)
  if type(answer) == 'table' and answer.err then
    error({ command = command, cause = answer.err })
  end
  return answer
end

local function clear(key)
  try('DEL', key)
end

local function try_all(key)
  try('TIME')
  try('SET', key, '1')
  try('GET', key)
  clear(key)
  try('HSET', key, 'field', '1')
  try('HMGET', key, 'field')
  try('HGET', key, 'field')
  try('HGETALL', key)
  try('HEXISTS', key, 'field')
  try('HDEL', key, 'other')
  try('HLEN', key)
  try('TYPE', key)
  try('EXISTS', key)
  try('PEXPIREAT', key, '99999999999999')
  try('PERSIST', key)
  clear(key)
  try('ZADD', key, 'LT', 1, 'member')
  try('ZRANGE', key, '-inf', '+inf', 'BYSCORE', 'LIMIT', 0, 1)
  try('ZREM', key, 'member')
  try('ZREMRANGEBYSCORE', key, '-inf', 0)
  try('RPUSH', key, '1')
  try('LTRIM', key, 0, 1)
  clear(key)
  try('XGROUP', 'CREATE', key, GROUP, '0', 'MKSTREAM')
  local entry = try('XADD', key, '*', 'gid', '-')
  try('XREADGROUP', 'GROUP', GROUP, 'rehearsal', 'COUNT', 1, 'STREAMS', key, '>')
  try('XPENDING', key, GROUP, 'IDLE', 60000, '-', '+', 1)
  try('XINFO', 'CONSUMERS', key, GROUP)
  try('XGROUP', 'DELCONSUMER', key, GROUP, 'rehearsal')
  try('XACK', key, GROUP, entry)
  try('XTRIM', key, 'MINID', entry)
  try('XDEL', key, entry)
end

local function rehearse(keys)
  local key = keys[1]
  local ok, failed = pcall(try_all, key)
  redis.pcall('DEL', key)
  if ok then
    return { 'ok' }
  end
  return { failed.command, failed.cause }
end
