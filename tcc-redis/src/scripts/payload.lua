-- Payloads: JSON in a field of its own, its seal (length and checksum) among the branch's words. Whoever
-- sends a payload seals it; whoever takes it out of the record looks whether it still is what was sealed.
-- The seal of arguments covers what stands before it as well: they must not reach another participant than the
-- one they were made for.

-- What the step writes beside the record's own fields; `false` deletes.
local payloads

local function field_of(place, name)
  return ordinal_text(place) .. '.' .. name
end

local function set_text(place, name, text)
  payloads[field_of(place, name)] = text
end

local function seal_of(payload, head)
  return number_text(#payload) .. ':' .. string.sub(redis.sha1hex(head .. payload), 1, 8)
end

-- What stands before the seal in a branch's first field, and a line's end.
local function head_of(branch)
  local runner = branch.runner and ' runner=' .. branch.runner or ''
  local trace = branch.trace and ' trace=' .. branch.trace or ''
  return branch.action .. ' call=' .. branch.call .. runner .. trace .. '\n'
end

-- A branch's arguments, as they were sealed.
local function arguments_of(branch)
  local field = field_of(branch.place, 'arguments')
  local payload = payloads[field] or redis.call('HGET', TX, field)
  if not payload or seal_of(payload, head_of(branch)) ~= branch.arguments then
    unreadable(field, 'checksum')
  end
  return payload
end

-- A branch's result, as it was sealed; empty if there is none.
local function result_of(branch)
  if not branch.result then
    return ''
  end
  local seal, payload = string.match(branch.result, '^(%S+) (.*)$')
  if not seal or seal_of(payload, '') ~= seal then
    unreadable(field_of(branch.place, 'result'), 'checksum')
  end
  return payload
end

local function sealed_bytes(seal)
  return seal and tonumber(string.match(seal, '^%d+')) or 0
end
