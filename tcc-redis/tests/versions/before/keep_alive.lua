-- Prolongs the initiator's lease while nothing is decided (rule 12).

local function operate()
  local lease_ms = take_number()
  if not record then
    refuse('not_found')
  end
  if record.decision then
    return { 'ok', now, record.decision }
  end
  record.lease_until = math.max(record.lease_until, now + lease_ms)
  return { 'ok', now, '' }
end
