-- Payloads: JSON in a field of its own, its length and checksum in the branch's line.

-- What the step writes beside the record's own fields; `false` deletes.
local payloads = {}

local function field_of(place, name)
  return ordinal_text(place) .. '.' .. name
end

local function set_text(place, name, text)
  payloads[field_of(place, name)] = text
end

local function seal_of(payload)
  return #payload .. ':' .. string.sub(redis.sha1hex(payload), 1, 8)
end

-- A branch's payload, as it was sealed.
local function payload_of(branch, name)
  local field = field_of(branch.place, name)
  local payload = payloads[field] or redis.call('HGET', TX, field)
  if not payload or seal_of(payload) ~= branch[name] then
    unreadable(field, 'checksum')
  end
  return payload
end

local function sealed_bytes(seal)
  return seal and tonumber(string.match(seal, '^%d+')) or 0
end
