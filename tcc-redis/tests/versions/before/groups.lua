-- Creates the consumer group of each queue, from the first message on, where it is missing. Answers with
-- the places of queues that are no streams.

local strange = {}
for place, queue in ipairs(KEYS) do
  local found = redis.call('TYPE', queue).ok
  if found ~= 'stream' and found ~= 'none' then
    strange[#strange + 1] = place
  else
    local made = redis.pcall('XGROUP', 'CREATE', queue, 'workers', '0', 'MKSTREAM')
    if made.err and not string.find(made.err, 'BUSYGROUP') then
      return made
    end
  end
end
return strange
