-- Takes a participant's open, due and unleased branches, and its message (rules 10 and 11).

local function operate()
  local participant, token, lease_ms = take(), take(), take_number()
  local except = {}
  for _, action in ipairs(take_list(take)) do
    except[action] = true
  end
  if not record then
    refuse('not_found')
  end
  if not record.decision then
    refuse('not_decided')
  end
  -- A repetition takes no more than the first sending did, and leaves what was rung since (rule 14).
  local repeated = false
  for _, branch in ipairs(record.branches) do
    repeated = repeated or branch.participant == participant and branch.token == token
  end
  local drives, left = {}, false
  for _, branch in ipairs(record.branches) do
    local takes = branch.participant == participant and is_drivable(branch)
    if takes and except[branch.action] then
      takes, left = false, true
    elseif repeated then
      takes = takes and branch.token == token and leased_until(branch)
    else
      takes = takes and not leased_until(branch) and branch.next <= now
      if takes then
        open_claim(branch, token, lease_ms)
      end
    end
    if takes then
      drives[#drives + 1] = drive(branch)
    end
  end
  if not repeated then
    -- The message goes on standing for what is paused, so that it is rung in growing intervals.
    if not left then
      hush(participant)
    end
    -- Without its message, a branch that was not taken may be due before the timer says so.
    local at = due_at()
    if at then
      due_earlier(at)
    end
  end
  return { 'ok', drives, record.decision, record.reason }
end
