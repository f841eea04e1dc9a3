-- Tries every command the scripts use, on a key of its own that is gone afterwards. Permissions are tried,
-- not guessed (§5 "Preflight").

local key = KEYS[1]

local function try(command, ...)
  local answer = redis.pcall(command, ...)
  if type(answer) == 'table' and answer.err then
    error({ command = command, cause = answer.err })
  end
  return answer
end

local function clear()
  try('DEL', key)
end

local function rehearse()
  try('TIME')
  try('SET', key, '1')
  try('GET', key)
  clear()
  try('HSET', key, 'field', '1')
  try('HMGET', key, 'field')
  try('HGET', key, 'field')
  try('HGETALL', key)
  try('HEXISTS', key, 'field')
  try('HDEL', key, 'other')
  try('TYPE', key)
  try('EXISTS', key)
  try('PEXPIREAT', key, '99999999999999')
  try('PERSIST', key)
  clear()
  try('ZADD', key, 'LT', 1, 'member')
  try('ZRANGE', key, '-inf', '+inf', 'BYSCORE', 'LIMIT', 0, 1)
  try('ZREM', key, 'member')
  try('RPUSH', key, '1')
  try('LTRIM', key, 0, 1)
  clear()
  try('XGROUP', 'CREATE', key, 'workers', '0', 'MKSTREAM')
  local entry = try('XADD', key, '*', 'gid', '-')
  try('XREADGROUP', 'GROUP', 'workers', 'rehearsal', 'COUNT', 1, 'STREAMS', key, '>')
  try('XPENDING', key, 'workers', 'IDLE', 60000, '-', '+', 1)
  try('XINFO', 'CONSUMERS', key, 'workers')
  try('XGROUP', 'DELCONSUMER', key, 'workers', 'rehearsal')
  try('XACK', key, 'workers', entry)
  try('XDEL', key, entry)
end

local ok, failed = pcall(rehearse)
redis.pcall('DEL', key)
if ok then
  return { 'ok' }
end
return { failed.command, failed.cause }
