-- Prolongs claims that still stand (rule 11).

local function take_claim()
  return { place = take_number(), epoch = take_number() }
end

local function operate()
  local token, lease_ms = take(), take_number()
  local claims = take_list(take_claim)
  if not record then
    refuse('not_found')
  end
  local answers = {}
  for place, claim in ipairs(claims) do
    local branch = record.branches[claim.place]
    local stands = branch and branch.epoch == claim.epoch
    if stands and branch.token == token and not branch.closed then
      branch.lease = math.max(branch.lease, now + lease_ms)
      answers[place] = 1
    else
      answers[place] = 0
    end
  end
  return { 'ok', answers }
end
